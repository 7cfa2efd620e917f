"""Importing people who registered elsewhere: read whole, then ordered, then let in the line.

Rows are staged first, so nobody of a half-read file is in the line, and an import that
was interrupted goes on where it was when the same file comes again.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import and_, delete, insert, select

from waitlist import audit, cohorts, projection, seats
from waitlist.errors import FileRefused, ValueRefused
from waitlist.extensions import db, rows_changed, settings
from waitlist.models import Entry, Import, ImportRow, Invitation, LineChange, PlaceChange
from waitlist.signup import entering, people_file, rejects, sorting, staging
from waitlist.signup.staging import Progress

COUNTS = ("rows", "accepted", "duplicate", "rejected", "upgraded")  # of a summary


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
    if run.state != "entering":
        staging.stage(run, path, progress)
        sorting.reject_erased(run)
    if dry_run:
        return _give_up(run, path)
    if run.state != "entering":
        entering.line_up(run)
    rejects.write(run, path)  # where that can't be done, before anybody is let in
    entering.enter(run, now=now, progress=progress)
    return _finish(run, rejects.write(run, path), actor=actor, now=now)


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


def _finish(run: Import, rejects_file: str | None, *, actor: str, now: datetime) -> Summary:
    rejected = staging.count(run)
    summary = Summary(
        import_id=run.id,
        rows=run.accepted + run.duplicate + rejected,
        accepted=run.accepted,
        duplicate=run.duplicate,
        rejected=rejected,
        upgraded=run.upgraded,
        rejects_file=rejects_file,
    )
    run.rows, run.rejected = summary.rows, rejected
    run.state, run.done_at = "done", now
    staging.discard(ImportRow.import_id == run.id)
    counts = {key: value for key, value in summary.as_json().items() if key in COUNTS}
    audit.record("import", f"import:{run.id}", actor=actor, now=now, after=counts)
    db.session.commit()
    return summary


def _give_up(run: Import, path: Path) -> Summary:
    """The end of a dry run: what would become of the rows, and nothing left of it."""
    foreseen = sorting.foresee(run)
    rejected = staging.count(run, ImportRow.outcome == "rejected")
    db.session.commit()
    summary = Summary(
        import_id=None,
        rows=staging.count(run),
        rejected=rejected,
        rejects_file=rejects.write(run, path),
        **foreseen._asdict(),
    )
    staging.discard_all(run)
    db.session.delete(run)
    db.session.commit()
    return summary
