"""A file's rows in SQL, from reading to the line: staged, put in order, taken in batches.

Every transaction here is short, for on SQLite all who join wait for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Integer, and_, delete, func, select, text, update

from waitlist import rows
from waitlist.errors import FileRefused
from waitlist.extensions import db, reading
from waitlist.models import Import, ImportRow
from waitlist.models.base import new_nonces
from waitlist.signup import reader

BATCH = 5_000
COLUMNS = (
    *("import_id", "number", "outcome", "reason", "upgraded", "nth", "nonce", "address"),
    *("address_key", "mail_to", "name", "locale", "attributes", "joined_at"),
)

Progress = Callable[[int], None]


class Batch(NamedTuple):
    """Rows that go in together: which, what counts them without a gap, from where, and the end."""

    which: ColumnElement[bool]
    nth: ColumnElement[Any]
    first: int
    end: int


class _Order:
    """What is known of the people of a file while it is read."""

    people = 0
    is_by_row = True
    latest = ""

    def take(self, joined_at: str) -> int:
        """How many people there are with this one, who joined at that time."""
        self.people += 1
        self.is_by_row = self.is_by_row and self.latest <= joined_at
        self.latest = joined_at
        return self.people


def stage(run: Import, path: Path, progress: Progress) -> None:
    """Read the file into `import_rows`, from the start; a refused file leaves nothing."""
    discard_all(run)
    try:
        run.in_order = _stage(run, path, progress)
        db.session.commit()
    except FileRefused:
        db.session.rollback()
        discard_all(run)
        db.session.delete(run)
        db.session.commit()
        raise
    refresh_statistics()


def put_in_order(run: Import) -> None:
    """Have the file's people stand by joined_at, then row, if they don't already."""
    if not run.in_order:
        placed = 0
        for numbers in _by_joining(run):
            _place(run, numbers, placed)
            placed += len(numbers)
        refresh_statistics()


def next_batch(run: Import, after: int) -> Batch | None:
    """The first rows that aren't in the line yet, of those past `after`; None when all are."""
    by: Any = ImportRow.number if run.in_order else ImportRow.place
    nth: Any = ImportRow.nth if run.in_order else ImportRow.place
    first = select(by, nth).where(is_staged(run), by > after).order_by(by).limit(1)
    with reading():
        found = db.session.execute(first).first()
    if found is None:
        return None
    end = found[0] + BATCH - 1
    return Batch(and_(is_staged(run), by.between(found[0], end)), nth, found[1], end)


def is_staged(run: Import) -> ColumnElement[bool]:
    """Which rows are still to be let in."""
    return and_(ImportRow.import_id == run.id, ImportRow.outcome == "staged")


def reject(run: Import, numbers: Iterable[int], reason: str) -> None:
    """Give these rows of the run to the rejected, in the caller's transaction."""
    db.session.execute(
        update(ImportRow)
        .where(ImportRow.import_id == run.id, ImportRow.number.in_(rows.ids(numbers)))
        .values(outcome="rejected", reason=reason)
        .execution_options(synchronize_session=False)
    )


def count(run: Import, *where: ColumnElement[bool]) -> int:
    """How many rows of the run are so."""
    query = select(func.count()).select_from(ImportRow).where(ImportRow.import_id == run.id, *where)
    return db.session.scalar(query) or 0


def discard(which: ColumnElement[bool]) -> None:
    """Remove these rows, in the caller's transaction."""
    db.session.execute(delete(ImportRow).where(which).execution_options(synchronize_session=False))


def discard_all(run: Import) -> None:
    """Remove all rows of the run, a batch a transaction."""
    mine = ImportRow.import_id == run.id
    while (first := db.session.scalar(select(func.min(ImportRow.number)).where(mine))) is not None:
        discard(and_(mine, ImportRow.number < first + BATCH))
        db.session.commit()
    db.session.rollback()


def refresh_statistics(table: str = "import_rows") -> None:
    """Let PostgreSQL's planner see what was just written; else it walks the table row by row."""
    if db.engine.dialect.name == "postgresql":
        db.session.execute(text(f"ANALYZE {table}"))
        db.session.commit()


def _stage(run: Import, path: Path, progress: Progress) -> bool:
    """Whether the people of the file, who are staged now, are in the order of their joining."""
    order, done = _Order(), 0
    for batch in reader.batches(path, BATCH):
        rows.store(ImportRow.__table__, COLUMNS, list(_values(run, batch, order)))
        db.session.commit()
        done += len(batch)
        progress(done)
    if not done:
        raise FileRefused(f"{path.name} names columns, but holds no people")
    return order.is_by_row


def _values(run: Import, batch: Sequence[reader.Read], order: _Order) -> Iterator[rows.Row]:
    """The rows as SQL takes them, in the order of `COLUMNS`."""
    run_id = run.id  # read once: the ORM looks at every reading
    zone = "+00" if db.engine.dialect.name == "postgresql" else ""
    for row, nonce in zip(batch, new_nonces(len(batch)), strict=True):
        number, reason, address, key, mail_to, name, locale, at, attributes = row
        outcome, nth = ("rejected", None) if reason else ("staged", order.take(at))
        joined_at = at + zone if at else None
        yield (
            *(run_id, number, outcome, reason[:200], False, nth, nonce, address),
            *(key, mail_to, name, locale, json.dumps(attributes), joined_at),
        )


def _by_joining(run: Import) -> Iterator[Sequence[int]]:
    """The numbers of the file's people by joined_at, then row; read while they are placed."""
    order = ImportRow.joined_at.asc().nulls_first(), ImportRow.number
    numbers = select(ImportRow.number).where(is_staged(run)).order_by(*order)
    with db.engine.connect() as connection:
        with reading():
            connection.begin()
        found = connection.execute(numbers.execution_options(yield_per=BATCH))
        yield from found.scalars().partitions()


def _place(run: Import, numbers: Sequence[int], placed: int) -> None:
    places = ((number, place) for place, number in enumerate(numbers, start=placed + 1))
    given = rows.given(places, number=BigInteger(), place=Integer())
    db.session.execute(
        update(ImportRow)
        .where(ImportRow.import_id == run.id, ImportRow.number == given.c.number)
        .values(place=given.c.place)
        .execution_options(synchronize_session=False)
    )
    db.session.commit()
