"""The arrival sequence: who came when, as integers, never as timestamps."""

from __future__ import annotations

from sqlalchemy import text, update

from waitlist.extensions import db
from waitlist.models import ArrivalCounter

LOCK_NAME = 7_001  # of PostgreSQL's advisory lock between single arrivals and whole files


def next_arrivals(how_many: int = 1) -> int:
    """The first of so many consecutive numbers, all greater than any given before.

    On PostgreSQL single arrivals don't wait for one another (a sequence, whose gaps harm
    nobody), and a file's block of numbers waits until those under way are committed.
    """
    if db.engine.dialect.name == "sqlite":
        last = db.session.scalar(
            update(ArrivalCounter)
            .values(value=ArrivalCounter.value + how_many)
            .returning(ArrivalCounter.value)
            .execution_options(synchronize_session=False)
        )
        assert last is not None
        return last - how_many + 1
    kind = "_shared" if how_many == 1 else ""
    db.session.execute(text(f"SELECT pg_advisory_xact_lock{kind}({LOCK_NAME})"))
    if how_many == 1:
        return int(db.session.scalar(text("SELECT nextval('arrival_seq')")))
    block = text("SELECT setval('arrival_seq', nextval('arrival_seq') + :more)")
    return int(db.session.scalar(block, {"more": how_many - 1})) - how_many + 1
