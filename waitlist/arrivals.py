"""The arrival sequence: who came when, as integers, never as timestamps."""

from __future__ import annotations

from sqlalchemy import Connection, text

from waitlist.extensions import db

COUNT_ON = "UPDATE arrival_counter SET value = value + ? RETURNING value"
LOCK_NAME = 7_001  # of PostgreSQL's advisory lock between single arrivals and whole files


def next_arrival() -> int:
    """A number greater than any given before."""
    return of_each(1, db.session.connection())[0]


def of_each(how_many: int, connection: Connection) -> list[int]:
    """As many numbers, rising, each greater than any given to a transaction that is done.

    On PostgreSQL those who arrive don't wait for one another: a sequence, whose gaps harm
    nobody.
    """
    if connection.dialect.name == "sqlite":
        last = _count_on(how_many, connection)
        return list(range(last - how_many + 1, last + 1))
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock_shared({LOCK_NAME})")
    numbers = "SELECT nextval('arrival_seq') FROM generate_series(1, %(how_many)s)"
    found = connection.exec_driver_sql(numbers, {"how_many": how_many})
    return [int(number) for number in found.scalars()]


def next_block(how_many: int) -> int:
    """The first of so many consecutive numbers, all greater than any given before.

    On PostgreSQL the block waits until the arrivals under way are committed.
    """
    if db.engine.dialect.name == "sqlite":
        return _count_on(how_many, db.session.connection()) - how_many + 1
    db.session.execute(text(f"SELECT pg_advisory_xact_lock({LOCK_NAME})"))
    block = text("SELECT setval('arrival_seq', nextval('arrival_seq') + :more)")
    return int(db.session.scalar(block, {"more": how_many - 1})) - how_many + 1


def _count_on(how_many: int, connection: Connection) -> int:
    """The last of so many numbers on SQLite, whose write lock the caller has."""
    return int(connection.exec_driver_sql(COUNT_ON, (how_many,)).scalar_one())
