"""The fixtures: real Redis, SQL and SMTP, a fresh database a test, and the app on them.

`TEST_DATABASE=postgres` runs the same tests on PostgreSQL. Nothing is skipped: where a
server can't be started, its tests fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import flask_migrate
import pytest
import time_machine
from a2wsgi import ASGIMiddleware
from flask import Flask
from redis import Redis
from sqlalchemy import make_url

from tests import servers
from tests.servers import Received, SmtpSink
from tests.visitors import Browser, Operator
from waitlist import create_app, delivery, projection
from waitlist.config import Settings
from waitlist.extensions import db
from waitlist.web.lane import Lane

POSTGRES = os.environ.get("TEST_DATABASE") == "postgres"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)  # when the cohort `general` opened
NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
KEY = "a-key-of-the-tests-that-is-long-enough-for-everybody"

MakeApp = Callable[..., Flask]
Deliver = Callable[..., list[Received]]


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The session's Redis."""
    with servers.redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def session_sink() -> Iterator[SmtpSink]:
    """The session's mail server."""
    with servers.smtp_sink() as sink:
        yield sink


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[str]:
    """The URL of a migrated database that is only ever copied."""
    folder = tmp_path_factory.mktemp("template")
    server = servers.postgres_server() if POSTGRES else nullcontext("")
    with server as server_url:
        url = (
            servers.create_database(server_url)
            if POSTGRES
            else f"sqlite:///{folder / 'empty.sqlite3'}"
        )
        with (
            time_machine.travel(LONG_AGO, tick=False),
            _running(_settings(folder, url, redis_url, port=25)) as app,
            app.app_context(),
        ):
            flask_migrate.upgrade()
        yield url


@pytest.fixture
def database_url(tmp_path: Path, empty_database: str) -> Iterator[str]:
    """A fresh, migrated database."""
    url = make_url(empty_database)
    if POSTGRES:
        fresh = servers.create_database(empty_database, template=url.database)
        yield fresh
        servers.drop_database(fresh)
    else:
        assert url.database is not None
        shutil.copyfile(url.database, tmp_path / "waitlist.sqlite3")
        yield f"sqlite:///{tmp_path / 'waitlist.sqlite3'}"


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """A client of the session's Redis, which is empty."""
    with Redis.from_url(redis_url, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
def sink(session_sink: SmtpSink) -> SmtpSink:
    """The mail server, which has no mail and accepts everything."""
    session_sink.messages.clear()
    session_sink.answers.clear()
    session_sink.rcpt_answer, session_sink.delay = None, 0.0
    session_sink.pipelines = True
    return session_sink


@pytest.fixture
def settings(
    tmp_path: Path, database_url: str, redis: Redis, redis_url: str, sink: SmtpSink
) -> Settings:
    """Production's settings on the parts of this test."""
    return _settings(tmp_path, database_url, redis_url, port=sink.port)


@pytest.fixture
def make_app(settings: Settings) -> Iterator[MakeApp]:
    """Makes an app whose settings differ from the usual ones as said."""
    with ExitStack() as running:
        yield lambda **changes: running.enter_context(_running(replace(settings, **changes)))


@pytest.fixture
def app(make_app: MakeApp) -> Iterator[Flask]:
    """The app, its line built and its context pushed, so that use cases can be called."""
    app = make_app()
    with app.app_context():
        projection.require_valid()  # as the clock's first tick does
        yield app


@pytest.fixture(params=["lane", "flask"])
def client(request: pytest.FixtureRequest, app: Flask) -> Browser:
    """A visitor, whose requests run in contexts of their own; by the express lane and without."""
    if request.param == "lane":
        app.wsgi_app = ASGIMiddleware(Lane(app))  # type: ignore[method-assign, arg-type, assignment]
    return Browser(app)


@pytest.fixture
def runner(app: Flask) -> Operator:
    """An operator, whose commands run as `flask …` does."""
    return Operator(app)


@pytest.fixture
def now() -> datetime:
    """The time at which tests play; the clock itself runs on, unless `clock` stops it."""
    return NOW


@pytest.fixture
def clock(now: datetime) -> Iterator[time_machine.Traveller]:
    """The process's clock, stopped at `now`; `move_to` and `shift` set it."""
    with time_machine.travel(now, tick=False) as traveller:
        yield traveller


@pytest.fixture
def deliver(app: Flask, sink: SmtpSink, now: datetime) -> Deliver:
    """Sends what is due, at `now` unless told, and gives the mails that arrived."""

    def send(at: datetime = now) -> list[Received]:
        before = len(sink.messages)
        delivery.deliver(lambda: at, until=datetime.max.replace(tzinfo=UTC))
        db.session.rollback()
        return sink.messages[before:]

    return send


def _settings(instance: Path, database_url: str, redis_url: str, *, port: int) -> Settings:
    return Settings(
        instance=instance,
        development=False,
        public_url="https://join.example.com",
        secret_keys=(KEY,),
        database_url=database_url,
        redis_url=redis_url,
        launch_name="Aurora",
        product_url="https://aurora.example.com",
        mail_server="127.0.0.1",
        mail_port=port,
        mail_username=None,
        mail_password=None,
        mail_use_tls=False,
        mail_from="line@join.example.com",
        mail_return=None,
        mail_per_minute=1_000_000,
        mail_per_day=None,
        mail_warm_up=(),
        mail_bounces_slow=2.0,
        mail_bounces_stop=5.0,
        mail2=None,
        mail2_after=timedelta(minutes=5),
        mail2_refused=50.0,
        dkim_selectors=(),
        mail_hook_ses_topic=None,
        mail_hook_postmark=None,
        mail_hook_secrets=(),
        confirm_within=timedelta(hours=48),
        invite_within=timedelta(hours=72),
        wave_undo=timedelta(),  # so that mails go at once; the tests of recalling set it
        proxy_hops=0,
        country_header=None,
        timezone=ZoneInfo("UTC"),
        joins_a_minute=600,
        web_processes=2,
        web_threads=16,
        health_token=None,
        health_url=None,
        health_every=timedelta(seconds=10),
        health_stale=timedelta(seconds=60),
        health_load=0.8,
        health_p95_ms=None,
        webhook_allow=(),
        last_step_alarm=5.0,
        release="test",
    )


@contextmanager
def _running(settings: Settings) -> Iterator[Flask]:
    """An app that leaves no connection open at the end."""
    app = create_app(settings)
    try:
        yield app
    finally:
        with app.app_context():
            for engine in db.engines.values():
                engine.dispose()
        for name in ("redis", "redis_for_rq"):
            app.extensions[name].close()
