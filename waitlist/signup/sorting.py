"""Rows of a file whose people are known already: what becomes of each, and of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import and_, case, func, literal, or_, select, update

from waitlist import erasures, projection, rows
from waitlist.extensions import db, reading
from waitlist.models import Entry, Import, ImportRow, PlaceChange
from waitlist.signup import staging
from waitlist.signup.staging import Batch

UNTOUCHABLE = ("withdrawn", "removed")
UNCONFIRMED = ("pending", "unconfirmed")
LEFT = "left the line before"
ERASED = "was erased before"
PAGE = 5_000
IS_THEIRS = Entry.address_key == ImportRow.address_key


class Foreseen(NamedTuple):
    """What would become of a file's people; `upgraded` of the duplicates."""

    accepted: int
    duplicate: int
    upgraded: int


def sort_out(run: Import, batch: Batch, *, now: datetime) -> None:
    """Give the rows that didn't come in with their batch their outcome, in its transaction.

    Who had left is rejected. The others are duplicates; and those of them who were only
    pending are confirmed and moved here, but keep their arrival.
    """
    rest = (
        select(ImportRow.number, ImportRow.address_key, Entry.id, Entry.state, Entry.import_id)
        .select_from(ImportRow)
        .outerjoin(Entry, IS_THEIRS)
        .where(batch.which, or_(Entry.id.is_(None), Entry.nonce != ImportRow.nonce))
        .order_by(batch.nth)
    )
    found = db.session.execute(rest).all()
    left = [row for row in found if row.state in UNTOUCHABLE and row.import_id != run.id]
    rejected = _reject(run, left)
    upgraded = _upgrade(run, (row.id for row in found if row.state in UNCONFIRMED), now=now)
    run.duplicate += len(found) - rejected
    run.upgraded += upgraded


def reject_erased(run: Import) -> None:
    """Reject the staged rows of people who were erased; commits. Who they are only hashes tell."""
    after = -1
    with reading():
        is_needed = erasures.are_there()
    while is_needed:
        page = (
            select(ImportRow.number, ImportRow.address_key)
            .where(staging.is_staged(run), ImportRow.number > after)
            .order_by(ImportRow.number)
            .limit(PAGE)
        )
        with reading():
            rows_read = db.session.execute(page).all()
            erased = erasures.among(key for _, key in rows_read)
        if erased:
            staging.reject(run, (number for number, key in rows_read if key in erased), ERASED)
            db.session.commit()
        is_needed = len(rows_read) == PAGE
        after = rows_read[-1][0] if rows_read else after


def foresee(run: Import) -> Foreseen:
    """What would become of the staged people now; those who had left are rejected."""
    people = (
        select(ImportRow.address_key, func.count().label("rows"))
        .where(staging.is_staged(run))
        .group_by(ImportRow.address_key)
        .subquery()
    )
    kind = case(
        (Entry.id.is_(None), "new"), (Entry.state.in_(UNCONFIRMED), "pending"), else_="known"
    )
    counts = (
        select(kind, func.count(), func.sum(people.c.rows))
        .select_from(people)
        .outerjoin(Entry, Entry.address_key == people.c.address_key)
        .group_by(kind)
    )
    with reading():
        found = {kind: (persons, int(rows)) for kind, persons, rows in db.session.execute(counts)}
    new, pending = found.get("new", (0, 0))[0], found.get("pending", (0, 0))[0]
    rejected = _reject(run, _who_left(run))
    return Foreseen(new, sum(rows for _, rows in found.values()) - new - rejected, pending)


def _who_left(run: Import) -> Sequence[Any]:
    staged = and_(staging.is_staged(run), Entry.state.in_(UNTOUCHABLE))
    order = ImportRow.joined_at.asc().nulls_first(), ImportRow.number
    query = select(ImportRow.number, ImportRow.address_key).join(Entry, IS_THEIRS).where(staged)
    with reading():
        return db.session.execute(query.order_by(*order)).all()


def _reject(run: Import, left: Sequence[Any]) -> int:
    """Reject the first row of the file of each of these; how many that are."""
    first = {row.address_key: row.number for row in reversed(left)}
    if first:
        for key in _rejected_before(run, first):
            del first[key]
        staging.reject(run, first.values(), LEFT)
    return len(first)


def _rejected_before(run: Import, keys: Iterable[str]) -> Iterable[str]:
    given = rows.given(((key,) for key in keys), key=ImportRow.address_key.type)
    is_rejected = ImportRow.outcome == literal("rejected", literal_execute=True)  # as the index is
    query = (
        select(ImportRow.address_key)
        .join(given, given.c.key == ImportRow.address_key)
        .where(ImportRow.import_id == run.id, is_rejected)
    )
    return db.session.scalars(query).all()


def _upgrade(run: Import, entry_ids: Iterable[int], *, now: datetime) -> int:
    """How many of these were only pending still, and are confirmed and in this line now."""
    upgraded = db.session.scalars(
        update(Entry)
        .where(Entry.id.in_(rows.ids(entry_ids)), Entry.state.in_(UNCONFIRMED))
        .values(state="waiting", cohort_id=run.cohort_id, confirmed_at=now)
        .returning(Entry.id)
        .execution_options(synchronize_session=False)
    ).all()
    if upgraded:
        why = f"confirmed by import {run.id}"
        db.session.add_all(PlaceChange(entry_id=i, at=now, reason=why) for i in upgraded)
        projection.note(run.cohort_id, upgraded)
    return len(upgraded)
