"""What the records alone say of a launch: who should stand where, and who was let past whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select

from waitlist.extensions import db
from waitlist.models import Entry, Invitation, PlaceChange, Wave

Lines = Mapping[int, Sequence[int]]  # entry ids by cohort, front first


def ranks_by_the_records() -> dict[int, int]:
    """Everybody's rank, as arrivals and places earned give it; no lock is kept."""
    db.session.rollback()
    ranks = dict(db.session.execute(select(Entry.id, Entry.arrival)).all())
    changes = db.session.scalars(select(PlaceChange).order_by(PlaceChange.id)).all()
    for change in changes:
        if change.arrival is not None:
            ranks[change.entry_id] = change.arrival
    for change in changes:
        ranks[change.entry_id] -= change.places
    db.session.rollback()
    return ranks


def ranks_as_they_are() -> dict[int, int]:
    """Everybody's rank as it stands in SQL; no lock is kept."""
    db.session.rollback()
    ranks = dict(db.session.execute(select(Entry.id, Entry.rank)).all())
    db.session.rollback()
    return ranks


def lines() -> dict[int, list[int]]:
    """Who stands in each cohort's line, front first: confirmed, waiting, mailable."""
    db.session.rollback()
    query = (
        select(Entry.cohort_id, Entry.id)
        .where(Entry.state == "waiting", Entry.suppressed_at.is_(None))
        .order_by(Entry.rank, Entry.id)
    )
    found: dict[int, list[int]] = {}
    for cohort_id, entry_id in db.session.execute(query):
        found.setdefault(cohort_id, []).append(entry_id)
    db.session.rollback()
    return found


def let_in_since(invitation_id: int) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Who was invited by invitations after this one, by cohort: in turn, and named by hand."""
    db.session.rollback()
    query = (
        select(Invitation.cohort_id, Invitation.entry_id, Wave.by_list)
        .join(Wave, Wave.id == Invitation.wave_id)
        .where(Invitation.id > invitation_id)
        .order_by(Invitation.id)
    )
    in_turn: dict[int, list[int]] = {}
    named: dict[int, list[int]] = {}
    for cohort_id, entry_id, by_list in db.session.execute(query):
        (named if by_list else in_turn).setdefault(cohort_id, []).append(entry_id)
    db.session.rollback()
    return in_turn, named


def passed_over(before: Lines, in_turn: Lines, named: Lines) -> dict[int, list[int]]:
    """Who stood before somebody who was let in by turn, and wasn't let in; by cohort."""
    found: dict[int, list[int]] = {}
    for cohort_id, people in in_turn.items():
        line = [one for one in before.get(cohort_id, ()) if one not in named.get(cohort_id, ())]
        if skipped := set(line[: len(people)]) - set(people):
            found[cohort_id] = sorted(skipped)
    return found
