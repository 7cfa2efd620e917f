"""Every failed try at the last step is recorded, once, whatever is away."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import select, update

from tests import people, servers
from tests.conftest import MakeApp
from tests.people import PASSWORD
from tests.visitors import Browser
from waitlist import extensions, links
from waitlist.extensions import db
from waitlist.models import Entry, FinishFailure, Invitation
from waitlist.onboarding import completion, failures, view
from workers import clock as workers_clock

DEAD = "unix:///nonexistent/redis.sock"
MINUTE = timedelta(minutes=1)
API = "/api/v1/completions"


def _fields(**changes: str) -> dict[str, str]:
    right = {"handle": "ada", "display_name": "Ada L.", "password": PASSWORD, "terms": "yes"}
    return {**right, **changes}


def _recorded() -> list[tuple[str, int, str, str]]:
    """Kind, times, way and release of every recorded failure, oldest first."""
    db.session.rollback()
    row = FinishFailure.__table__.c
    query = select(row.kind, row.times, row.via, row.release).order_by(row.at, row.id)
    found = [tuple(one) for one in db.session.execute(query)]
    db.session.rollback()
    return found


def _try(browser: Browser, token: str, *, api: bool = False, **changes: str) -> int:
    """The status of a try by the form or the API."""
    if api:
        return browser.post(API, json={"token": token, **_fields(**changes)}).status_code
    return browser.post(f"/invite/{token}", data=_fields(**changes)).status_code


@pytest.mark.parametrize("api,via", [(False, "form"), (True, "api")])
def test_what_is_wrong_with_a_form_is_recorded_without_what_it_holds(
    client: Browser, token: str, api: bool, via: str
) -> None:
    assert _try(client, token, api=api, password="aaaaaaaa") == 422
    assert _try(client, token, api=api, handle="no", terms="") == 422
    assert _recorded() == [
        ("fields-invalid:password", 1, via, "test"),
        ("fields-invalid:handle,terms", 1, via, "test"),
    ]
    rows = db.session.execute(select(FinishFailure.__table__)).all()
    db.session.rollback()
    assert "aaaaaaaa" not in repr(rows)
    assert _try(client, token, api=api) in (201, 303)
    assert len(_recorded()) == 2


def test_a_taken_handle_a_used_invitation_and_a_reused_key_are_told_apart(
    client: Browser, token: str, now: datetime
) -> None:
    bob = people.wait_in_line("bob@example.org", now=now)
    [other] = people.invite(bob, now=now)
    people.register(bob, "ada", now=now)
    assert _try(client, token) == 422
    assert _try(client, links.invitation_token(other), handle="other") == 409
    assert _try(client, token, handle="alice") == 303
    first = {"token": token, **_fields(handle="alice")}
    client.post(API, json=first, headers={"Idempotency-Key": "k"})
    assert [kind for kind, *_ in _recorded()] == ["handle-taken", "already-completed"]


def test_an_invitation_that_is_over_is_recorded_as_such(
    client: Browser, token: str, alice: Entry, now: datetime
) -> None:
    over = update(Invitation).where(Invitation.entry_id == alice.id)
    db.session.execute(over.values(expires_at=now - timedelta(days=1)))
    db.session.commit()
    assert _try(client, token) == 410
    assert _try(client, token, api=True) == 410
    assert _recorded() == [("invitation-expired", 1, via, "test") for via in ("form", "api")]


def test_of_an_unknown_link_nothing_is_recorded(client: Browser, token: str) -> None:
    assert _try(client, token[:-2] + "xx") == 404
    assert _try(client, "nothing", api=True) == 404
    assert client.post(API, json=_fields()).status_code == 404
    assert client.post(API, data=b"{", content_type="application/json").status_code == 400
    assert _recorded() == []


def test_what_nobody_foresaw_is_recorded_too(
    app: Flask, client: Browser, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request fails as it would without; and so it is told with its kind."""
    monkeypatch.setattr(completion, "failpoint", lambda _name: 1 / 0)
    assert _try(client, token) == 500
    assert _try(client, token, api=True) == 500
    assert _recorded() == [("unexpected", 1, via, "test") for via in ("form", "api")]


def test_the_page_tells_of_tries_that_were_never_answered(
    client: Browser, token: str, now: datetime
) -> None:
    """Told anew with each try, they count once."""
    opened = view.look(token, now=now).opened
    assert _try(client, token, opened=opened, unanswered="2", password="short") == 422
    assert _try(client, token, opened=opened, unanswered="3") == 303
    assert sorted(_recorded()) == [
        ("fields-invalid:password", 1, "form", "test"),
        ("no-answer", 3, "form", "test"),
    ]


@pytest.mark.parametrize("nonsense", ["", "0", "100", "-1", "1e3", "many", "²"])
def test_nonsense_about_unanswered_tries_is_passed_over(
    client: Browser, token: str, nonsense: str
) -> None:
    assert _try(client, token, unanswered=nonsense) == 303
    assert _recorded() == []


def test_of_one_invitation_a_minute_holds_a_few_of_each_kind(client: Browser, token: str) -> None:
    for _ in range(3 * failures.MOST_A_MINUTE):
        assert _try(client, token, password="short") == 422
    assert _try(client, token, handle="") == 422
    kinds = [kind for kind, *_ in _recorded()]
    assert kinds.count("fields-invalid:password") == failures.MOST_A_MINUTE
    assert kinds.count("fields-invalid:handle") == 1


def test_while_sql_is_locked_it_is_set_aside_and_brought_in_once(
    make_app: MakeApp,
    token: str,
    database_url: str,
    now: datetime,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extensions, "LOCK_WAIT", 0.2)
    browser = Browser(make_app())
    with servers.locked(database_url):
        assert _try(browser, token) == 503
        assert _try(browser, token, api=True) == 503
    assert _recorded() == []
    kept = redis.lrange("waitlist:aside:finish-failures", 0, -1)
    assert len(kept) == 2
    assert not any(token.split(".")[0] in one or PASSWORD in one for one in kept)
    workers_clock.tick(now=now)
    assert _recorded() == [("unavailable", 1, via, "test") for via in ("form", "api")]
    redis.rpush("waitlist:aside:finish-failures", *kept)  # as if it was killed after its commit
    workers_clock.tick(now=now)
    assert len(_recorded()) == 2
    assert redis.llen("waitlist:aside:finish-failures") == 0


def _folder(app: Flask) -> list[Path]:
    return sorted((Path(app.instance_path) / "aside").glob("*"))


def test_while_redis_is_away_too_it_goes_to_a_file_which_is_brought_in_once(
    app: Flask,
    make_app: MakeApp,
    token: str,
    database_url: str,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extensions, "LOCK_WAIT", 0.2)
    browser = Browser(make_app(redis_url=DEAD))
    with servers.locked(database_url):
        assert _try(browser, token) == 503
        assert _try(browser, token, api=True) == 503
    [file] = _folder(app)
    kept = file.read_text()
    assert kept.count("\n") == 2
    workers_clock.tick(now=now)
    assert [kind for kind, *_ in _recorded()] == ["unavailable"] * 2
    assert _folder(app) == []
    file.with_name(f"{file.name}.left").write_text(kept + '{"cut off')
    workers_clock.tick(now=now)
    assert len(_recorded()) == 2
    assert _folder(app) == []


def test_without_sql_at_all_the_try_is_kept_and_told_when_it_is_back(
    app: Flask, make_app: MakeApp, token: str, now: datetime, database_url: str
) -> None:
    gone = database_url.replace("waitlist.sqlite3", "gone/waitlist.sqlite3")
    gone = "postgresql+psycopg://postgres@/none?host=/nonexistent" if gone == database_url else gone
    browser = Browser(make_app(database_url=gone))
    assert _try(browser, token, unanswered="4") == 503
    assert _try(browser, token[:-2] + "xx", api=True) in (404, 503)
    assert failures.tend(now=now) == 2
    assert sorted(_recorded()) == [
        ("no-answer", 4, "form", "test"),
        ("unavailable", 1, "form", "test"),
    ]


def test_a_link_that_only_seemed_known_while_sql_was_away_leaves_nothing(
    app: Flask, make_app: MakeApp, alice: Entry, token: str, now: datetime, database_url: str
) -> None:
    """Signed by us, of another row: as a leaked key or an old backup would have it. P22."""
    invitation = people.invitation_of(alice)
    invitation.nonce = "0" * 16
    other = links.invitation_token(invitation)
    db.session.rollback()
    gone = database_url.replace("waitlist.sqlite3", "gone/waitlist.sqlite3")
    gone = "postgresql+psycopg://postgres@/none?host=/nonexistent" if gone == database_url else gone
    assert _try(Browser(make_app(database_url=gone)), other) == 503
    failures.tend(now=now)
    assert _recorded() == []


def test_two_clocks_at_once_bring_each_in_once(
    app: Flask, token: str, now: datetime, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    record: Any = {"via": "form", "unanswered": failures.Unanswered()}
    monkeypatch.setattr(failures, "MOST_A_MINUTE", 40)
    for _ in range(40):
        failures.record(token, "unavailable", now=now, **record)
    assert redis.llen("waitlist:aside:finish-failures") == 40
    people.at_once(app, [lambda: failures.tend(now=now)] * 4)
    assert len(_recorded()) == 40
    assert redis.llen("waitlist:aside:finish-failures") == 0


def test_while_another_try_holds_the_invitation_the_answer_waits_for_no_record(
    app: Flask, token: str, now: datetime
) -> None:
    """Whoever records waits for a moment only, and then sets it aside."""
    with db.engine.connect() as other:
        other.execute(select(Invitation.id).with_for_update())
        begun = time.monotonic()
        failures.record(token, "in-progress", via="form", unanswered=failures.Unanswered(), now=now)
        assert time.monotonic() - begun < 2
    assert _recorded() == []
    failures.tend(now=now)
    assert [kind for kind, *_ in _recorded()] == ["in-progress"]


def test_what_is_long_ago_is_forgotten(client: Browser, token: str, now: datetime) -> None:
    assert _try(client, token, password="short") == 422
    failures.tend(now=now + failures.KEPT - MINUTE)
    assert len(_recorded()) == 1
    failures.tend(now=now + failures.KEPT + MINUTE)
    assert _recorded() == []


def test_a_failure_goes_with_its_invitation(client: Browser, token: str, alice: Entry) -> None:
    """P19."""
    assert _try(client, token, password="short") == 422
    foreign = db.metadata.tables["finish_failures"].c.invitation_id.foreign_keys
    assert [key.ondelete for key in foreign] == ["CASCADE"]
