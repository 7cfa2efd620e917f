"""Making good what failed at the last step by our fault: more time or a fresh link, and a mail.

An invitation that holds its seat is extended and keeps its link, as somebody may be typing. One
that is over is re-issued, which doesn't count as a renewal; where no seat is to be had its owner
is back at the old rank, and so at the front. One transaction a person, safe to repeat: nobody is
mended twice for the same failure.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import select, update

from waitlist import audit, outbox, projection, seats
from waitlist.errors import NotReissued
from waitlist.extensions import db, reading, rows_changed, settings
from waitlist.failpoints import failpoint
from waitlist.models import Entry, Invitation, Message, PlaceChange
from waitlist.onboarding import extending, reissue, stuck
from waitlist.onboarding.by_hand import open_ones
from waitlist.onboarding.stuck import Choice, Stuck
from waitlist.wake import wake

KIND = "sorry"  # of mail
NO_SEAT = ("paused", "capacity", "quota")  # why somebody is put back in line instead
NEAR = timedelta(hours=1)  # to its end, an invitation is kept open while its mail waits
HOLDS_SEAT = ("open", "expired")


class Left(NamedTuple):
    """Somebody for whom nothing is done, and why."""

    entry_id: int
    address: str
    why: str


@dataclass
class Mended:
    """What a mending did, or would: how many of each way, and whom it left alone."""

    did: Counter[str] = field(default_factory=Counter)
    left: list[Left] = field(default_factory=list)


def foretell(choice: Choice, *, now: datetime) -> Mended:
    """What mending these would do; nothing is changed."""
    done = Mended()
    for one in stuck.find(choice, now=now).people:
        _count(done, one, why_not(one) or _way(one))
    return done


def mend(choice: Choice, *, actor: str, reason: str, now: datetime) -> Mended:
    """Extend or re-issue the invitation of everybody who is stuck so, and owe them an apology."""
    with reading():
        people = stuck.find(choice, now=now).people
    done = Mended()
    for one in reversed(people):  # who waits longest first
        _count(done, one, _mend(one.entry_id, choice, actor=actor, reason=reason, now=now))
    wake("mail")
    wake("admission")
    return done


def why_not(one: Stuck) -> str | None:
    """The word for why nothing is done for somebody; None if it is."""
    if one.is_mended:
        return "mended already"
    if one.is_suppressed:
        return "suppressed: the address can't be mailed"
    if one.standing in (*HOLDS_SEAT, "lapsed", "in line"):
        return None
    return one.standing


def keep_open(*, now: datetime) -> int:
    """Give those more time whose apology is still to go, shortly before theirs ends; how many.

    Unsent, an invitation has no deadline: nor shall one whose mail waits for a server.
    """
    waiting = select(Message.invitation_id).where(
        Message.state == "queued",
        Message.priority == outbox.PRIORITIES[KIND],
        Message.kind == KIND,
        Message.invitation_id.is_not(None),
    )
    ending = (Invitation.state == "open", Invitation.expires_at <= now + NEAR)
    found = select(Invitation.id).where(Invitation.id.in_(waiting), *ending)
    with reading():
        any_ends = db.session.scalar(found.limit(1)) is not None
    if not any_ends:
        return 0
    kept = rows_changed(
        update(Invitation.__table__)
        .where(Invitation.id.in_(found.order_by(Invitation.id)), *ending)
        .values(expires_at=now + settings().invite_within, reminded_at=None)
    )
    db.session.commit()
    return kept


def _mend(entry_id: int, choice: Choice, *, actor: str, reason: str, now: datetime) -> str:
    """What was done for one person, as SQL has them under the gate's lock; or why nothing was."""
    seats.lock()
    before = reissue.last(entry_id)
    again = stuck.find(choice._replace(only=[entry_id]), now=now).people
    if before is None or not again:
        db.session.rollback()
        return "registered"  # meanwhile
    [one] = again
    if why := why_not(one):
        db.session.rollback()
        return why
    did, invitation_id = _set_right(one, before, now=now)
    after = reissue.last(entry_id)
    audit.record(
        "invitation.mend",
        f"entry:{entry_id}",
        actor=actor,
        now=now,
        before=_told(before),
        after={"did": did, **(_told(after) if invitation_id and after else {})},
        reason=reason,
    )
    cohort_id = db.session.scalars(select(Entry.cohort_id).where(Entry.id == entry_id)).one()
    failpoint("mending.before-commit")
    db.session.commit()
    projection.settle(cohort_id)
    return did


def _set_right(one: Stuck, last: reissue.Last, *, now: datetime) -> tuple[str, int | None]:
    """What was done, and with which invitation; None: they are in line."""
    if last.state == "open":
        _extend(last, now=now)
        outbox.stage(KIND, [one.entry_id], now=now, invitations=[last.id])
        return "extended", last.id
    try:
        return "re-issued", reissue.reissue(one.entry_id, kind=KIND, now=now)
    except NotReissued as refusal:
        if refusal.why not in NO_SEAT:
            raise
    _put_in_line(one.entry_id, now=now)
    outbox.stage(KIND, [one.entry_id], now=now)
    return "in line", None


def _extend(last: reissue.Last, *, now: datetime) -> None:
    """More time now, as its end may be near; and once more when the mail is taken (`lifetimes`)."""
    its = [*open_ones(Invitation.id == last.id).values()]
    extending.push_back(its, by=None, until=now + settings().invite_within, now=now)


def _put_in_line(entry_id: int, *, now: datetime) -> None:
    back = rows_changed(
        update(Entry.__table__)
        .where(Entry.id == entry_id, Entry.state == "lapsed")
        .values(state="waiting")
    )
    if back:
        projection.note_people([entry_id])
        why = "an error of ours at the last step"
        db.session.add(PlaceChange(entry_id=entry_id, at=now, reason=why))


def _told(last: reissue.Last) -> dict[str, str | int | None]:
    ends = last.expires_at.isoformat() if last.expires_at else None
    return {"invitation": last.id, "state": last.state, "expires_at": ends}


def _way(one: Stuck) -> str:
    return "extended" if one.standing in HOLDS_SEAT else "re-issued"


def _count(done: Mended, one: Stuck, did: str) -> None:
    if did in ("extended", "re-issued", "in line"):
        done.did[did] += 1
    else:
        done.left.append(Left(one.entry_id, one.address, did))
