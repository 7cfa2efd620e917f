"""Re-issue: a new invitation of somebody whose last one is over; its link supersedes the old.

All of it is of the caller's transaction, which holds the gate's lock (`seats.lock`). An
invitation that is open in time is never touched: somebody may be typing in its form.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import insert, select, update

from waitlist import outbox, projection, seats
from waitlist.errors import NotReissued
from waitlist.extensions import db, rows_changed
from waitlist.models import Cohort, Entry, Gate, Invitation
from waitlist.models.base import new_nonce
from waitlist.policy import deadlines

OVER = ("expired", "revoked")  # states of an invitation that may be superseded
ABLE = ("lapsed", "waiting")  # states of an entry that may have another


class Last(NamedTuple):
    """A person's newest invitation, locked, as SQL has it now."""

    id: int
    state: str
    generation: int
    wave_id: int
    expires_at: datetime | None


def last(entry_id: int) -> Last | None:
    """The newest invitation of a person, locked until the caller's transaction ends."""
    columns = (Invitation.__table__.c[name] for name in Last._fields)
    row = db.session.execute(
        select(*columns)
        .where(Invitation.entry_id == entry_id)
        .order_by(Invitation.id.desc())
        .limit(1)
        .with_for_update()
    ).one_or_none()
    return Last._make(row) if row else None


def end_if_late(entry_id: int, *, now: datetime) -> None:
    """End a person's open invitation whose time is over, as its lapsing will, and free the seat."""
    found = last(entry_id)
    if found and found.state == "open" and deadlines.deadline_passed(found.expires_at, None, now):
        seats.give_back([found.id], as_="expired", entries_as="lapsed", now=now)


def reissue(entry_id: int, *, kind: str = "renewal", now: datetime) -> int:
    """The id of a new invitation, one generation on; the last one of this person is superseded.

    It is of the wave that admitted them, holds a seat, and is owed a mail of `kind`, from whose
    acceptance its time runs. Their last one must be over: see `end_if_late`. `NotReissued`, and
    nothing is changed, if it isn't, or no seat is to be had.
    """
    old = last(entry_id)
    _check(old, entry_id)
    assert old is not None
    cohort_id = db.session.scalars(
        update(Entry.__table__)
        .where(Entry.id == entry_id, Entry.state.in_(ABLE), Entry.suppressed_at.is_(None))
        .values(state="invited")
        .returning(Entry.cohort_id)
    ).one()
    rows_changed(
        update(Invitation.__table__)
        .where(Invitation.id == old.id, Invitation.state.in_(OVER))
        .values(state="superseded")
    )
    new = {
        "entry_id": entry_id,
        "wave_id": old.wave_id,
        "cohort_id": cohort_id,
        "generation": old.generation + 1,
        "nonce": new_nonce(),
        "state": "open",
        "created_at": now,
    }
    table = Invitation.__table__
    new_id: int = db.session.scalars(insert(table).values(new).returning(table.c.id)).one()
    seats.take(Counter([cohort_id]))
    projection.note_people([entry_id])
    outbox.stage(kind, [entry_id], now=now, invitations=[new_id])
    return new_id


def no_seat(cohort_id: int) -> str | None:
    """The word for why no seat of this cohort is to be had now; None if one is."""
    gate = db.session.execute(select(Gate.paused, Gate.capacity, Gate.seats_used)).one()
    quota, used = db.session.execute(
        select(Cohort.quota, Cohort.seats_used).where(Cohort.id == cohort_id)
    ).one()
    if gate.paused:
        return "paused"
    if gate.seats_used >= gate.capacity:
        return "capacity"
    return "quota" if quota is not None and used >= quota else None


def _check(old: Last | None, entry_id: int) -> None:
    """`NotReissued` with the word for why this person can't have another invitation now."""
    entry = db.session.execute(
        select(Entry.state, Entry.cohort_id, Entry.suppressed_at)
        .where(Entry.id == entry_id)
        .with_for_update()
    ).one()
    if old is None:
        raise NotReissued("never-invited")
    if entry.state not in ABLE or old.state not in OVER:
        raise NotReissued(entry.state)
    if entry.suppressed_at is not None:
        raise NotReissued("suppressed")
    if why := no_seat(entry.cohort_id):
        raise NotReissued(why)
