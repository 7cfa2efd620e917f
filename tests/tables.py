"""Looking at everything that is stored: all tables, all of Redis, and the line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis
from sqlalchemy import event, insert, select, update

from waitlist import extensions
from waitlist.extensions import db
from waitlist.members import entry_id
from waitlist.models import Cohort, Entry, Experience, Gate, Health, MailPace, NoShows

Snapshot = dict[str, list[tuple[Any, ...]]]


def everything() -> Snapshot:
    """All rows of all tables, in order; no lock is kept."""
    db.session.rollback()
    found = {
        table.name: [tuple(row) for row in db.session.execute(table.select())]
        for table in db.metadata.sorted_tables
    }
    db.session.rollback()
    return {name: sorted(rows, key=repr) for name, rows in found.items()}


def all_keys() -> dict[bytes, bytes | None]:
    """Everything that Redis keeps, key by key; not what passes by itself."""
    client = extensions.redis_for_rq()
    keys = [key for key in client.scan_iter() if client.ttl(key) == -1]
    return {key: client.dump(key) for key in sorted(keys)}


def line_in_redis(redis: Redis, cohort: str = "general") -> list[tuple[int, int]]:
    """Entry ids and ranks as the sorted set has them, front first."""
    found: Any = redis.zrange(f"{{waitlist:{cohort}}}:line", 0, -1, withscores=True)
    return [(entry_id(member), int(score)) for member, score in found]


def line_in_sql(cohort_id: int = 1) -> list[tuple[int, int]]:
    """Entry ids and ranks of those who wait and can be mailed, in order."""
    db.session.rollback()
    waiting = Entry.state == "waiting", Entry.suppressed_at.is_(None)
    query = select(Entry.id, Entry.rank).where(Entry.cohort_id == cohort_id, *waiting)
    found = db.session.execute(query.order_by(Entry.rank, Entry.id)).all()
    db.session.rollback()
    return [(entry_id, rank) for entry_id, rank in found]


class Work:
    """How much work the database was asked for."""

    statements = 0
    commits = 0


@contextmanager
def counting() -> Iterator[Work]:
    """Counts the statements and commits of everybody inside."""
    work = Work()

    def statement(*_args: object) -> None:
        work.statements += 1

    def commit(*_args: object) -> None:
        work.commits += 1

    event.listen(db.engine, "before_cursor_execute", statement)
    event.listen(db.engine, "commit", commit)
    try:
        yield work
    finally:
        event.remove(db.engine, "before_cursor_execute", statement)
        event.remove(db.engine, "commit", commit)


KEPT = ("arrival_counter", "alembic_version")
SINGLE = (Gate, MailPace, Health, NoShows, Experience)  # tables of one row


def empty(*, keep_cohorts: bool = False) -> None:
    """Take away everybody and all that happened; the gate is as new, closed and without seats."""
    db.session.rollback()
    kept = {*KEPT, "cohorts"} if keep_cohorts else set(KEPT)
    for table in reversed(db.metadata.sorted_tables):
        if table.name not in kept:
            db.session.execute(table.delete())
    for model in SINGLE:
        db.session.execute(insert(model.__table__).values(id=1))
    db.session.execute(update(Cohort).values(seats_used=0, credit=0.0, line_epoch=None))
    db.session.commit()
