"""Redis or SQL away: what goes on, what waits, and what is said (P14, P15)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import select

from tests import people, servers, tables
from tests.conftest import POSTGRES, Deliver, MakeApp
from tests.people import ALICE, BOB
from tests.visitors import Browser
from waitlist import extensions, links, projection
from waitlist.admission import waves
from waitlist.errors import LineUnavailable
from waitlist.extensions import db
from waitlist.models import Invitation
from waitlist.signup import joining
from waitlist.tokens import Purpose
from workers import clock as workers_clock

SECOND = timedelta(seconds=1)
GONE = (
    "postgresql+psycopg://postgres@/none?host=/nonexistent"
    if POSTGRES
    else "sqlite:////nonexistent/waitlist.sqlite3"
)
DEAD = "unix:///nonexistent/redis.sock"


@pytest.fixture
def without_redis(make_app: MakeApp, app: Flask) -> Iterator[Flask]:
    """An app on the same database whose Redis isn't there."""
    lonely = make_app(redis_url=DEAD)
    with lonely.app_context():
        yield lonely


def test_without_redis_joining_confirming_and_completing_succeed(
    without_redis: Flask, app: Flask, now: datetime
) -> None:
    """P14."""
    with app.app_context():
        invited = people.wait_in_line(BOB, now=now)
        people.invite(invited, now=now)
    entry = people.wait_in_line(ALICE, now=now)
    assert entry.state == "waiting"
    assert people.register(invited, "bob", now=now).handle == "bob"
    assert people.find(BOB).state == "registered"


def test_without_redis_mails_are_sent_and_say_that_the_number_follows(
    without_redis: Flask, now: datetime, deliver: Deliver
) -> None:
    """P14."""
    people.wait_in_line(ALICE, now=now)
    (mail,) = deliver()
    assert "its number follows in a moment" in people.words_of(mail)


def test_without_redis_the_place_page_says_that_the_number_follows(
    without_redis: Flask, now: datetime
) -> None:
    """P14."""
    entry = people.wait_in_line(ALICE, now=now)
    browser, path = Browser(without_redis), f"/place/{links.entry_token(Purpose.PLACE, entry)}"
    page = browser.get(path)
    assert page.status_code == 200
    assert "Your number follows in a moment" in page.text
    answer = browser.get(path, headers={"Accept": "application/json"}).json
    assert answer is not None
    assert (answer["position"], answer["state"]) == (None, "waiting")


def test_without_redis_the_public_pages_answer(without_redis: Flask) -> None:
    """P14."""
    browser = Browser(without_redis)
    assert browser.get("/").status_code == 200
    line = browser.get("/line").json
    assert line is not None
    assert line["waiting"] is None
    assert browser.get("/healthz").status_code == 200
    ready = browser.get("/readyz")
    assert ready.status_code == 503
    assert ready.json is not None
    assert "REDIS_URL" in ready.json["parts"]["redis"]
    assert ready.json["parts"]["sql"] == "ok"


def test_without_redis_nobody_is_admitted_and_the_clock_goes_on(
    without_redis: Flask, now: datetime
) -> None:
    """P14."""
    people.wait_in_line(ALICE, now=now)
    people.open_gate(5, 3_600_000, now=now)
    for second in range(3):
        with pytest.raises(LineUnavailable):
            waves.tick(now=now + second * SECOND)
        db.session.rollback()
        workers_clock.tick(now=now + second * SECOND)
    with pytest.raises(LineUnavailable):
        waves.admit(1, cohort=None, actor="test", now=now)
    db.session.rollback()
    assert db.session.scalars(select(Invitation)).all() == []


def test_when_redis_is_back_all_goes_on_by_itself(
    without_redis: Flask, app: Flask, redis: Redis, now: datetime
) -> None:
    """P14."""
    people.crowd(3, now=now)
    people.open_gate(2, 3_600_000, now=now)
    with app.app_context():
        waves.tick(now=now)
        assert waves.tick(now=now + SECOND).admitted == 2
        assert people.find("p0@example.org").state == "invited"
        assert tables.line_in_redis(redis) == tables.line_in_sql()
        assert people.place_of(people.find("p2@example.org"), now=now).position == 1


def test_while_redis_is_frozen_people_join_and_all_goes_on_when_it_thaws(
    app: Flask, make_app: MakeApp, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P14."""
    monkeypatch.setattr(extensions, "REDIS_WAIT", 0.1)
    with servers.redis_server(tmp_path / "redis") as url:
        slow = make_app(redis_url=url)
        with slow.app_context(), Redis.from_url(url, decode_responses=True) as client:
            projection.require_valid()
            people.crowd(2, now=now)
            people.open_gate(1, 3_600_000, now=now)
            waves.tick(now=now)
            with servers.stopped(client):
                late = people.wait_in_line(ALICE, now=now)
                assert late.state == "waiting"
                assert people.place_of(late, now=now).position is None
                with pytest.raises(LineUnavailable):
                    waves.tick(now=now + SECOND)
                db.session.rollback()
            time.sleep(2 * extensions.REDIS_WAIT)
            assert waves.tick(now=now + 2 * SECOND).admitted == 1
            assert tables.line_in_redis(client) == tables.line_in_sql()
            assert people.place_of(people.find(ALICE), now=now).position == 2


@pytest.mark.parametrize(
    "accept,content_type",
    [("text/html", "text/html"), ("application/json", "application/problem+json")],
)
def test_while_sql_is_locked_a_join_is_told_to_try_again(
    app: Flask,
    make_app: MakeApp,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    accept: str,
    content_type: str,
) -> None:
    """P15."""
    monkeypatch.setattr(extensions, "LOCK_WAIT", 0.2)
    browser = Browser(make_app())
    with servers.locked(database_url):
        answer = browser.post("/join", data={"address": ALICE}, headers={"Accept": accept})
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"].startswith(content_type)
    assert "lose your place" in answer.text
    again = browser.post("/join", data={"address": ALICE}, headers={"Accept": accept})
    assert again.status_code == 202
    assert people.find(ALICE).state == "pending"


@pytest.mark.parametrize("path", ["/join", "/api/v1/completions"])
@pytest.mark.parametrize("as_json", [True, False])
def test_without_sql_nothing_is_answered_with_success(
    make_app: MakeApp, app: Flask, now: datetime, path: str, as_json: bool
) -> None:
    """P15."""
    with app.app_context():
        people.wait_in_line(BOB, now=now)
        (invitation,) = people.invite(people.find(BOB), now=now)
        token = links.invitation_token(invitation)
    fields = {"address": ALICE, "token": token, "handle": "bob", "display_name": "Bob"}
    fields |= {"password": people.PASSWORD, "terms": "yes"}
    browser = Browser(make_app(database_url=GONE))
    answer = browser.post(path, json=fields) if as_json else browser.post(path, data=fields)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_without_sql_the_process_lives_and_isnt_ready(make_app: MakeApp, app: Flask) -> None:
    browser = Browser(make_app(database_url=GONE))
    assert browser.get("/healthz").status_code == 200
    ready = browser.get("/readyz")
    assert ready.status_code == 503
    assert ready.json is not None
    assert "DATABASE_URL" in ready.json["parts"]["sql"]


def test_without_sql_the_clock_goes_on(make_app: MakeApp, app: Flask, now: datetime) -> None:
    """P15."""
    lost = make_app(database_url=GONE)
    with lost.app_context():
        workers_clock.tick(now=now)


def test_a_join_whose_commit_fails_leaves_nothing(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P15."""
    before = tables.everything()

    def fails(_name: str) -> None:
        raise RuntimeError

    monkeypatch.setattr(joining, "failpoint", fails)
    with pytest.raises(RuntimeError):
        people.join(ALICE, locale="en", now=now)
    assert tables.everything() == before
