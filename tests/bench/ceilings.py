"""The ceilings: what the same machine does at best, without the service."""

from __future__ import annotations

import contextlib
import os
import smtplib
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from redis import Redis
from sqlalchemy import Connection, Engine, event, text

from tests.bench.programs import environment, running, wait_for
from workers.development.service import free_port

HELLO = "--interface wsgi --workers 2 --blocking-threads 4 --no-ws --log-level warning"
HASHER = PasswordHasher(memory_cost=19456, time_cost=2, parallelism=1)
BATCH = 1_000
BATCHES_A_PIPE = 10
FROM, TO = "line@bench.example", "person@bench.example"


@contextlib.contextmanager
def hello_world(folder: Path) -> Iterator[str]:
    """The URL of Flask's hello world, on the best settings of the server."""
    port, log = free_port(), folder / "hello.log"
    address = ["--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "granian", *HELLO.split(), *address, "tests.bench.hello:app"]
    with running(command, environment({}), log) as program:
        wait_for(lambda: _listens(port), program, log)
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def mail_sink(folder: Path) -> Iterator[int]:
    """The port of a mail server that takes everything; `first.eml` is the first that it took."""
    log = folder / "sink.log"
    command = [sys.executable, "-m", "tests.bench.sink", str(folder / "first.eml")]
    with running(command, environment({}), log) as program:
        wait_for(lambda: log.read_text().strip().isdecimal(), program, log)
        yield int(log.read_text())


def hashes(seconds: float) -> float:
    """Passwords hashed a second, a thread each core."""
    until = time.monotonic() + seconds

    def work(_core: int) -> int:
        count = 0
        while time.monotonic() < until:
            HASHER.hash("correct horse battery staple")
            count += 1
        return count

    cores = os.cpu_count() or 1
    began = time.monotonic()
    with ThreadPoolExecutor(cores) as pool:
        return sum(pool.map(work, range(cores))) / (time.monotonic() - began)


def zadd(redis: Redis, people: int) -> float:
    """Members a second into a sorted set from memory, through a pipeline."""
    began = time.monotonic()
    for start in range(1, people + 1, BATCH * BATCHES_A_PIPE):
        pipe = redis.pipeline(transaction=False)
        stop = min(start + BATCH * BATCHES_A_PIPE, people + 1)
        for first in range(start, stop, BATCH):
            pipe.zadd("bench", _members(first, min(first + BATCH, stop)))
        pipe.execute()
    took = time.monotonic() - began
    redis.unlink("bench")
    return people / took


def _members(first: int, stop: int) -> dict[Any, Any]:
    return {number: number for number in range(first, stop)}


def smtp(port: int, content: bytes, seconds: float) -> float:
    """Mails a second on one connection, of ready bytes."""
    count, began = 0, time.monotonic()
    with smtplib.SMTP("127.0.0.1", port) as host:
        while time.monotonic() < began + seconds:
            host.sendmail(FROM, [TO], content)
            count += 1
    return count / (time.monotonic() - began)


HEADS = text("SELECT id FROM entries WHERE state = 'waiting' ORDER BY cohort_id, rank LIMIT :most")
WAVE = text("""
    INSERT INTO waves (at, actor, reason, asked, admitted)
    VALUES (CURRENT_TIMESTAMP, 'bench', '', :people, :people) RETURNING id""")
INVITED = (
    text(
        "UPDATE entries SET state = 'invited' WHERE id BETWEEN :first AND :last"
        " AND state = 'waiting'"
    ),
    text("""
        INSERT INTO invitations (entry_id, wave_id, cohort_id, generation, nonce, state, created_at)
        SELECT id, :wave, cohort_id, 1, lower(hex(randomblob(8))), 'open', CURRENT_TIMESTAMP
        FROM entries WHERE id BETWEEN :first AND :last AND state = 'invited'"""),
    text("""
        INSERT INTO messages (kind, priority, entry_id, invitation_id, nonce, state, reason,
          attempts, created_at, due_at, lease)
        SELECT 'invitation', 0, entry_id, id, lower(hex(randomblob(8))), 'queued', '', 0,
          CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, 0
        FROM invitations WHERE wave_id = :wave AND entry_id BETWEEN :first AND :last"""),
    text("""
        INSERT INTO line_changes (cohort_id, entry_id)
        SELECT cohort_id, id FROM entries WHERE id BETWEEN :first AND :last"""),
)


def bare_wave(engine: Engine, people: int) -> float:
    """People a second of a wave by four statements a batch, each batch committed; SQLite."""
    began = time.monotonic()
    taken = 0
    while taken < people:
        with engine.begin() as connection:
            taken += _bare_round(connection, min(BATCH, people - taken))
    return taken / (time.monotonic() - began)


def _bare_round(connection: Connection, people: int) -> int:
    ids = connection.execute(HEADS, {"most": people}).scalars().all()
    wave = connection.execute(WAVE, {"people": len(ids)}).scalar_one()
    for statement in INVITED:
        connection.execute(statement, {"wave": wave, "first": ids[0], "last": ids[-1]})
    return len(ids)


def as_the_service(engine: Engine) -> None:
    """Make SQLite as careful here as it is in the service."""

    @event.listens_for(engine, "connect")
    def _careful(connection: object, _record: object) -> None:
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
