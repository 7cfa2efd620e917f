"""A temporary copy of the service: its database, its Redis, its processes, as many as needed."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from redis import Redis
from sqlalchemy import Engine, create_engine, text

from tests.bench import people
from tests.bench.bars import Unmeasured
from tests.bench.programs import environment, in_procfile, running, wait_for
from waitlist.config import ROOT
from workers.development.parts import redis_answers, redis_command, web_answers
from workers.development.service import free_port

MAILS_A_MINUTE = 10_000_000  # so that mail doesn't limit what is measured


class Inside(NamedTuple):
    """A call into the service: how long it took without its start, and how many it found."""

    seconds: float
    found: int


@dataclass
class Service:
    """One copy of the service with so many people in its line."""

    folder: Path
    people: int
    url: str
    environ: dict[str, str]
    engine: Engine
    redis: Redis
    line_bytes: int = 0  # what the line's server took for all of them
    sql_bytes: int = 0  # what the database took
    _lists: dict[str, list[str]] = field(default_factory=dict)

    def run(self, words: Sequence[str]) -> str:
        """Run a Python program of the project to its end; what it printed."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Unmeasured(f"{' '.join(words[:4])}: {done.stderr.strip()[-300:]}")
        return done.stdout

    def flask(self, *words: str) -> float:
        """Give a command as an operator does; the seconds that it took."""
        began = time.perf_counter()
        self.run(["-m", "flask", "--app", "wsgi", *words])
        return time.perf_counter() - began

    def inside(self, call: str, *words: object) -> Inside:
        """Make one of the calls of `inside.py` in a fresh process."""
        said = self.run(["-m", "tests.bench.inside", call, *map(str, words)])
        return Inside(**json.loads(said.splitlines()[-1]))

    def paths(self, call: str, wanted: int) -> list[str]:
        """The paths that `places`, `invitations` or `leavers` writes."""
        path = self.folder / f"{call}.txt"
        self.inside(call, wanted, path)
        return path.read_text().split()

    def places(self) -> list[str]:
        """Paths of places all over the line, the same each time."""
        if "places" not in self._lists:
            self._lists["places"] = self.paths("places", 10_000)
        return self._lists["places"]

    def scalar(self, query: str, **values: Any) -> int:
        """A number from SQL."""
        with self.engine.connect() as connection:
            return int(connection.execute(text(query), values).scalar_one() or 0)

    def mails_sent(self) -> int:
        """How many mails left."""
        return self.scalar("SELECT count(*) FROM messages WHERE state = 'sent' AND kind <> 'act'")

    def admitted(self) -> int:
        """How many people ever were admitted."""
        return self.scalar("SELECT count(*) FROM invitations")

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """One process of the Procfile beside the web; killed at the end, which it must survive."""
        log = self.folder / f"{name}.log"
        with running(in_procfile(name), self.environ, log, patience=0):
            yield


@contextlib.contextmanager
def service(
    size: int, mail_port: int, *, database_url: str = "", web: bool = True
) -> Iterator[Service]:
    """A copy on free ports with a filled line, its web server up; on SQLite unless told."""
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="wl-bench-"))
        folder, port = Path(name), free_port()
        database_url = database_url or f"sqlite:///{folder / 'waitlist.sqlite3'}"
        environ = _settings(folder, port, database_url, mail_port)
        engine = create_engine(database_url)
        stack.callback(engine.dispose)
        redis = stack.enter_context(_redis(folder))
        one = Service(folder, size, f"http://127.0.0.1:{port}", environ, engine, redis)
        _prepare(one)
        if web:
            stack.enter_context(_web(one, port))
        yield one


def _settings(folder: Path, port: int, database_url: str, mail_port: int) -> dict[str, str]:
    return environment(
        {
            "ENVIRONMENT": "production",
            "INSTANCE": str(folder),
            "PORT": str(port),
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            "SECRET_KEYS": secrets.token_urlsafe(48),
            "DATABASE_URL": database_url,
            "REDIS_URL": f"unix://{folder / 'redis.sock'}",
            "MAIL_SERVER": "127.0.0.1",
            "MAIL_PORT": str(mail_port),
            "MAIL_PER_MINUTE": str(MAILS_A_MINUTE),
            "WAVE_UNDO": "0",
            "PROXY_HOPS": "1",
        }
    )


def _prepare(one: Service) -> None:
    """Migrate, fill, build the line, and note what its server took for it."""
    one.flask("db", "upgrade")
    empty = one.redis.info("memory")["used_memory_rss"]
    people.fill(one.engine, one.people)
    one.inside("ready")
    one.line_bytes = one.redis.info("memory")["used_memory_rss"] - empty
    one.sql_bytes = _sql_bytes(one)


def _sql_bytes(one: Service) -> int:
    if one.engine.dialect.name == "postgresql":
        return one.scalar("SELECT pg_database_size(current_database())")
    one.scalar("PRAGMA wal_checkpoint(TRUNCATE)")
    return (one.folder / "waitlist.sqlite3").stat().st_size


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[Redis]:
    """The embedded Redis as `make run` starts it, with an append-only file."""
    socket, log = folder / "redis.sock", folder / "redis.log"
    command = redis_command(folder / "redis", socket, keep=True)
    with running(command, environment({}), log) as program:
        wait_for(lambda: redis_answers(socket), program, log)
        with Redis(unix_socket_path=str(socket), socket_timeout=120) as client:
            yield client


@contextlib.contextmanager
def _web(one: Service, port: int) -> Iterator[None]:
    log = one.folder / "web.log"
    with running(in_procfile("web"), one.environ, log) as program:
        wait_for(lambda: web_answers(port), program, log)
        yield
