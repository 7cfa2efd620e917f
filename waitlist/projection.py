"""Keeping the Redis line equal to SQL: notes of change, catching up, rebuilding, checking.

Every transaction that touches the line leaves a `LineChange` row in SQL. Whoever brings
Redis up to date reads the person's state from SQL *after* the change, so a note can be
worked off by anybody, twice, or late, with the same result.
"""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

import structlog
from sqlalchemy import (
    ColumnElement,
    and_,
    case,
    insert,
    select,
    update,
)

from waitlist import crowds, extensions, notes, standing
from waitlist import line as lines
from waitlist.errors import LineUnavailable
from waitlist.extensions import db, reading
from waitlist.failpoints import failpoint
from waitlist.line import NOWHERE, Change, Line, Place
from waitlist.models import Cohort, Entry, Gate, LineChange
from waitlist.rows import ids

log = structlog.get_logger()
BATCH = 1_000
MOST_REPORTED = 1_000
CHECKS = 3
BETWEEN_CHECKS = 0.5  # seconds


class Difference(NamedTuple):
    """Somebody whose place in Redis isn't what SQL says; ranks, None where absent."""

    entry_id: int
    in_sql: int | None
    in_redis: int | None


def in_line() -> ColumnElement[bool]:
    """Who stands in a line: confirmed people who wait and can be mailed."""
    return and_(Entry.state == "waiting", Entry.suppressed_at.is_(None))


def note(cohort_id: int, entry_ids: Iterable[int]) -> None:
    """Leave a note of each person's change, in the caller's transaction."""
    notes.leave(cohort_id, entry_ids)


def note_people(entry_ids: Iterable[int]) -> None:
    """Leave a note of each person's change in the line where they are now, likewise."""
    theirs = select(Entry.cohort_id, Entry.id).where(Entry.id.in_(ids(entry_ids)))
    db.session.execute(insert(LineChange).from_select(["cohort_id", "entry_id"], theirs))


def of_cohort(cohort_id: int) -> Line:
    """The line of a cohort under the epoch that SQL names now."""
    with reading():
        name, epoch = db.session.execute(
            select(Cohort.name, Cohort.line_epoch).where(Cohort.id == cohort_id)
        ).one()
    return of(name, epoch)


def of(cohort: str, epoch: str | None) -> Line:
    """The line of this name under this epoch."""
    if epoch is None:
        raise LineUnavailable(f"the line of {cohort} was never built")
    return Line(extensions.redis(), cohort, epoch)


def place_of(entry: Entry) -> Place:
    """Where a person who waits stands; nothing of others, and nothing while Redis can't tell."""
    if entry.state != "waiting":
        return NOWHERE
    try:
        return of_cohort(entry.cohort_id).place(entry.id)
    except LineUnavailable:
        return NOWHERE


def places(people: Iterable[tuple[int, str, str | None]]) -> dict[int, Place]:
    """Where these people (entry, cohort, its epoch in SQL) stand, by a question to each line.

    Nothing of those whose line can't tell.
    """
    by_line: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for entry_id, cohort, epoch in people:
        if epoch is not None:
            by_line[cohort, epoch].append(entry_id)
    found: dict[int, Place] = {}
    for (cohort, epoch), entry_ids in by_line.items():
        with suppress(LineUnavailable):
            found |= Line(extensions.redis(), cohort, epoch).places(entry_ids)
    return found


def catch_up(cohort_id: int) -> None:
    """Work off all notes of a cohort on its line."""
    while True:
        read_at = lines.clock(extensions.redis())
        line = of_cohort(cohort_id)
        noted, changes = _read_notes(cohort_id)
        if not noted:
            return
        line.apply(changes, read_at=read_at)
        notes.forget(noted)
        db.session.commit()
        if len(noted) < BATCH:
            return


def take_in(cohort_id: int) -> None:
    """Catch up, and bring the crowds that came into a cohort to its line."""
    catch_up(cohort_id)
    crowds.take_in(cohort_id, lambda: of_cohort(cohort_id), _stands_in(cohort_id))


def settle(*cohort_ids: int, by: Callable[[int], None] = catch_up) -> None:
    """Catch up after a commit, if Redis lets us; else the clock will."""
    try:
        for cohort_id in cohort_ids:
            by(cohort_id)
    except LineUnavailable as error:
        log.info("line follows later", why=str(error))


def require_valid() -> str:
    """Rebuild every line that Redis lost, catch up, and say which run of Redis that was."""
    run_id = lines.run_id(extensions.redis())
    with reading():
        known = db.session.scalar(select(Gate.line_run_id))
        cohort_ids = db.session.scalars(select(Cohort.id)).all()
    for cohort_id in cohort_ids:
        if run_id != known or not _is_valid(cohort_id):
            rebuild(cohort_id)
        else:
            take_in(cohort_id)
    if run_id != known:
        db.session.execute(update(Gate).values(line_run_id=run_id))
        db.session.commit()
    return run_id


def rebuild(cohort_id: int) -> int:
    """Fill a cohort's line anew from SQL; how many people are in it.

    First SQL gets the new epoch: from then on nothing is applied to the old line, so all
    that happens during the filling stays noted. The notes are applied to the filling too,
    but only `catch_up` on the line itself deletes them: another rebuild may need them.
    `LineUnavailable` if another began since: theirs is the line.
    """
    line = _begun_anew(cohort_id)
    failpoint("rebuild.begun")
    filling = line.fresh()
    for page in standing.in_sql(_stands_in(cohort_id)):
        filling.fill(page)
    failpoint("rebuild.filled")
    _apply_notes(cohort_id, filling)
    crowds.fill(cohort_id, filling, _stands_in(cohort_id))
    failpoint("rebuild.before-swap")
    if of_cohort(cohort_id).epoch != line.epoch:  # theirs may be in place: leave it
        raise LineUnavailable("another rebuild began after this one")
    filling.swap()
    take_in(cohort_id)
    return line.length()


def _begun_anew(cohort_id: int) -> Line:
    """The cohort's line under an epoch that is new in SQL; what Redis has of the old is freed."""
    which = Cohort.id == cohort_id
    name, old = db.session.execute(select(Cohort.name, Cohort.line_epoch).where(which)).one()
    epoch = secrets.token_hex(16)
    db.session.execute(update(Cohort).where(which).values(line_epoch=epoch))
    db.session.commit()
    if old is not None:
        Line(extensions.redis(), name, old).drop()
    return Line(extensions.redis(), name, epoch)


def _apply_notes(cohort_id: int, filling: Line) -> None:
    after, full = 0, True
    while full:
        read_at = lines.clock(extensions.redis())
        noted, changes = _read_notes(cohort_id, after=after)
        if noted:
            filling.apply(changes, read_at=read_at)
            after = noted[-1]
        full = len(noted) == BATCH


def check(cohort_id: int) -> list[Difference]:
    """Where the line differs from SQL, looked at three times so that work in flight isn't told."""
    found = _compare(cohort_id)
    for _ in range(CHECKS - 1):
        if not found:
            break
        time.sleep(BETWEEN_CHECKS)
        found &= _compare(cohort_id)
    return sorted(found, key=lambda difference: difference.entry_id)


def _compare(cohort_id: int) -> set[Difference]:
    take_in(cohort_id)
    line = of_cohort(cohort_id)
    if not line.is_valid():
        raise LineUnavailable(f"the line of {line.cohort} is lost; the clock rebuilds it")
    in_sql: dict[int, int] = {}
    in_redis: dict[int, int] = {}
    odd_ones = standing.odd_ones(standing.in_sql(_stands_in(cohort_id)), line.pages())
    for is_of_sql, (rank, entry_id) in islice(odd_ones, MOST_REPORTED):
        (in_sql if is_of_sql else in_redis)[entry_id] = rank
    return {
        Difference(entry_id, in_sql.get(entry_id), in_redis.get(entry_id))
        for entry_id in in_sql.keys() | in_redis.keys()
    }


def _is_valid(cohort_id: int) -> bool:
    try:
        return of_cohort(cohort_id).is_valid()
    except LineUnavailable:
        return False


def _read_notes(cohort_id: int, *, after: int = 0) -> tuple[list[int], list[Change]]:
    """The oldest notes and, in the same statement, what SQL says now of those they name."""
    oldest = (
        select(LineChange.id, LineChange.entry_id)
        .where(LineChange.cohort_id == cohort_id, LineChange.id > after)
        .order_by(LineChange.id)
        .limit(BATCH)
        .subquery()
    )
    with reading():
        rows = db.session.execute(
            select(oldest.c.id, oldest.c.entry_id, case((_stands_in(cohort_id), Entry.rank)))
            .select_from(oldest)
            .outerjoin(Entry, Entry.id == oldest.c.entry_id)
            .order_by(oldest.c.id)
        ).all()
    latest = {entry_id: Change(entry_id, version, rank) for version, entry_id, rank in rows}
    return [version for version, _, _ in rows], list(latest.values())


def _stands_in(cohort_id: int) -> ColumnElement[bool]:
    return and_(Entry.cohort_id == cohort_id, in_line())
