"""Extending invitations: the same link, open for longer. None is ever cut short."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import update

from waitlist import audit, outbox, seats
from waitlist.extensions import db, settings
from waitlist.models import Entry, Invitation, Message
from waitlist.onboarding.by_hand import WHY_NOT, Open, entries_of, open_ones, require
from waitlist.policy import deadlines
from waitlist.rows import ids

BATCH = 1_000  # invitations of a wave that are extended in one transaction


class Extended(NamedTuple):
    """How many invitations end later now, and how many were left: without a deadline, or later."""

    extended: int
    unchanged: int


def extend(
    entry_ids: Collection[int],
    *,
    by: timedelta | None = None,
    until: datetime | None = None,
    actor: str,
    reason: str,
    now: datetime,
) -> Extended:
    """Let the open invitations of these people end later, by so much or at a moment."""
    seats.lock()
    found = open_ones(Invitation.entry_id.in_(ids(entry_ids)))
    entries = entries_of(entry_ids)

    def why_not(entry: Entry) -> str:
        its = found.get(entry.id)
        if its is None:
            return WHY_NOT[entry.state]
        return "" if its.expires_at else "has no deadline yet: it runs from the mail's acceptance"

    require(entries, why_not)
    ends = push_back(list(found.values()), by=by, until=until, now=now)
    for its in (its for its in found.values() if its.id in ends):
        audit.record(
            "invitation.extend",
            f"entry:{its.entry_id}",
            actor=actor,
            now=now,
            before={"until": _iso(its.expires_at)},
            after={"until": _iso(ends[its.id])},
            reason=reason,
        )
    db.session.commit()
    return Extended(len(ends), len(found) - len(ends))


def extend_wave(
    wave_id: int,
    *,
    by: timedelta | None = None,
    until: datetime | None = None,
    actor: str,
    reason: str,
    now: datetime,
) -> Extended:
    """The same for everybody whom a wave admitted, a thousand at a time.

    Broken off and done again, those that were extended `by` a time are extended once more.
    """
    extended, unchanged, last = 0, 0, 0
    while True:
        seats.lock()
        after = (Invitation.wave_id == wave_id) & (Invitation.id > last)
        batch = list(open_ones(after, most=BATCH).values())
        ends = push_back(batch, by=by, until=until, now=now)
        extended, unchanged = extended + len(ends), unchanged + len(batch) - len(ends)
        if len(batch) < BATCH:
            break
        db.session.commit()
        last = batch[-1].id
    told = {"extended": extended, "by_seconds": by and by.total_seconds(), "until": _iso(until)}
    audit.record("wave.extend", f"wave:{wave_id}", actor=actor, now=now, after=told, reason=reason)
    db.session.commit()
    return Extended(extended, unchanged)


def push_back(
    found: Sequence[Open], *, by: timedelta | None, until: datetime | None, now: datetime
) -> dict[int, datetime]:
    """The new ends of those that end later now, in the caller's transaction, which locks them.

    Where the time for a reminder comes once more, there is one more.
    """
    ends = {
        its.id: end
        for its in found
        if its.expires_at and (end := deadlines.extended(its.expires_at, by, until, now))
    }
    lead = deadlines.reminder_lead(settings().invite_within)
    anew = [invitation_id for invitation_id, end in ends.items() if end - lead > now]
    if ends:
        rows = [{"id": id_, "expires_at": end} for id_, end in ends.items()]
        db.session.execute(update(Invitation), rows)
    if anew:
        db.session.execute(
            update(Invitation.__table__)
            .where(Invitation.id.in_(ids(anew)))
            .values(reminded_at=None)
        )
        theirs = [its.entry_id for its in found if its.id in set(anew)]
        outbox.cancel(
            Message.entry_id.in_(ids(theirs)) & (Message.kind == "reminder"),
            reason="the invitation was extended",
        )
    return ends


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
