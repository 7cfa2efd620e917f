"""The stand: the whole service as processes, with a proxy before each server that they use."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from flask import Flask
from redis import Redis

from tests import products, servers
from tests.faults.parts import FIRED, Part, environment, in_procfile, wait_until
from tests.faults.proxy import Proxies, Proxy, Server, proxies
from tests.products import Product
from tests.servers import SmtpSink
from waitlist import create_app
from waitlist.admission import gate
from waitlist.config import ROOT, load
from waitlist.extensions import db
from waitlist.handover import endpoints
from waitlist.handover.endpoints import Who
from workers.development.parts import redis_answers, redis_command
from workers.development.service import free_port

KEY = "a-key-of-the-harness-that-is-long-enough-for-everybody"
POSTGRES = {  # what was committed must outlive kill -9 of its processes, not the machine
    name: value for name, value in servers.HASTE.items() if name in ("max_connections", "fsync")
}
KEEP_EVERY = 0.2  # seconds
RATE = 36_000  # people an hour
COMMANDS = {
    "web": in_procfile("web"),
    "admission": in_procfile("worker_admission"),
    "mail": in_procfile("worker_mail"),
    "handover": in_procfile("worker_handover"),
    "clock": in_procfile("clock"),
}
PARTS = tuple(COMMANDS)


class Stand:
    """One running copy of the service on `database` (sqlite or postgres)."""

    def __init__(
        self, database: str, folder: Path, sink: SmtpSink, product: Product, around: Proxies
    ) -> None:
        self.database, self.folder, self.around = database, folder, around
        self.sink, self.product = sink, product
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.parts: dict[str, Part] = {}
        self.proxies: dict[tuple[str, str], Proxy] = {}
        self.serial = count(1)
        self.told_before = 0  # webhooks that the product was told before a break of it
        self.home = folder  # of PostgreSQL's cluster
        self.held: list[AbstractContextManager[None]] = []  # locks of others
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self.commands = Part("command", (), {})  # what operators run, one after the other

    def __enter__(self) -> Stand:
        try:
            self._start_servers()
            self.app = self._app()
            self.redis = Redis(unix_socket_path=str(self.socket), decode_responses=True)
            self.flask("db", "upgrade")
            self._start_parts()
            self._open()
            self._keeper.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def socket(self) -> Path:
        """Where Redis itself listens."""
        return self.folder / "r" / "redis.sock"

    @property
    def database_url(self) -> str:
        """The database itself."""
        if self.database == "sqlite":
            return f"sqlite:///{self.folder / 'waitlist.sqlite3'}"
        return f"postgresql+psycopg://postgres@/postgres?host={self.home}"

    def part(self, name: str) -> Part:
        """The part of this name; it may be gone just now."""
        return self.commands if name == "command" else self.parts[name]

    def add(self, name: str, like: str) -> Part:
        """One more part of the same kind beside the one that is there.

        Either may meet the other's failpoint, as either may be given the work.
        """
        part = self._service_part(name, COMMANDS[like], note=like)
        part.fired = self.parts[like].fired
        part.start()
        return part

    def alike(self, name: str) -> list[Part]:
        """The part of this name, and those that were added beside it."""
        return [part for other, part in self.parts.items() if other.startswith(name)]

    def remove(self, name: str) -> None:
        """Kill a part that was added, and forget it."""
        self.parts.pop(name).kill()

    def mend(self) -> None:
        """Start again what is gone, servers first."""
        for part in list(self.parts.values()):
            part.start()

    def _keep(self) -> None:
        """Start again what dies by itself, as a supervisor does."""
        while not self._closing.wait(KEEP_EVERY):
            for part in list(self.parts.values()):
                with contextlib.suppress(RuntimeError):
                    part.keep()

    def arm(self, part: str, failpoint: str) -> None:
        """Have this part act at a failpoint, once, whichever of its processes gets there first."""
        self._note(part).write_text(f"{failpoint}\n{next(self.serial)}\n")

    def disarm(self, part: str) -> None:
        """Nothing acts any more that hasn't yet."""
        self._note(part).unlink(missing_ok=True)

    def flask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Give a command as an operator does; failpoints know it as `command`."""
        environ = self._environ("command", {"FAILPOINT": f"@{self._note('command')}"})
        command = [sys.executable, "-m", "flask", "--app", "wsgi", *words]
        done = subprocess.run(
            command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
        )
        told = done.stderr.splitlines()
        self.commands.fired += [line for line in told if line.startswith(FIRED)]
        return done

    def set_gate(self, **wanted: Any) -> None:
        """Change the gate as `flask gate set` does."""
        with self.app.app_context():
            gate.change(actor="harness", now=datetime.now(UTC), **wanted)

    @staticmethod
    def operator() -> Who:
        """Who gives the harness's commands, now."""
        return Who("harness", "", datetime.now(UTC))

    def close(self) -> None:
        """End everything at once."""
        self._closing.set()
        if self._keeper.ident is not None:
            self._keeper.join()
        for part in reversed(list(self.parts.values())):
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                part.kill()
        if hasattr(self, "redis"):
            self.redis.close()
        if hasattr(self, "app"):
            with self.app.app_context():
                db.session.remove()
                for engine in db.engines.values():
                    engine.dispose()
            for name in ("redis", "redis_for_rq"):
                self.app.extensions[name].close()

    def _start_servers(self) -> None:
        redis = redis_command(self.folder / "redis", self.socket, keep=True)
        self._server("redis", redis, lambda: redis_answers(self.socket))
        if self.database == "postgres":
            options = [f"--{name}={value}" for name, value in POSTGRES.items()]
            socket = ["-k", str(self.home), "--listen_addresses="]
            program = servers.postgres_command(self.home, "postgres", *socket, *options)
            part = self._server("postgres", program, lambda: servers.connects(self.database_url))
            part.user = servers.postgres_user()
            part.folder = self.home
        for part in self.parts.values():
            part.start()

    def _server(self, name: str, command: Sequence[str], answers: Any) -> Part:
        part = Part(name, command, environment({}), answers)
        self.parts[name] = part
        return part

    def _start_parts(self) -> None:
        for name in PARTS:
            self._service_part(name, COMMANDS[name])
        for name in PARTS:
            self.parts[name].start()

    def _service_part(self, name: str, command: Sequence[str], note: str = "") -> Part:
        failpoint = f"@{self._note(note or name)}"
        part = Part(name, command, self._environ(name, {"FAILPOINT": failpoint}))
        if name == "web":
            part.answers = self._web_answers
        self.parts[name] = part
        return part

    def _web_answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/healthz", timeout=2).status_code == 200
        return False

    def _environ(self, part: str, more: dict[str, str]) -> dict[str, str]:
        """What a part is told. Each reaches all servers by proxies of its own."""
        return environment(
            {
                "ENVIRONMENT": "production",
                "INSTANCE": str(self.folder),
                "PORT": str(self.port),
                "PUBLIC_URL": self.url,
                "SECRET_KEYS": KEY,
                "DATABASE_URL": self._sql_by_proxy(part),
                "REDIS_URL": f"redis://127.0.0.1:{self.proxy(part, 'redis').port}",
                "MAIL_SERVER": "127.0.0.1",
                "MAIL_PORT": str(self.proxy(part, "mail").port),
                "MAIL_PER_MINUTE": "1000000",
                "MAIL_BOUNCES_SLOW": "100",
                "MAIL_BOUNCES_STOP": "100",
                "LAST_STEP_ALARM": "100",
                "WEBHOOK_ALLOW": "127.0.0.0/8",
                "JOINS_A_MINUTE": "1000000",
                "WAVE_UNDO": "0",
                **more,
            }
        )

    def _sql_by_proxy(self, part: str) -> str:
        if self.database == "sqlite":
            return self.database_url
        port = self.proxy(part, "sql").port
        plain = "sslmode=disable&gssencmode=disable"
        return f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres?{plain}"

    def proxy(self, part: str, to: str) -> Proxy:
        """The proxy by which a part reaches a server."""
        if (part, to) not in self.proxies:
            servers_by_name: dict[str, Server] = {
                "redis": self.socket,
                "sql": self.home / ".s.PGSQL.5432",
                "mail": self.sink.port,
                "product": int(urlsplit(self.product.url).port or 0),
            }
            self.proxies[part, to] = self.around.before(servers_by_name[to])
        return self.proxies[part, to]

    def _note(self, part: str) -> Path:
        return self.folder / f"failpoint-{part}"

    def _app(self) -> Flask:
        """The harness's own look at the truth, past all proxies."""
        own = {"DATABASE_URL": self.database_url, "REDIS_URL": f"unix://{self.socket}"}
        return create_app(load(self._environ("harness", own)))

    def _open(self) -> None:
        """A gate that is open, has a pace, and no seat yet; a product; a line that is built."""
        self.set_gate(capacity=0, rate=RATE, paused=False)
        url = f"http://127.0.0.1:{self.proxy('handover', 'product').port}/hooks"
        with self.app.app_context():
            endpoints.add(url, who=self.operator())
        built = self.redis.exists
        if not wait_until(lambda: bool(built("{waitlist:general}:epoch")), within=60):
            raise RuntimeError(f"no tick came: {self.parts['admission'].last_words()}")


@contextlib.contextmanager
def stand(database: str) -> Iterator[Stand]:
    """A stand of its own, in a folder of its own, until the end of the block."""
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="wl-f-"))
        sink = stack.enter_context(servers.smtp_sink())
        product = stack.enter_context(products.listening())
        around = stack.enter_context(proxies())
        one = Stand(database, Path(name), sink, product, around)
        if database == "postgres":
            one.home = stack.enter_context(servers.postgres_home())
        with one:
            yield one


def lose_everything_of_redis(one: Stand) -> None:
    """Delete what Redis kept. It isn't running."""
    shutil.rmtree(one.folder / "redis")
    (one.folder / "redis").mkdir(mode=0o700)
