"""A file's rows in SQL, from reading to their order: staged, then told apart, then numbered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, insert, literal, select, text, update

from waitlist import arrivals
from waitlist.errors import FileRefused
from waitlist.extensions import db
from waitlist.models import Entry, Import, ImportRow
from waitlist.models.base import new_nonces
from waitlist.signup import people_file

BATCH = 5_000
UNTOUCHABLE = ("withdrawn", "removed")
UNCONFIRMED = ("pending", "unconfirmed")

Progress = Callable[[int], None]


def stage(run: Import, path: Path, progress: Progress) -> None:
    """Read the file into `import_rows`, from the start; a refused file leaves nothing."""
    discard(run)
    db.session.commit()
    count = 0
    try:
        for batch in _batches(people_file.rows(path)):
            _store(run, batch)
            db.session.commit()
            count += len(batch)
            progress(count)
        if not count:
            raise FileRefused(f"{path.name} names columns, but holds no people")
        refresh_statistics("import_rows")
    except FileRefused:
        db.session.rollback()
        discard(run)
        db.session.delete(run)
        db.session.commit()
        raise


def sort_out(run: Import) -> None:
    """Tell duplicates, upgrades and people who left from those who are new; one transaction."""
    _mark_repeats(run)
    _mark_known(
        run, Entry.state.in_(UNTOUCHABLE), outcome="rejected", reason="left the line before"
    )
    _mark_known(run, Entry.state.in_(UNCONFIRMED), outcome="duplicate", upgraded=True)
    _mark_known(run, literal(True), outcome="duplicate")
    run.state = "sorted"
    db.session.commit()


def number(run: Import) -> None:
    """Order the new people by joined_at, then row, and take consecutive arrivals for them."""
    nth = func.row_number().over(order_by=_file_order()).label("nth")
    numbered = select(ImportRow.number, nth).where(is_staged(run)).subquery()
    db.session.execute(
        update(ImportRow)
        .where(ImportRow.import_id == run.id, ImportRow.number == numbered.c.number)
        .values(place=numbered.c.nth)
        .execution_options(synchronize_session=False)
    )
    refresh_statistics("import_rows")
    people = count(run, ImportRow.place.is_not(None))
    run.first_arrival = arrivals.next_block(people) if people else None
    run.state = "entering"
    db.session.commit()


def next_place(run: Import) -> int | None:
    """The place of the first who isn't in the line yet; None when all are."""
    return db.session.scalar(select(func.min(ImportRow.place)).where(is_staged(run)))


def is_staged(run: Import) -> ColumnElement[bool]:
    """Which rows are still to be let in."""
    return and_(ImportRow.import_id == run.id, ImportRow.outcome == "staged")


def change(run: Import, where: ColumnElement[bool], **values: Any) -> None:
    """Give these rows of the run an outcome, in the caller's transaction."""
    db.session.execute(
        update(ImportRow)
        .where(ImportRow.import_id == run.id, where)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def count(run: Import, where: ColumnElement[bool]) -> int:
    """How many rows of the run are so."""
    query = select(func.count()).select_from(ImportRow).where(ImportRow.import_id == run.id, where)
    return db.session.scalar(query) or 0


def refresh_statistics(table: str) -> None:
    """Let PostgreSQL's planner see what was just written; else it walks the table row by row."""
    if db.engine.dialect.name == "postgresql":
        db.session.execute(text(f"ANALYZE {table}"))


def discard(run: Import, which: ColumnElement[bool] | None = None) -> None:
    """Remove these rows of the run, or all, in the caller's transaction."""
    db.session.execute(
        delete(ImportRow)
        .where(ImportRow.import_id == run.id, literal(True) if which is None else which)
        .execution_options(synchronize_session=False)
    )


def _store(run: Import, batch: list[people_file.Row]) -> None:
    """Stage these rows: past the ORM, which would look at every value of every row."""
    nonces = new_nonces(len(batch))
    rows = [_values(run.id, row, nonce) for row, nonce in zip(batch, nonces, strict=True)]
    db.session.connection().execute(insert(ImportRow.__table__), rows)


def _values(import_id: int, row: people_file.Row, nonce: str) -> dict[str, Any]:
    return {
        "import_id": import_id,
        "nonce": nonce,
        "upgraded": False,
        "number": row.number,
        "outcome": "rejected" if row.reason else "staged",
        "reason": row.reason[:200],
        "address": row.address.typed,
        "address_key": row.address.key,
        "mail_to": row.address.mail_to,
        "name": row.name,
        "locale": row.locale,
        "joined_at": row.joined_at,
        "attributes": row.attributes,
    }


def _mark_repeats(run: Import) -> None:
    """Of rows with one address the earliest stands; the others are duplicates."""
    nth = func.row_number().over(partition_by=ImportRow.address_key, order_by=_file_order())
    numbered = select(ImportRow.number, nth.label("nth")).where(is_staged(run)).subquery()
    repeats = select(numbered.c.number).where(numbered.c.nth > 1)
    change(run, ImportRow.number.in_(repeats), outcome="duplicate", reason="again in this file")


def _mark_known(run: Import, state: ColumnElement[bool], **values: Any) -> None:
    known = select(Entry.id).where(Entry.address_key == ImportRow.address_key, state).exists()
    change(run, and_(ImportRow.outcome == "staged", known), **values)


def _file_order() -> tuple[ColumnElement[Any], ...]:
    return ImportRow.joined_at.asc().nulls_first(), ImportRow.number.asc()


def _batches(rows: Iterable[people_file.Row]) -> Iterator[list[people_file.Row]]:
    found = iter(rows)
    while batch := list(islice(found, BATCH)):
        yield batch
