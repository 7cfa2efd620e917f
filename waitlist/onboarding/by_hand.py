"""What operators do to invitations: send one again, take it back, issue a fresh one.

By the people's ids. Each is done for everybody who is named, or refused for all with a sentence
for each who stands in the way. Under the gate's lock, so that nothing lapses meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, select

from waitlist import audit, outbox, projection, seats
from waitlist.errors import NotReissued, ValueRefused
from waitlist.extensions import db
from waitlist.models import Entry, Invitation, Message
from waitlist.onboarding import disputes
from waitlist.onboarding import reissue as reissuing
from waitlist.policy import deadlines
from waitlist.rows import ids
from waitlist.wake import wake

UNMAILABLE = "can't be mailed; first: flask person unsuppress"
WHY_NOT = {
    "pending": "hasn't confirmed",
    "unconfirmed": "hasn't confirmed",
    "waiting": "waits in line; to invite out of turn: flask wave invite",
    "invited": "has an invitation that isn't over: flask invitation resend, or extend",
    "registered": "is registered already",
    "lapsed": "has none that is open; a fresh one: flask invitation reissue",
    "withdrawn": "left the line",
    "removed": "was removed",
    "suppressed": UNMAILABLE,
    "never-invited": "was never invited; out of turn: flask wave invite",
    "paused": "the gate is paused; first: flask gate resume",
    "capacity": "no seat is free; see flask gate show",
    "quota": "the quota of the cohort is used up; see flask cohort list",
}


class Open(NamedTuple):
    """An open invitation, locked."""

    id: int
    entry_id: int
    cohort_id: int
    mailed_at: datetime | None
    expires_at: datetime | None


def resend(entry_ids: Collection[int], *, actor: str, reason: str, now: datetime) -> int:
    """Owe the mail of their open invitations once more: same generation, same link; how many."""
    seats.lock()
    found = open_ones(Invitation.entry_id.in_(ids(entry_ids)))
    under_way = _under_way(found)
    entries = entries_of(entry_ids)

    def why_not(entry: Entry) -> str:
        its = found.get(entry.id)
        if its is None:
            return WHY_NOT[entry.state]
        if entry.suppressed_at is not None:
            return UNMAILABLE
        if deadlines.deadline_passed(its.expires_at, None, now):
            return "its time is over: flask invitation extend"
        return "its mail is still to be sent: see flask person show" if its.id in under_way else ""

    require(entries, why_not)
    people = sorted(entries)
    outbox.stage(
        "renewal", people, now=now, invitations=[found[entry_id].id for entry_id in people]
    )
    _record("invitation.resend", people, actor=actor, reason=reason, now=now)
    db.session.commit()
    wake("mail")
    return len(people)


def revoke(
    entry_ids: Collection[int], *, apology: bool, actor: str, reason: str, now: datetime
) -> int:
    """Take their open invitations back; they wait at their old places. How many are owed sorry.

    Who was never mailed needs no apology.
    """
    seats.lock()
    found = open_ones(Invitation.entry_id.in_(ids(entry_ids)))
    entries = entries_of(entry_ids)
    require(entries, lambda entry: "" if entry.id in found else WHY_NOT[entry.state])
    under_way = _under_way(found, states=("sending",))
    seats.give_back(
        [its.id for its in found.values()], as_="revoked", entries_as="waiting", now=now
    )
    told = [entry_id for entry_id, its in found.items() if its.mailed_at or its.id in under_way]
    sorry = sorted(told) if apology else []
    outbox.stage("apology", sorry, now=now)
    _record("invitation.revoke", sorted(found), actor=actor, reason=reason, now=now)
    db.session.commit()
    projection.settle(*{its.cohort_id for its in found.values()})
    wake("mail")
    return len(sorry)


def reissue(entry_ids: Collection[int], *, actor: str, reason: str, now: datetime) -> int:
    """A fresh invitation for each, however often they had one, though their last is over; how many.

    Seats, quotas and the pause bind it; the rate and the product's health don't. It takes the
    place of a registration that is disputed: then it wasn't they who used the last one.
    """
    seats.lock()
    entries = entries_of(entry_ids)
    by = {"actor": actor, "reason": reason}
    require(entries, lambda entry: _reissued(entry.id, **by, now=now))
    _record("invitation.reissue", sorted(entries), actor=actor, reason=reason, now=now)
    db.session.commit()
    projection.settle(*{entry.cohort_id for entry in entries.values()})
    wake("mail")
    return len(entries)


def _reissued(entry_id: int, *, actor: str, reason: str, now: datetime) -> str:
    """Why it can't be; empty if it is done. A registration that is disputed makes room for it."""
    try:
        disputes.set_aside(entry_id, actor=actor, reason=reason, now=now)
        reissuing.reissue(entry_id, now=now)
    except NotReissued as error:
        return WHY_NOT[error.why]
    return ""


def open_ones(which: ColumnElement[bool], *, most: int | None = None) -> dict[int, Open]:
    """The open invitations of these, by person; locked, in the order of their ids."""
    columns = (Invitation.__table__.c[name] for name in Open._fields)
    found = db.session.execute(
        select(*columns)
        .where(which, Invitation.state == "open")
        .order_by(Invitation.id)
        .limit(most)
        .with_for_update()
    )
    return {row.entry_id: Open._make(row) for row in found}


def _under_way(
    found: Mapping[int, Open], *, states: tuple[str, ...] = ("queued", "sending")
) -> set[int]:
    """Which of these invitations have a mail in these states that brings their link."""
    theirs = Message.entry_id.in_(ids(found)) & Message.kind.in_(outbox.INVITES)
    which = select(Message.invitation_id).where(theirs, Message.state.in_(states))
    return {invitation_id for invitation_id in db.session.scalars(which) if invitation_id}


def entries_of(entry_ids: Collection[int]) -> dict[int, Entry]:
    """These people as SQL has them now, by id."""
    which = select(Entry).where(Entry.id.in_(ids(entry_ids))).order_by(Entry.id)
    fresh = which.execution_options(populate_existing=True)
    return {entry.id: entry for entry in db.session.scalars(fresh)}


def require(entries: Mapping[int, Entry], why_not: Callable[[Entry], str]) -> None:
    """`ValueRefused`, and nothing is changed, if there is a reason for anybody."""
    unable = {entry.address: why for entry in entries.values() if (why := why_not(entry))}
    if not unable:
        return
    db.session.rollback()
    if len(entries) == 1:
        raise ValueRefused("".join(f"{address} {why}" for address, why in unable.items()))
    told = "\n".join(f"  {address}: {why}" for address, why in unable.items())
    raise ValueRefused(f"nothing was done, because of {len(unable):,} of them:\n{told}")


def _record(
    action: str, entry_ids: Sequence[int], *, actor: str, reason: str, now: datetime
) -> None:
    for entry_id in entry_ids:
        audit.record(action, f"entry:{entry_id}", actor=actor, now=now, reason=reason)
