"""Filling a line of any length by SQL alone, a block of people a statement."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Engine, text

BLOCK = 100_000
OPEN = text("UPDATE gate SET capacity = 2000000000, paused = :no")
COUNTED = {
    "sqlite": text("UPDATE arrival_counter SET value = :people"),
    "postgresql": text("SELECT setval('arrival_seq', :people)"),
}
ENTERED = {
    "sqlite": text("""
        INSERT INTO entries (state, cohort_id, address, address_key, mail_to, name, locale,
          attributes, nonce, arrival, rank, joined_at, confirmed_at, renewals)
        WITH RECURSIVE one(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM one WHERE n < :last)
        SELECT 'waiting', 1, 'person' || n || '@bench.example', 'person' || n || '@bench.example',
          'person' || n || '@bench.example', '', 'en', '{}', lower(hex(randomblob(8))), n, n,
          :now, :now, 0
        FROM one"""),
    "postgresql": text("""
        INSERT INTO entries (state, cohort_id, address, address_key, mail_to, name, locale,
          attributes, nonce, arrival, rank, joined_at, confirmed_at, renewals)
        SELECT 'waiting', 1, 'person' || n || '@bench.example', 'person' || n || '@bench.example',
          'person' || n || '@bench.example', '', 'en', '{}', substr(md5(random()::text), 1, 16),
          n, n, :now, :now, 0
        FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS one(n)"""),
}
MAY_LEAVE = text("""
    INSERT INTO messages (kind, priority, entry_id, nonce, state, reason, attempts, created_at,
      due_at, lease, sent_at, expires_at)
    SELECT 'act', 4, id, nonce, 'sent', '', 0, :now, :now, 1, :now, :later
    FROM entries WHERE state = 'waiting' ORDER BY rank DESC LIMIT :people""")


def fill(engine: Engine, people: int) -> None:
    """So many people who wait in the first line, front first, and an open gate with seats."""
    dialect, now = engine.dialect.name, datetime.now(UTC).replace(tzinfo=None)
    for first in range(1, people + 1, BLOCK):
        last = min(first + BLOCK - 1, people)
        with engine.begin() as connection:
            connection.execute(ENTERED[dialect], {"first": first, "last": last, "now": now})
    with engine.begin() as connection:
        connection.execute(COUNTED[dialect], {"people": people})
        connection.execute(OPEN, {"no": False})
        connection.execute(text("ANALYZE"))


def let_leave(engine: Engine, people: int) -> None:
    """The last so many of the line got their mail by which to leave."""
    now = datetime.now(UTC).replace(tzinfo=None)
    later = now.replace(year=now.year + 1)
    with engine.begin() as connection:
        connection.execute(MAY_LEAVE, {"now": now, "later": later, "people": people})
