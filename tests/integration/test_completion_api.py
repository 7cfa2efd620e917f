"""Completing by JSON: each row of the table of answers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from tests import people, tables
from tests.people import BOB, PASSWORD
from tests.visitors import Browser
from waitlist import extensions
from waitlist.extensions import db
from waitlist.models import Entry, Invitation, Registration

PARALLEL = 32
URL = "/api/v1/completions"


def _fields(token: str, **changes: Any) -> dict[str, Any]:
    right = {"handle": "ada", "display_name": "Ada L.", "password": PASSWORD, "terms": True}
    return {"token": token, **right, **changes}


def _post(visitor: Browser, fields: object, key: str | None = None) -> TestResponse:
    headers = {"Idempotency-Key": key} if key else {}
    return visitor.post(URL, json=fields, headers=headers)


def _problem(response: TestResponse, status: int, kind: str) -> Any:
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    found = response.get_json()
    assert (found["status"], found["type"]) == (status, f"urn:waitlist:{kind}")
    assert found["title"]
    assert found["detail"]
    return found


def test_the_first_success_is_201_with_the_place_of_the_welcome_page(
    client: Browser, token: str
) -> None:
    response = _post(client, _fields(token), "k")
    assert response.status_code == 201
    assert response.headers["Location"].startswith("/welcome/")
    assert response.get_json() == {
        "handle": "ada",
        "display_name": "Ada L.",
        "welcome": response.headers["Location"],
    }
    assert "Idempotent-Replayed" not in response.headers
    assert client.get(response.headers["Location"]).status_code == 200


@pytest.mark.parametrize("key", [None, "k", "other"])
def test_the_same_payload_again_gets_the_same_answer_and_says_so(
    client: Browser, token: str, key: str | None
) -> None:
    """P10."""
    first = _post(client, _fields(token), "k")
    again = _post(client, _fields(token), key)
    assert (again.status_code, again.data) == (first.status_code, first.data)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotent-Replayed"] == "true"


def test_another_payload_after_a_success_is_409_and_shows_nothing(
    client: Browser, token: str
) -> None:
    _post(client, _fields(token), "k")
    for changes in ({"handle": "eve"}, {"password": "another horse battery staple"}):
        response = _post(client, _fields(token, **changes), "other")
        _problem(response, 409, "already-completed")
        assert b"ada" not in response.data.lower()


def test_the_key_of_a_success_with_another_payload_is_422(client: Browser, token: str) -> None:
    _post(client, _fields(token), "k")
    _problem(_post(client, _fields(token, handle="eve"), "k"), 422, "key-reused")


def test_wrong_fields_are_422_with_each_reason_and_store_nothing(
    client: Browser, token: str
) -> None:
    """P11: and the same key may be used again."""
    before = tables.everything()
    response = _post(client, _fields(token, handle="A B", password="short"), "k")
    assert len(before.pop("finish_failures")) == 0
    found = _problem(response, 422, "fields-invalid")
    codes = {one["field"]: one["code"] for one in found["errors"]}
    assert codes == {"handle": "handle-form", "password": "too-short"}
    assert all(one["detail"] for one in found["errors"])
    assert b"short" not in response.data.replace(b"too-short", b"")
    assert {name: rows for name, rows in tables.everything().items() if name in before} == before
    assert _post(client, _fields(token), "k").status_code == 201


def test_a_taken_handle_is_422_with_free_ones(
    client: Browser, alice: Entry, token: str, now: datetime
) -> None:
    bob = people.wait_in_line(BOB, now=now)
    people.invite(bob, now=now)
    people.register(bob, "ada", now=now)
    found = _problem(_post(client, _fields(token), "k"), 422, "fields-invalid")
    assert found["errors"][0]["code"] == "handle-taken"
    assert found["free_handles"] == ["ada_2", "ada_3", "ada_4"]
    assert _post(client, _fields(token, handle="ada_3"), "k").status_code == 201


@pytest.mark.parametrize("wrong", ["", "x", "WzEsMSwiYSJd.abc", "\x00", "é"])
def test_a_link_that_isnt_ours_is_404(client: Browser, token: str, wrong: str) -> None:
    """P22."""
    _problem(_post(client, _fields(wrong)), 404, "link-unknown")
    _problem(_post(client, _fields(token + wrong + "x")), 404, "link-unknown")


@pytest.mark.parametrize("fields", [[], "text", 7, None, {}, {"token": 5}, {"token": ["a"]}])
def test_a_body_of_another_shape_is_404(client: Browser, token: str, fields: object) -> None:
    assert _post(client, fields).status_code == 404


@pytest.mark.parametrize("field", ["token", "handle", "display_name", "password", "opened"])
def test_half_a_character_in_a_field_is_refused_and_breaks_nothing(
    client: Browser, token: str, field: str
) -> None:
    """A lone surrogate, which JSON can carry and UTF-8 can't."""
    response = _post(client, {**_fields(token), field: "\ud800 correct horse battery"})
    assert response.status_code in (201, 404, 422)


@pytest.mark.parametrize("value", [1, None, ["ada"], {"a": 1}, True])
@pytest.mark.parametrize("field", ["handle", "display_name", "password"])
def test_a_field_that_isnt_text_is_missing(
    client: Browser, token: str, field: str, value: object
) -> None:
    found = _problem(_post(client, _fields(token, **{field: value})), 422, "fields-invalid")
    assert [(one["field"], one["code"]) for one in found["errors"]] == [(field, "missing")]


@pytest.mark.parametrize("state", ["expired", "superseded", "revoked"])
def test_each_way_of_being_over_is_410_with_its_own_type(
    client: Browser, token: str, state: str
) -> None:
    db.session.execute(update(Invitation).values(state=state))
    db.session.commit()
    _problem(_post(client, _fields(token)), 410, f"invitation-{state}")


def test_past_its_time_it_is_410_and_says_where_to_renew(
    client: Browser, alice: Entry, token: str, now: datetime, clock: time_machine.Traveller
) -> None:
    clock.move_to(now + timedelta(hours=72))
    found = _problem(_post(client, _fields(token)), 410, "invitation-expired")
    assert found["renew"] == f"/invite/{token}/renew"
    people.make(alice, renewals=3)
    found = _problem(_post(client, _fields(token)), 410, "invitation-expired")
    assert "renew" not in found
    assert client.get(found["place"]).status_code == 200


def test_who_has_a_form_of_their_own_gets_what_it_needs(
    client: Browser, token: str, now: datetime, clock: time_machine.Traveller
) -> None:
    """P11: opened in time, it may be sent half an hour later, as ours may."""
    as_json, path = {"Accept": "application/json"}, f"/invite/{token}"
    shown = client.get(path, headers=as_json).get_json()
    assert (shown["state"], shown["address"]) == ("open", people.ALICE)
    assert datetime.fromisoformat(shown["expires_at"]) == now + timedelta(hours=72)
    clock.move_to(now + timedelta(hours=72, minutes=29))
    _problem(client.get(path, headers=as_json), 410, "invitation-expired")
    _problem(_post(client, _fields(token)), 410, "invitation-expired")
    assert _post(client, _fields(token, opened=shown["opened"])).status_code == 201
    assert client.get(path, headers=as_json).get_json()["state"] == "used"


def test_another_attempt_that_holds_the_lock_too_long_says_try_again(
    app: Flask, client: Browser, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P15: on SQLite the one writer is waited for, so there it is 503; either can be repeated."""
    monkeypatch.setattr(extensions, "LOCK_WAIT", 1)
    for pooled in db.engines.values():
        pooled.dispose()  # connections learn how long to wait when they are made
    held, answered = threading.Event(), threading.Event()

    def hold() -> None:
        db.session.execute(select(Invitation).with_for_update())
        held.set()
        answered.wait(20)
        db.session.rollback()

    def ask() -> TestResponse:
        held.wait(20)
        try:
            return _post(Browser(app), _fields(token))
        finally:
            answered.set()

    blocked = people.at_once(app, [hold, ask])[1]
    assert blocked is not None
    if db.engine.dialect.name == "postgresql":
        _problem(blocked, 409, "in-progress")
    else:
        _problem(blocked, 503, "unavailable")
    assert int(blocked.headers["Retry-After"]) > 0
    assert _post(client, _fields(token)).status_code == 201


def test_32_at_once_with_one_payload_get_one_answer(app: Flask, alice: Entry, token: str) -> None:
    """P10."""
    answers = people.at_once(app, [lambda: _post(Browser(app), _fields(token))] * PARALLEL)
    assert {(one.status_code, one.data) for one in answers} == {(201, answers[0].data)}
    assert [one.headers.get("Idempotent-Replayed") for one in answers].count(None) == 1
    assert db.session.scalar(select(func.count()).select_from(Registration)) == 1
    assert Counter(people.mails_owed(alice))["welcome", "queued"] == 1


def test_32_at_once_with_other_payloads_get_one_201_and_conflicts(app: Flask, token: str) -> None:
    """P10."""

    def call(number: int) -> Callable[[], int]:
        fields = _fields(token, handle=f"person_{number}")
        return lambda: _post(Browser(app), fields).status_code

    answers = people.at_once(app, [call(number) for number in range(PARALLEL)])
    assert Counter(answers) == {201: 1, 409: PARALLEL - 1}
    assert db.session.scalar(select(func.count()).select_from(Registration)) == 1
