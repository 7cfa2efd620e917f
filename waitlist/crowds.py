"""Crowds: thousands who come into a line together, noted as one.

A crowd is a note, as a `LineChange` is, and kept until its people are on the line itself. Being
new is the oldest there is to say of them, so it needs no versions, neither here nor in Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, select

from waitlist import extensions
from waitlist import line as lines
from waitlist.extensions import db, reading
from waitlist.line import PAGE, Line, Standing
from waitlist.models import Crowd, Entry


def note(cohort_id: int, import_id: int, *, first_id: int, last_id: int) -> None:
    """Leave a note of those whom an import let in between these ids, in its own transaction."""
    db.session.add(
        Crowd(cohort_id=cohort_id, import_id=import_id, first_id=first_id, last_id=last_id)
    )


def take_in(cohort_id: int, line: Callable[[], Line], stands: ColumnElement[bool]) -> None:
    """Bring each crowd of a cohort to its line, as SQL names it then, and forget the crowd."""
    for crowd in _crowds(cohort_id):
        _welcome(crowd, line(), stands)
        db.session.execute(delete(Crowd).where(Crowd.id == crowd.id))
        db.session.commit()


def fill(cohort_id: int, filling: Line, stands: ColumnElement[bool]) -> None:
    """Bring the crowds to a filling, too; they stay noted until they are on the line itself."""
    for crowd in _crowds(cohort_id):
        _welcome(crowd, filling, stands)


def _crowds(cohort_id: int) -> Iterator[Any]:
    """The crowds of a cohort, the oldest first, until there are no more."""
    after = 0
    while True:
        oldest = select(Crowd.id, Crowd.import_id, Crowd.first_id, Crowd.last_id).where(
            Crowd.cohort_id == cohort_id, Crowd.id > after
        )
        with reading():
            crowd = db.session.execute(oldest.order_by(Crowd.id).limit(1)).first()
        if crowd is None:
            return
        yield crowd
        after = crowd.id


def _welcome(crowd: Any, line: Line, stands: ColumnElement[bool]) -> None:
    after = crowd.first_id - 1
    while True:
        read_at = lines.clock(extensions.redis())
        people = _people(crowd, stands, after)
        if people:
            line.welcome(people, read_at=read_at)
            after = people[-1][1]
        if len(people) < PAGE:
            return


def _people(crowd: Any, stands: ColumnElement[bool], after: int) -> Sequence[Standing]:
    query = (
        select(Entry.rank, Entry.id)
        .where(Entry.import_id == crowd.import_id, Entry.id > after, Entry.id <= crowd.last_id)
        .where(stands)
        .order_by(Entry.id)
        .limit(PAGE)
    )
    with reading():
        cursor = db.session.connection().execute(query).cursor
        assert cursor is not None
        return cursor.fetchall()  # the driver's own tuples, as in `standing`
