"""Importing people who registered elsewhere: read whole, then ordered, then let in the line.

Rows are staged first, so nobody of a half-read file is in the line, and an import that
was interrupted goes on where it was when the same file comes again.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, insert, literal, select, update

from waitlist import audit, cohorts, projection, seats
from waitlist.errors import FileRefused, ValueRefused
from waitlist.extensions import db, insert_unless_known, rows_changed, settings
from waitlist.failpoints import failpoint
from waitlist.models import Entry, Import, ImportRow, Invitation, LineChange, PlaceChange
from waitlist.signup import people_file, rejects, staging
from waitlist.signup.staging import Progress

BATCH = 5_000
BATCHES_A_LOOK = 10  # batches between two looks of the planner at its statistics


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
    with _alone():
        return _import(path, cohort, dry_run, progress, actor=actor, now=now)


def _import(
    path: Path, cohort: str, dry_run: bool, progress: Progress, *, actor: str, now: datetime
) -> Summary:
    run = _begin(path, cohort, now=now, resume=not dry_run)
    if run.state == "reading":
        staging.stage(run, path, progress)
        staging.sort_out(run)
    rejects_file = rejects.write(run, path)
    if dry_run:
        return _give_up(run, rejects_file)
    if run.state == "sorted":
        staging.number(run)
    _enter(run, now=now, progress=progress)
    return _finish(run, rejects_file, actor=actor, now=now)


def undo(import_id: int, *, actor: str, reason: str = "", now: datetime) -> int:
    """Take back those of an import who still wait and never were invited; how many.

    `ValueRefused` if there is no such import.
    """
    seats.lock()  # so that it never waits for a wave that waits for it
    run = db.session.get(Import, import_id)
    if run is None or run.state != "done":
        db.session.rollback()
        raise ValueRefused(f"there is no finished import {import_id}")
    invited = select(Invitation.id).where(Invitation.entry_id == Entry.id).exists()
    theirs = and_(Entry.import_id == import_id, Entry.state == "waiting", ~invited)
    cohort_ids = db.session.scalars(select(Entry.cohort_id).where(theirs).distinct()).all()
    notes = select(Entry.cohort_id, Entry.id).where(theirs)
    db.session.execute(insert(LineChange).from_select(["cohort_id", "entry_id"], notes))
    db.session.execute(
        delete(PlaceChange).where(PlaceChange.entry_id.in_(select(Entry.id).where(theirs)))
    )
    taken = rows_changed(delete(Entry).where(theirs).execution_options(synchronize_session=False))
    run.state = "undone"
    after = {"taken_back": taken}
    audit.record(
        "import.undo", f"import:{run.id}", actor=actor, now=now, after=after, reason=reason
    )
    db.session.commit()
    projection.settle(*cohort_ids)
    return taken


@contextmanager
def _alone() -> Iterator[None]:
    """Hold this host's import lock: a second import would take the first for interrupted."""
    folder = settings().instance
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "import.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FileRefused("another import is running here: wait until it is done") from error
        yield


def _begin(path: Path, cohort: str, *, now: datetime, resume: bool) -> Import:
    """The import of this very file that was interrupted, or a new one."""
    digest = people_file.digest(path)
    cohort_id = cohorts.find(cohort).id
    interrupted = select(Import).where(
        Import.digest == digest,
        Import.cohort_id == cohort_id,
        Import.state.in_(("reading", "sorted", "entering")),
    )
    run = db.session.scalars(interrupted).first() if resume else None
    if run is None:
        run = Import(digest=digest, filename=path.name[-255:], cohort_id=cohort_id, created_at=now)
        db.session.add(run)
    db.session.commit()
    return run


def _enter(run: Import, *, now: datetime, progress: Progress) -> None:
    """Let the staged people in, and upgrade the pending ones, a batch a transaction."""
    while (start := staging.next_place(run)) is not None:
        batch = and_(staging.is_staged(run), ImportRow.place.between(start, start + BATCH - 1))
        _insert_people(run, batch, now=now)
        if start // BATCH % BATCHES_A_LOOK == 0:
            staging.refresh_statistics("entries")
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
    entered = db.session.scalars(
        insert_unless_known(Entry, Entry.address_key)
        .from_select(list(person), rows, include_defaults=False)
        .returning(Entry.id)
    ).all()
    projection.note(run.cohort_id, entered)
    _settle_outcomes(run, batch, len(entered))


def _settle_outcomes(run: Import, batch: ColumnElement[bool], entered: int) -> None:
    """Count and unstage who of a batch came in; the rest joined by themselves meanwhile.

    Rows that came in are taken away at once: else each would be marked first, too.
    """
    if entered < staging.count(run, batch):
        mine = and_(Entry.address_key == ImportRow.address_key, Entry.import_id == run.id)
        known = ~select(Entry.id).where(mine).exists()
        staging.change(run, and_(batch, known), outcome="duplicate")
    staging.discard(run, batch)
    run.accepted += entered


def _upgrade(run: Import, *, now: datetime) -> None:
    """People who were only pending are confirmed and moved here; they keep their arrival."""
    keys = select(ImportRow.address_key).where(
        ImportRow.import_id == run.id, ImportRow.upgraded.is_(True)
    )
    upgraded = db.session.scalars(
        update(Entry)
        .where(Entry.address_key.in_(keys), Entry.state.in_(staging.UNCONFIRMED))
        .values(state="waiting", cohort_id=run.cohort_id, confirmed_at=now)
        .returning(Entry.id)
        .execution_options(synchronize_session=False)
    ).all()
    why = f"confirmed by import {run.id}"
    db.session.add_all(PlaceChange(entry_id=i, at=now, reason=why) for i in upgraded)
    projection.note(run.cohort_id, upgraded)
    db.session.commit()


def _finish(run: Import, rejects_file: str | None, *, actor: str, now: datetime) -> Summary:
    summary = _summary(run, rejects_file)
    counts = {
        key: value
        for key, value in summary.as_json().items()
        if key not in ("import_id", "rejects_file")
    }
    for key, value in counts.items():
        setattr(run, key, value)
    run.state, run.done_at = "done", now
    staging.discard(run)
    audit.record("import", f"import:{run.id}", actor=actor, now=now, after=counts)
    db.session.commit()
    return summary


def _give_up(run: Import, rejects_file: str | None) -> Summary:
    """The end of a dry run: what would have been accepted, and nothing left of it."""
    staging.change(run, staging.is_staged(run), outcome="accepted")
    summary = _summary(run, rejects_file)
    staging.discard(run)
    db.session.delete(run)
    db.session.commit()
    return replace(summary, import_id=None)


def _summary(run: Import, rejects_file: str | None) -> Summary:
    return Summary(
        import_id=run.id,
        rows=staging.count(run, literal(True)) + run.accepted,
        accepted=staging.count(run, ImportRow.outcome == "accepted") + run.accepted,
        duplicate=staging.count(run, ImportRow.outcome == "duplicate"),
        rejected=staging.count(run, ImportRow.outcome == "rejected"),
        upgraded=staging.count(run, ImportRow.upgraded.is_(True)),
        rejects_file=rejects_file,
    )
