"""Seats: the gate's counters and the only ways they change, all under the gate's lock.

`seats_used` counts what is held by open invitations and taken by registrations; completing
turns one into the other, so it doesn't change the counter and never needs the gate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import and_, delete, or_, select, update

from waitlist import outbox, projection
from waitlist.extensions import db
from waitlist.models import Cohort, Entry, Gate, Invitation, Message, Registration


def lock() -> Gate:
    """The gate, locked until the caller's transaction ends. Always the first lock taken."""
    return db.session.scalars(
        select(Gate).with_for_update().execution_options(populate_existing=True)
    ).one()


def take(by_cohort: Counter[int]) -> None:
    """Count seats as used, so many of each cohort. The caller holds the gate's lock."""
    for cohort_id, people in sorted(by_cohort.items()):
        _add(cohort_id, people)


def release(by_cohort: Counter[int]) -> None:
    """Count seats of registrations that are taken away as free. The caller holds the lock."""
    for cohort_id, people in sorted(by_cohort.items()):
        _add(cohort_id, -people)


def give_back(
    invitation_ids: Iterable[int], *, as_: str, entries_as: str, now: datetime
) -> Sequence[int]:
    """End those of these invitations that are open, and free their seats; the entries' ids.

    The caller holds the gate's lock. An invitation that was used meanwhile isn't touched,
    so a seat is never both released and used.
    """
    ended = db.session.execute(
        update(Invitation)
        .where(Invitation.id.in_(sorted(invitation_ids)), Invitation.state == "open")
        .values(state=as_, ended_at=now)
        .returning(Invitation.id, Invitation.entry_id, Invitation.cohort_id)
        .execution_options(synchronize_session=False)
    ).all()
    entry_ids = sorted(entry_id for _, entry_id, _ in ended)
    if not ended:
        return entry_ids
    db.session.execute(
        update(Entry)
        .where(Entry.id.in_(entry_ids), Entry.state == "invited")
        .values(state=entries_as)
        .execution_options(synchronize_session=False)
    )
    for cohort_id, people in sorted(Counter(cohort for _, _, cohort in ended).items()):
        _add(cohort_id, -people)
    projection.note_people(entry_ids)
    outbox.cancel(
        and_(  # found by their people: all that is queued would be looked through for the first
            Message.invitation_id.in_([invitation_id for invitation_id, _, _ in ended]),
            Message.entry_id.in_(entry_ids),
        ),
        reason=f"invitation {as_}",
    )
    return entry_ids


def forget(entry_id: int) -> int:
    """Free the seats of a person who is erased, and what holds them; how many those were.

    The caller holds the gate's lock and those of the person's invitations.
    """
    registered = select(Registration.invitation_id).where(Registration.entry_id == entry_id)
    holds = or_(Invitation.state == "open", Invitation.id.in_(registered))
    held = Counter(
        db.session.scalars(
            select(Invitation.cohort_id).where(Invitation.entry_id == entry_id, holds)
        )
    )
    for model in (Registration, Invitation):
        db.session.execute(
            delete(model)
            .where(model.entry_id == entry_id)
            .execution_options(synchronize_session=False)
        )
    for cohort_id, seats in sorted(held.items()):
        _add(cohort_id, -seats)
    return held.total()


def _add(cohort_id: int, people: int) -> None:
    db.session.execute(update(Gate).values(seats_used=Gate.seats_used + people))
    db.session.execute(
        update(Cohort).where(Cohort.id == cohort_id).values(seats_used=Cohort.seats_used + people)
    )
