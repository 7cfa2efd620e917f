"""Letting the staged people of a file into the line, a batch a transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, literal, select, update

from waitlist import arrivals, crowds, projection
from waitlist.extensions import db, elsewhere, insert_unless_known, reading
from waitlist.failpoints import failpoint
from waitlist.models import Entry, Import, ImportRow
from waitlist.signup import sorting, staging
from waitlist.signup.staging import Batch, Progress

BATCHES_A_LOOK = 10  # batches between two looks of the planner at its statistics


def enter(run: Import, *, now: datetime, progress: Progress) -> None:
    """Let everybody in who is staged; the line in Redis follows beside."""
    batches, after = 0, 0
    with _followed(run.cohort_id) as follow:
        while (batch := staging.next_batch(run, after)) is not None:
            _let_in(run, batch, now=now)
            failpoint("import.before-commit")
            db.session.commit()
            follow()
            if batches % BATCHES_A_LOOK == 0:
                staging.refresh_statistics("entries")
            batches, after = batches + 1, batch.end
            progress(run.accepted + run.duplicate)
    projection.settle(run.cohort_id, by=projection.take_in)


def line_up(run: Import) -> None:
    """Order who is staged, and keep as many arrivals as they may need, consecutive ones.

    None are kept where nobody is new, so that the same file again changes nothing.
    """
    staging.put_in_order(run)
    with reading():  # without the lock, for it takes longer the larger the file is
        people = staging.count(run, staging.is_staged(run)) if _has_newcomers(run) else 0
    if people:
        run.first_arrival = arrivals.next_block(people)
    run.state = "entering"
    db.session.commit()


@contextmanager
def _followed(cohort_id: int) -> Iterator[Callable[[], None]]:
    """What brings the line up to date in a thread, unless that is under way already."""
    settle = elsewhere(lambda: projection.settle(cohort_id, by=projection.take_in))
    under_way: list[Future[None]] = []

    def follow() -> None:
        if under_way and under_way[0].done():
            under_way.pop().result()
        if not under_way:
            under_way.append(thread.submit(settle))

    with ThreadPoolExecutor(1) as thread:
        yield follow


def _let_in(run: Import, batch: Batch, *, now: datetime) -> None:
    """Let in who is new of a batch; all its rows leave the staging, or are rejected.

    Nearly always all are new, so they are inserted as if they were: the index of addresses
    has to be asked anyway, and tells who isn't.
    """
    came = 0
    if run.first_arrival is not None:
        came = _insert(run, batch, run.first_arrival + run.accepted, now=now)
    if came < staging.count(run, batch.which):
        sorting.sort_out(run, batch, now=now)
    staging.discard(batch.which)
    run.accepted += came


def _has_newcomers(run: Import) -> bool:
    known = select(Entry.id).where(sorting.IS_THEIRS).exists()
    new = select(ImportRow).where(staging.is_staged(run), ~known)
    return bool(db.session.scalar(select(new.exists())))


def _insert(run: Import, batch: Batch, arrival: int, *, now: datetime) -> int:
    """Insert who is new, with arrivals from this one on, and note them; how many they are."""
    before = db.session.scalar(select(func.max(Entry.id)).where(Entry.import_id == run.id)) or 0
    person = _person(run, arrival + batch.nth - batch.first, now)
    rows = select(*person.values()).where(batch.which).order_by(batch.nth)
    db.session.execute(
        insert_unless_known(Entry, Entry.address_key).from_select(
            list(person), rows, include_defaults=False
        )
    )
    came = and_(Entry.import_id == run.id, Entry.id > before)
    ends = select(func.count(), func.min(Entry.id), func.max(Entry.id)).where(came)
    people, first_id, last_id = db.session.execute(ends).one()
    if people:
        _close_gaps(came, arrival, people)
        crowds.note(run.cohort_id, run.id, first_id=first_id, last_id=last_id)
    return int(people)


def _person(run: Import, arrival: ColumnElement[int], now: datetime) -> dict[str, Any]:
    """The columns of a person who comes in."""
    moment = ImportRow.joined_at.type
    return {
        "state": literal("waiting"),
        "cohort_id": literal(run.cohort_id),
        "address": ImportRow.address,
        "address_key": ImportRow.address_key,
        "mail_to": ImportRow.mail_to,
        "name": ImportRow.name,
        "locale": ImportRow.locale,
        "attributes": ImportRow.attributes,
        "nonce": ImportRow.nonce,
        "arrival": arrival,
        "rank": arrival,
        "import_id": literal(run.id),
        "joined_at": func.coalesce(ImportRow.joined_at, literal(now, moment)),
        "confirmed_at": literal(now, moment),
        "renewals": literal(0),
    }


def _close_gaps(came: ColumnElement[bool], arrival: int, people: int) -> None:
    """Have the arrivals of those who came follow one another, where others didn't come in."""
    if db.session.scalar(select(func.max(Entry.arrival)).where(came)) == arrival + people - 1:
        return
    nth = func.row_number().over(order_by=Entry.arrival) - 1
    numbered = select(Entry.id, (arrival + nth).label("arrival")).where(came).subquery()
    db.session.execute(
        update(Entry)
        .where(Entry.id == numbered.c.id)
        .values(arrival=numbered.c.arrival, rank=numbered.c.arrival)
        .execution_options(synchronize_session=False)
    )
