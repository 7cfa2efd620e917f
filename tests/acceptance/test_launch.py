"""The whole service, started as `make run` does, plays a launch in small, with its accidents."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from tests import servers
from waitlist import create_app
from waitlist.config import load
from waitlist.extensions import db
from waitlist.models import Entry
from workers.development.launch import Plan, Report, play
from workers.development.service import free_port, service

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]
SAMPLES = Path(__file__).parent.parent / "samples"
POSTGRES = os.environ.get("TEST_DATABASE") == "postgres"
PLAN = Plan(
    people_file=SAMPLES / "preorders.csv",
    beta=30,
    capacity=60,
    rate=36_000,
    accidents={5: "mail", 15: "web", 30: "redis", 45: "admission"},
    newcomers=8,
)
BACK_WITHIN = 20.0  # seconds


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment that names nothing of the service but, if asked for, PostgreSQL."""
    for name in ("SECRET_KEYS", "PUBLIC_URL", "ENVIRONMENT", "REDIS_URL", "MAIL_SERVER"):
        monkeypatch.delenv(name, raising=False)
    with _database() as url:
        if url:
            monkeypatch.setenv("DATABASE_URL", url)
        yield


@contextmanager
def _database() -> Iterator[str]:
    if not POSTGRES:
        yield ""
        return
    with servers.postgres_server() as server:
        yield servers.create_database(server)


def _nothing(_step: str, _report: Report) -> None:
    """Nobody watches a test."""


@pytest.mark.usefixtures("environ")
def test_a_launch_with_kills_ends_as_promised(tmp_path: Path) -> None:
    """P1, P3, P4, P7, P8, P13: kill -9 of mail worker, web, Redis and admission worker."""
    report = play(PLAN, tmp_path, free_port(), _nothing)
    assert report.trouble == []
    assert report.imported == json.loads((SAMPLES / "preorders.expected.json").read_text())
    assert report.again["accepted"] == 0
    assert report.killed == ["mail", "web", "redis", "admission"]
    assert report.newcomers_found == report.newcomers == PLAN.newcomers
    assert not (tmp_path / "pids.json").exists(), "Ctrl-C left processes"


@pytest.mark.usefixtures("environ")
def test_joins_that_were_answered_survive_a_kill_before_and_after_their_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P1: web killed at a failpoint; who was answered stands, who wasn't may join again."""
    port = free_port()
    for place in ("join.before-commit", "join.committed"):
        monkeypatch.setenv("FAILPOINT", f"{place}:kill@3")
        with _running(tmp_path, port):
            answered = [_join(port, f"{place}-{number}@example.com") for number in range(6)]
            assert False in answered, "the failpoint didn't fire"
            names = [f"{place}-{number}@example.com" for number in range(6)]
            told = {name for name, told in zip(names, answered, strict=True) if told}
            assert told <= _standing(tmp_path)


def _running(folder: Path, port: int) -> AbstractContextManager[object]:
    return service({**os.environ, "INSTANCE": str(folder), "PORT": str(port)}, port)


def _join(port: int, address: str) -> bool:
    """Whether the join was answered with success; waits until the web is back otherwise."""
    try:
        url = f"http://127.0.0.1:{port}/join"
        return httpx.post(url, data={"address": address}, timeout=10).status_code == 202
    except httpx.TransportError:
        _wait_until_answered(port)
        return False


def _wait_until_answered(port: int) -> None:
    deadline = time.monotonic() + BACK_WITHIN
    while time.monotonic() < deadline:
        try:
            httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=1)
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the web didn't come back")


def _standing(folder: Path) -> set[str]:
    """The addresses that SQL knows."""
    app = create_app(load({**os.environ, "INSTANCE": str(folder)}))
    with app.app_context():
        found = set(db.session.scalars(select(Entry.address)))
        db.session.remove()
        db.engine.dispose()
    return found
