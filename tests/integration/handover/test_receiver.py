"""The receiver of `docs/integration.md`, run as it stands there, and told by the real processes."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from flask import Flask
from redis import Redis

from tests import people
from tests.integration.handover.conftest import FOREVER, LOOPBACK, add, states
from tests.people import ALICE, PASSWORD
from tests.visitors import Browser
from waitlist import links
from waitlist.config import ROOT, Settings
from waitlist.extensions import db
from waitlist.handover import delivering
from waitlist.handover.endpoints import Who
from waitlist.wake import asked_key
from workers.development.service import free_port

PAGE = (ROOT / "docs" / "integration.md").read_text()
WITHIN = 60.0  # seconds
FORM = {"handle": "ada", "display_name": "Ada L.", "password": PASSWORD, "terms": "yes"}


class Receiver:
    """A running receiver: where it listens, what it did, and how often it was asked."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hooks"
        self.port, self.folder = port, folder
        self.pid = 0

    def accounts(self) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(self.folder / "product.sqlite3")) as database:
            return database.execute("SELECT handle, address, name FROM accounts").fetchall()

    def requests(self) -> list[str]:
        """The statuses of the requests that it answered."""
        log = (self.folder / "log").read_text()
        return re.findall(r"POST /hooks HTTP/1\.1\S* (\d+)", log)


@pytest.fixture
def receiver(tmp_path: Path, app: Flask) -> Iterator[Receiver]:
    """The page's receiver, which knows the secret of the endpoint that it is."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    [program] = [block for block in blocks if "def take()" in block]
    folder = tmp_path / "product"
    folder.mkdir()
    (folder / "receiver.py").write_text(program)
    receiver = Receiver(folder, free_port())
    endpoint = add(receiver.url, Who("test", "", datetime.now(UTC)))
    command = ["-m", "flask", "--app", "receiver", "run", "--port", str(receiver.port)]
    environ = {"PATH": os.environ["PATH"], "WEBHOOK_SECRET": endpoint.secret}
    with _running(command, environ, folder) as process:
        receiver.pid = process.pid
        _wait(lambda: _answers(receiver.port))
        yield receiver


@pytest.fixture
def environ(settings: Settings) -> dict[str, str]:
    """The environment of a process of the service, on the parts of this test."""
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "INSTANCE": str(settings.instance),
        "PUBLIC_URL": settings.public_url,
        "SECRET_KEYS": ",".join(settings.secret_keys),
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "WEBHOOK_ALLOW": ",".join(LOOPBACK),
    }


def test_a_hand_over_that_went_twice_is_one_account(
    app: Flask, receiver: Receiver, environ: dict[str, str]
) -> None:
    """P10: the worker is killed after the product's 2xx, before it is marked."""
    _complete(app)
    job = [sys.executable, "-c", "from workers.jobs import run_handover; run_handover()"]
    killed = {**environ, "FAILPOINT": "handover.delivered:kill"}
    ended = subprocess.run(job, cwd=ROOT, env=killed, capture_output=True, timeout=WITHIN)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert receiver.requests() == ["204"]
    assert states() == ["sending"]
    lease_over = datetime.now(UTC) + timedelta(seconds=60)
    delivering.deliver(lambda: lease_over, until=FOREVER)
    assert receiver.requests() == ["204", "204"]
    assert receiver.accounts() == [("ada", ALICE, "Ada L.")]
    assert states() == ["delivered"]


def test_an_invitee_never_notices_a_product_that_stands_still(
    app: Flask, receiver: Receiver, environ: dict[str, str]
) -> None:
    """P11, P16: it is told by itself once it goes on, by the clock and the worker."""
    workers = (["-m", "workers.run", "handover"], ["-m", "workers.clock"])
    with ExitStack() as running:
        os.kill(receiver.pid, signal.SIGSTOP)
        try:
            for command in workers:
                running.enter_context(
                    _running(command, environ, ROOT, log=receiver.folder / "ours")
                )
            welcome = _complete(app)
            _wait(lambda: states() == ["sending"])
            assert Browser(app).get(f"{welcome}/state").json == {"state": "pending"}
            assert "still being prepared" in Browser(app).get(welcome).text
        finally:
            os.kill(receiver.pid, signal.SIGCONT)
        _wait(lambda: states() == ["delivered"])
    assert receiver.accounts() == [("ada", ALICE, "Ada L.")]


def test_whoever_doesnt_know_the_secret_opens_no_account(receiver: Receiver) -> None:
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(time.time()))}
    forged = {**headers, "webhook-signature": "v1,bm90IHNpZ25lZA=="}
    said = b'{"type":"registration.completed","data":{}}'
    assert httpx.post(receiver.url, content=said, headers=forged).status_code == 401
    assert httpx.post(receiver.url, content=said).status_code == 401
    assert receiver.accounts() == []


def test_a_worker_is_woken_only_where_somebody_is_told(app: Flask, redis: Redis) -> None:
    _complete(app)
    assert not redis.exists(asked_key("handover"))


def test_a_worker_is_woken_at_once_where_somebody_is(
    app: Flask, redis: Redis, receiver: Receiver
) -> None:
    _complete(app)
    assert redis.exists(asked_key("handover"))


def _complete(app: Flask) -> str:
    """The path of the welcome page after Alice finished by the form of her invitation."""
    now = datetime.now(UTC)
    entry = people.wait_in_line(ALICE, now=now)
    people.invite(entry, now=now)
    token = links.invitation_token(people.invitation_of(entry))
    answer = Browser(app).post(f"/invite/{token}", data=FORM)
    assert answer.status_code == 303, answer.text
    db.session.rollback()
    return str(answer.headers["Location"])


@contextmanager
def _running(
    command: Sequence[str], environ: dict[str, str], folder: Path, *, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process, until the end of the block."""
    with (log or folder / "log").open("ab") as output:
        started = subprocess.Popen(
            [sys.executable, *command], cwd=folder, env=environ, stdout=output, stderr=output
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/").status_code == 404
    except httpx.TransportError:
        return False


def _wait(for_what: Callable[[], bool]) -> None:
    until = time.monotonic() + WITHIN
    while not for_what():
        assert time.monotonic() < until, "it didn't come"
        time.sleep(0.1)
