"""Importing people who registered elsewhere: read whole, then ordered, then let in the line.

Rows are staged first, so nobody of a half-read file is in the line, and an import that
was interrupted goes on where it was when the same file comes again.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    and_,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from waitlist import arrivals, audit, cohorts, projection
from waitlist.errors import FileRefused, ValueRefused
from waitlist.extensions import db, insert_unless_known, reading
from waitlist.failpoints import failpoint
from waitlist.models import Entry, Import, ImportRow, LineChange, PlaceChange
from waitlist.signup import people_file

BATCH = 5_000
UNTOUCHABLE = ("withdrawn", "removed")
UNCONFIRMED = ("pending", "unconfirmed")
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Summary:
    """What became of a file's rows. `upgraded` of the duplicates were only pending before."""

    import_id: int | None
    rows: int
    accepted: int
    duplicate: int
    rejected: int
    upgraded: int
    rejects_file: str | None

    def as_json(self) -> dict[str, Any]:
        """The summary as JSON."""
        return asdict(self)


def import_people(
    path: Path,
    *,
    cohort: str,
    actor: str,
    now: datetime,
    dry_run: bool = False,
    progress: Progress = lambda _rows: None,
) -> Summary:
    """Take a file's people into a cohort's line; a summary, with the rejects in a file beside.

    `FileRefused` or `CohortUnknown`: nothing was imported.
    """
    run = _begin(path, cohort, now=now)
    if run.state == "reading":
        _stage(run, path, progress)
        _sort_out(run)
    rejects = _write_rejects(run, path)
    if dry_run:
        return _discard(run, rejects)
    if run.state == "sorted":
        _number(run)
    _enter(run, now=now, progress=progress)
    return _finish(run, rejects, actor=actor, now=now)


def undo(import_id: int, *, actor: str, reason: str = "", now: datetime) -> int:
    """Take back those of an import who still wait; how many. `ValueRefused` if there is none."""
    run = db.session.get(Import, import_id)
    if run is None or run.state != "done":
        raise ValueRefused(f"there is no finished import {import_id}")
    waiting = and_(Entry.import_id == import_id, Entry.state == "waiting")
    ids = db.session.execute(select(Entry.id, Entry.cohort_id).where(waiting)).all()
    for entry_id, cohort_id in ids:
        projection.note(cohort_id, [entry_id])
    db.session.execute(
        delete(PlaceChange).where(PlaceChange.entry_id.in_(select(Entry.id).where(waiting)))
    )
    db.session.execute(delete(Entry).where(waiting).execution_options(synchronize_session=False))
    run.state = "undone"
    after = {"taken_back": len(ids)}
    audit.record(
        "import.undo", f"import:{run.id}", actor=actor, now=now, after=after, reason=reason
    )
    db.session.commit()
    projection.settle(*{cohort_id for _, cohort_id in ids})
    return len(ids)


def _begin(path: Path, cohort: str, *, now: datetime) -> Import:
    """The import of this very file that was interrupted, or a new one."""
    digest = people_file.digest(path)
    cohort_id = cohorts.find(cohort).id
    run = db.session.scalars(
        select(Import).where(
            Import.digest == digest,
            Import.cohort_id == cohort_id,
            Import.state.in_(("reading", "sorted", "entering")),
        )
    ).first()
    if run is None:
        run = Import(digest=digest, filename=path.name[-255:], cohort_id=cohort_id, created_at=now)
        db.session.add(run)
    db.session.commit()
    return run


def _stage(run: Import, path: Path, progress: Progress) -> None:
    """Read the file into `import_rows`, from the start; a refused file leaves nothing."""
    db.session.execute(delete(ImportRow).where(ImportRow.import_id == run.id))
    db.session.commit()
    try:
        count = 0
        for batch in _batches(people_file.rows(path), BATCH):
            db.session.execute(insert(ImportRow), [_staged(run.id, row) for row in batch])
            db.session.commit()
            count += len(batch)
            progress(count)
        if not count:
            raise FileRefused(f"{path.name} names columns, but holds no people")
    except FileRefused:
        db.session.rollback()
        db.session.execute(delete(ImportRow).where(ImportRow.import_id == run.id))
        db.session.delete(run)
        db.session.commit()
        raise


def _staged(import_id: int, row: people_file.Row) -> dict[str, Any]:
    rejected = bool(row.reason)
    return {
        "import_id": import_id,
        "number": row.number,
        "outcome": "rejected" if rejected else "staged",
        "reason": row.reason[:200],
        "address": row.address.typed,
        "address_key": row.address.key,
        "mail_to": row.address.mail_to,
        "name": row.name,
        "locale": row.locale,
        "joined_at": row.joined_at,
        "attributes": row.cells if rejected else row.attributes,
    }


def _sort_out(run: Import) -> None:
    """Tell duplicates, upgrades and people who left from those who are new; one transaction."""
    _mark_repeats(run)
    _mark_known(
        run, Entry.state.in_(UNTOUCHABLE), outcome="rejected", reason="left the line before"
    )
    _mark_known(run, Entry.state.in_(UNCONFIRMED), outcome="duplicate", upgraded=True)
    _mark_known(run, literal(True), outcome="duplicate")
    run.state = "sorted"
    db.session.commit()


def _mark_repeats(run: Import) -> None:
    """Of rows with one address the earliest stands; the others are duplicates."""
    nth = func.row_number().over(
        partition_by=ImportRow.address_key,
        order_by=(ImportRow.joined_at.asc().nulls_first(), ImportRow.number),
    )
    numbered = select(ImportRow.number, nth.label("nth")).where(_staged_of(run)).subquery()
    repeats = select(numbered.c.number).where(numbered.c.nth > 1)
    _update_rows(
        run, ImportRow.number.in_(repeats), outcome="duplicate", reason="again in this file"
    )


def _mark_known(run: Import, state: ColumnElement[bool], **values: Any) -> None:
    known = select(Entry.id).where(Entry.address_key == ImportRow.address_key, state).exists()
    _update_rows(run, and_(ImportRow.outcome == "staged", known), **values)


def _update_rows(run: Import, where: ColumnElement[bool], **values: Any) -> None:
    db.session.execute(
        update(ImportRow)
        .where(ImportRow.import_id == run.id, where)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def _number(run: Import) -> None:
    """Order the new people by joined_at, then row, and take consecutive arrivals for them."""
    order = (ImportRow.joined_at.asc().nulls_first(), ImportRow.number)
    nth = func.row_number().over(order_by=order).label("nth")
    numbered = select(ImportRow.number, nth).where(_staged_of(run)).subquery()
    db.session.execute(
        update(ImportRow)
        .where(ImportRow.import_id == run.id, ImportRow.number == numbered.c.number)
        .values(place=numbered.c.nth)
        .execution_options(synchronize_session=False)
    )
    people = _count(run, ImportRow.place.is_not(None))
    run.first_arrival = arrivals.next_arrivals(people) if people else None
    run.state = "entering"
    db.session.commit()


def _enter(run: Import, *, now: datetime, progress: Progress) -> None:
    """Let the staged people in, and upgrade the pending ones, a batch a transaction."""
    while (start := _next_place(run)) is not None:
        batch = and_(_staged_of(run), ImportRow.place.between(start, start + BATCH - 1))
        _insert_people(run, batch, now=now)
        failpoint("import.before-commit")
        db.session.commit()
        projection.settle(run.cohort_id)
        progress(start + BATCH)
    _upgrade(run, now=now)
    projection.settle(run.cohort_id)


def _insert_people(run: Import, batch: ColumnElement[bool], *, now: datetime) -> None:
    arrival = literal(run.first_arrival) + ImportRow.place - 1
    person: dict[str, Any] = {
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
        "joined_at": func.coalesce(ImportRow.joined_at, literal(now, ImportRow.joined_at.type)),
        "confirmed_at": literal(now, ImportRow.joined_at.type),
        "renewals": literal(0),
    }
    rows = select(*person.values()).where(batch).order_by(ImportRow.place)
    db.session.execute(
        insert_unless_known(Entry, Entry.address_key).from_select(
            list(person), rows, include_defaults=False
        )
    )
    mine = and_(Entry.address_key == ImportRow.address_key, Entry.import_id == run.id)
    entered = select(literal(run.cohort_id), Entry.id).join(ImportRow, mine).where(batch)
    db.session.execute(insert(LineChange).from_select(["cohort_id", "entry_id"], entered))
    accepted = and_(batch, select(Entry.id).where(mine).exists())
    _update_rows(run, accepted, outcome="accepted", attributes={})
    _update_rows(run, batch, outcome="duplicate")  # joined by themselves meanwhile


def _upgrade(run: Import, *, now: datetime) -> None:
    """People who were only pending are confirmed and moved here; they keep their arrival."""
    keys = select(ImportRow.address_key).where(
        ImportRow.import_id == run.id, ImportRow.upgraded.is_(True)
    )
    upgraded = db.session.scalars(
        update(Entry)
        .where(Entry.address_key.in_(keys), Entry.state.in_(UNCONFIRMED))
        .values(state="waiting", cohort_id=run.cohort_id, confirmed_at=now, import_id=run.id)
        .returning(Entry.id)
        .execution_options(synchronize_session=False)
    ).all()
    projection.note(run.cohort_id, upgraded)
    db.session.commit()


def _finish(run: Import, rejects: str | None, *, actor: str, now: datetime) -> Summary:
    summary = _summary(run, rejects)
    run.rows, run.accepted, run.duplicate = summary.rows, summary.accepted, summary.duplicate
    run.rejected, run.upgraded = summary.rejected, summary.upgraded
    run.state, run.done_at = "done", now
    db.session.execute(delete(ImportRow).where(ImportRow.import_id == run.id))
    after = {key: value for key, value in summary.as_json().items() if key != "rejects_file"}
    audit.record("import", f"import:{run.id}", actor=actor, now=now, after=after)
    db.session.commit()
    return summary


def _discard(run: Import, rejects: str | None) -> Summary:
    accepted = and_(ImportRow.import_id == run.id, ImportRow.outcome == "staged")
    _update_rows(run, accepted, outcome="accepted")
    summary = _summary(run, rejects)
    db.session.execute(delete(ImportRow).where(ImportRow.import_id == run.id))
    db.session.delete(run)
    db.session.commit()
    return Summary(**{**summary.as_json(), "import_id": None})


def _summary(run: Import, rejects: str | None) -> Summary:
    return Summary(
        import_id=run.id,
        rows=_count(run, literal(True)),
        accepted=_count(run, ImportRow.outcome == "accepted"),
        duplicate=_count(run, ImportRow.outcome == "duplicate"),
        rejected=_count(run, ImportRow.outcome == "rejected"),
        upgraded=_count(run, ImportRow.upgraded.is_(True)),
        rejects_file=rejects,
    )


def _count(run: Import, where: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(ImportRow).where(ImportRow.import_id == run.id, where)
    return db.session.scalar(query) or 0


def _next_place(run: Import) -> int | None:
    return db.session.scalar(select(func.min(ImportRow.place)).where(_staged_of(run)))


def _staged_of(run: Import) -> ColumnElement[bool]:
    return and_(ImportRow.import_id == run.id, ImportRow.outcome == "staged")


def _write_rejects(run: Import, path: Path) -> str | None:
    """The rejected rows with row number and reason, beside the file; else in this folder."""
    if not _count(run, ImportRow.outcome == "rejected"):
        return None
    for folder in (path.parent, Path.cwd()):
        target = folder / f"{path.stem}.rejects.csv"
        if os.access(folder, os.W_OK):
            with target.open("w", encoding="utf-8", newline="") as file:
                _write_rows(run, csv.writer(file))
            return str(target)
    raise FileRefused(f"the rejected rows can't be written to {path.parent} or here")


def _write_rows(run: Import, writer: Any) -> None:
    with reading():
        found = db.session.execute(
            select(ImportRow.number, ImportRow.reason, ImportRow.address, ImportRow.attributes)
            .where(ImportRow.import_id == run.id, ImportRow.outcome == "rejected")
            .order_by(ImportRow.number)
        ).all()
    columns = list(dict.fromkeys(name for row in found for name in row.attributes))
    writer.writerow(["row", "reason", *columns])
    for number, reason, address, cells in found:
        cells = cells or {"address": address}
        writer.writerow([number, reason, *(_defused(cells.get(name, "")) for name in columns)])


def _defused(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    return f"'{cell}" if cell.startswith(FORMULA_SIGNS) else cell


def _batches(rows: Iterable[people_file.Row], size: int) -> Iterator[list[people_file.Row]]:
    found = iter(rows)
    while batch := list(islice(found, size)):
        yield batch
