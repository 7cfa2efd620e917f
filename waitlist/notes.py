"""Notes of who changed, for the line: left by a transaction, worked off on Redis, forgotten.

The id of a note is the version of the change that it names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache

import structlog
from sqlalchemy import BigInteger, Delete, Executable, bindparam, delete, insert, select

from waitlist import extensions
from waitlist import line as lines
from waitlist.errors import LineUnavailable
from waitlist.extensions import db
from waitlist.line import Change, Line
from waitlist.models import LineChange
from waitlist.rows import Given

log = structlog.get_logger()
NOTES = LineChange.__table__


def leave(cohort_id: int, entry_ids: Iterable[int]) -> dict[int, int]:
    """Leave a note of each person's change, in the caller's transaction; the notes by person."""
    people, noting = _noting(db.engine.dialect.name)
    rows = people.values((entry_id,) for entry_id in entry_ids)
    found = db.session.execute(noting, {**rows, "cohort": cohort_id})
    return dict(found.all())


def forget(notes: Collection[int]) -> None:
    """Take away notes that were worked off, in the caller's transaction."""
    if notes:
        done, forgetting = _forgetting(db.engine.dialect.name)
        db.session.execute(forgetting, done.values((note,) for note in notes))


def clock() -> int:
    """The time by which Redis tells how old news is: look before what is told happens."""
    return lines.clock(extensions.redis())


def take_out(line: Line, notes: Mapping[int, int], *, read_at: int) -> Collection[int]:
    """Take out whom a transaction that ended after `read_at` took out and noted, by person.

    Gives the notes that may be forgotten: none if Redis doesn't let us, and the clock will.
    Nothing is read: as of these notes they are gone. Whoever came back since has a newer note,
    and the script ignores the older.
    """
    try:
        line.apply((Change(*who, None) for who in notes.items()), read_at=read_at)
    except LineUnavailable as error:
        log.info("line follows later", why=str(error))
        return ()
    return notes.values()


@cache
def _noting(dialect: str) -> tuple[Given, Executable]:
    people = Given(dialect, "people", entry_id=BigInteger())
    noted = select(people.c.entry_id, bindparam("cohort", type_=BigInteger()))
    return people, (
        insert(NOTES)
        .from_select(["entry_id", "cohort_id"], noted)
        .returning(NOTES.c.entry_id, NOTES.c.id)
    )


@cache
def _forgetting(dialect: str) -> tuple[Given, Delete]:
    done = Given(dialect, "done", id=BigInteger())
    return done, delete(NOTES).where(NOTES.c.id.in_(select(done.c.id)))
