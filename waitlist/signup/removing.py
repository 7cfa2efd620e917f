"""Removing a person from the line: they stay known, so that they aren't taken in again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select, update

from waitlist import audit, outbox, projection, seats
from waitlist.errors import ValueRefused
from waitlist.extensions import db, rows_changed
from waitlist.models import Entry, Invitation, Message
from waitlist.signup import people

REMOVABLE = ("pending", "unconfirmed", "waiting", "invited", "lapsed", "withdrawn")


class Removed(NamedTuple):
    """Who is removed, from which state, how many seats are free by it, and what of their mail."""

    entry_id: int
    was: str
    seats: int
    cancelled: int
    under_way: Sequence[str]  # kinds of mail that can't be called back


def remove(address: str, *, actor: str, reason: str, now: datetime) -> Removed:
    """Put this person out of the line for good, and free their seat. Twice is the same as once.

    `ValueRefused` for who has registered, `PersonUnknown`.
    """
    people.refuse_address(reason, address)
    entry = people.find(address)
    seats.lock()
    was = db.session.scalars(select(Entry.state).where(Entry.id == entry.id)).one()
    queued = mails(entry.id, "queued")
    freed = seats.give_back(_open(entry.id), as_="revoked", entries_as="removed", now=now)
    state = update(Entry).where(Entry.id == entry.id, Entry.state.in_(REMOVABLE))
    if rows_changed(state.values(state="removed")) or freed:
        outbox.cancel(Message.entry_id == entry.id, reason="removed")
        projection.note_people([entry.id])
        audit.record(
            "person.remove",
            f"entry:{entry.id}",
            actor=actor,
            now=now,
            before={"state": was},
            after={"state": "removed", "seats_freed": len(freed)},
            reason=reason,
        )
    elif was != "removed":
        db.session.rollback()
        raise ValueRefused(
            f"{address} has registered, so there is no place to take away. "
            f"To delete all that is known of them: flask person erase {address}"
        )
    under_way = mails(entry.id, "sending")
    db.session.commit()
    projection.settle(entry.cohort_id)
    cancelled = len(queued.keys() - under_way.keys())
    return Removed(entry.id, was, len(freed), cancelled, [*under_way.values()])


def mails(entry_id: int, state: str) -> dict[int, str]:
    """The kinds of a person's mails that are in this state, by the mails' ids."""
    theirs = select(Message.id, Message.kind).where(Message.entry_id == entry_id)
    return dict(db.session.execute(theirs.where(Message.state == state)).all())


def _open(entry_id: int) -> Sequence[int]:
    theirs = select(Invitation.id).where(Invitation.entry_id == entry_id)
    return db.session.scalars(theirs.where(Invitation.state == "open")).all()
