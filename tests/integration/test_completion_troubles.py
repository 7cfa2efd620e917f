"""The last step when something is in its way: what is answered, what is kept, and that it is short.

By form and by API alike: what differs is only how it is told.
"""

from __future__ import annotations

import html
import re
import select
import socket
import string
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, make_url, update
from sqlalchemy import select as sql_select
from sqlalchemy.exc import DBAPIError
from werkzeug.test import TestResponse

from tests import people, scanning, servers, tables
from tests.conftest import POSTGRES, MakeApp
from tests.people import PASSWORD
from tests.visitors import Browser
from waitlist import extensions, limits, links, tokens
from waitlist.errors import LinkInvalid
from waitlist.extensions import db
from waitlist.models import Entry, Invitation, Registration
from waitlist.onboarding import completion
from waitlist.tokens import Purpose

GONE = (
    "postgresql+psycopg://postgres@/none?host=/nonexistent"
    if POSTGRES
    else "sqlite:////nonexistent/waitlist.sqlite3"
)
TYPED = {"handle": "ada_l", "display_name": "Zoë <O’Neil>", "password": PASSWORD, "terms": "yes"}
SHORT = 0.4  # seconds

Send = Callable[..., TestResponse]


@pytest.fixture(params=["form", "api"])
def send(request: pytest.FixtureRequest, app: Flask, token: str) -> Send:
    """Sends the last step, by form or by API; `to` another app."""

    def post(to: Flask = app, **changes: Any) -> TestResponse:
        fields = {**TYPED, **changes}
        if request.param == "form":
            return Browser(to).post(f"/invite/{fields.pop('token', token)}", data=fields)
        return Browser(to).post("/api/v1/completions", json={"token": token, **fields})

    return post


def _succeeded(response: TestResponse, *, replayed: bool) -> None:
    assert response.status_code in (201, 303), response.text
    assert "/welcome/" in response.headers["Location"]
    assert response.headers.get("Idempotent-Replayed") == ("true" if replayed else None)
    assert db.session.scalar(sql_select(func.count()).select_from(Registration)) == 1
    db.session.rollback()


def _told_to_try_again(response: TestResponse, status: int, kind: str) -> None:
    """And nothing typed is lost: the page is the form, with all but the password."""
    assert response.status_code == status
    assert int(response.headers["Retry-After"]) > 0
    assert PASSWORD not in response.text
    if response.is_json:
        assert response.get_json()["type"] == f"urn:waitlist:{kind}"
        return
    for name in ("handle", "display_name"):
        found = re.search(rf'<input[^>]*name="{name}"[^>]*value="([^"]*)"', response.text)
        assert found
        assert html.unescape(found.group(1)) == TYPED[name]
    assert re.search(r'<input[^>]*name="terms"[^>]* checked', response.text)
    assert 'role="alert"' in response.text


def _kept_note(response: TestResponse) -> str:
    found = re.search(r'name="opened" value="([^"]+)"', response.text)
    assert found
    return found.group(1)


@contextmanager
def _attempt_under_way(app: Flask) -> Iterator[None]:
    """Another attempt has the lock, until the end of the block."""
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with app.app_context():
            db.session.execute(sql_select(Invitation).with_for_update())
            held.set()
            over.wait(20)
            with suppress(DBAPIError):  # it may have been ended meanwhile
                db.session.rollback()

    thread = threading.Thread(target=hold)
    db.session.rollback()
    thread.start()
    assert held.wait(20)
    try:
        yield
    finally:
        over.set()
        thread.join(20)


def test_while_another_attempt_has_the_lock_one_is_told_so_soon(
    app: Flask, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P11, P15: on SQLite it may be any writer, so there it says 503."""
    monkeypatch.setattr(completion, "LOCK_WAIT", SHORT)
    with _attempt_under_way(app):
        begun = time.monotonic()
        answer = send()
        took = time.monotonic() - begun
    _told_to_try_again(answer, *((409, "in-progress") if POSTGRES else (503, "unavailable")))
    assert SHORT < took < 4
    _succeeded(send(), replayed=False)


def test_others_in_the_way_once_are_not_even_noticed(
    app: Flask, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P11: a deadlock on PostgreSQL, a lock that came too late on SQLite."""
    asked, goes_on = threading.Event(), threading.Event()
    monkeypatch.setattr(
        completion, "failpoint", lambda name: asked.set() if name == "completion.hashed" else None
    )
    if not POSTGRES:
        monkeypatch.setattr(completion, "LOCK_WAIT", SHORT)

    def be_in_the_way() -> None:
        writes = sql_select(Entry).with_for_update() if POSTGRES else update(Entry).values(name="")
        db.session.execute(writes)
        goes_on.set()
        asked.wait(20)
        time.sleep(1.5 * SHORT)  # it waits for the entry now, or gave up waiting once
        if POSTGRES:
            db.session.execute(sql_select(Invitation).with_for_update())
        db.session.rollback()

    def ask() -> TestResponse:
        goes_on.wait(20)
        return send()

    answer = people.at_once(app, [be_in_the_way, ask])[1]
    assert answer is not None
    _succeeded(answer, replayed=False)


@pytest.mark.parametrize("at", ["completion.hashed", "completion.before-commit"])
def test_what_nobody_foresaw_loses_nothing_and_stores_nothing(
    token: str, send: Send, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """P11."""
    before = scanning.unchanged()
    with monkeypatch.context() as patched:
        patched.setattr(completion, "failpoint", lambda name: 1 / (name != at))
        answer = send()
    _told_to_try_again(answer, 500, "unexpected")
    assert scanning.unchanged() == before
    _succeeded(send(), replayed=False)


def test_without_sql_the_form_stands_with_what_was_typed(
    send: Send, make_app: MakeApp, token: str
) -> None:
    """P11, P15: nothing can be read, not even whose it is."""
    answer = send(make_app(database_url=GONE), lang="fr", opened="a note")
    _told_to_try_again(answer, 503, "unavailable")
    if not answer.is_json:
        assert '<html lang="fr">' in answer.text
        assert _kept_note(answer) == "a note"
        assert 'id="address"' not in answer.text
    _succeeded(send(), replayed=False)


def test_a_form_without_a_note_that_fails_has_one_afterwards(
    app: Flask, token: str, clock: time_machine.Traveller, make_app: MakeApp
) -> None:
    """P11: what fails in the last minute may be sent again in the half hour of grace."""
    expires_at = db.session.scalars(sql_select(Invitation)).one().expires_at
    assert expires_at is not None
    clock.move_to(expires_at - timedelta(minutes=1))
    failed = Browser(make_app(database_url=GONE)).post(f"/invite/{token}", data=TYPED)
    note = _kept_note(failed)
    invitation_id = links.ref_of(Purpose.INVITE, token).id
    keys = extensions.settings().secret_keys
    assert tokens.opened_at(keys, note, invitation_id) == expires_at - timedelta(minutes=1)
    clock.move_to(expires_at + timedelta(minutes=29))
    late = Browser(app).post(f"/invite/{token}", data=TYPED)
    assert late.status_code == 410
    again = Browser(app).post(f"/invite/{token}", data={**TYPED, "opened": note})
    assert again.status_code == 303


def test_a_link_that_isnt_ours_is_no_form_even_where_nothing_can_be_read(
    make_app: MakeApp, token: str
) -> None:
    """P22."""
    for app in (make_app(), make_app(database_url=GONE)):
        answer = Browser(app).post(f"/invite/{token}x", data=TYPED)
        assert answer.status_code == 404
        assert "We don’t know this link" in answer.text


def test_too_many_tries_are_told_when_to_come_again(
    send: Send, monkeypatch: pytest.MonkeyPatch, clock: time_machine.Traveller
) -> None:
    monkeypatch.setattr(completion, "TRIES_A_MINUTE", 3)
    clock.shift(20)
    for _ in range(3):
        assert send(password="short").status_code == 422
    answer = send()
    _told_to_try_again(answer, 429, "too-many-tries")
    assert answer.headers["Retry-After"] == "40"
    clock.shift(40)
    _succeeded(send(), replayed=False)


def test_tries_are_counted_by_what_a_link_names_not_by_how_it_is_spelled(
    app: Flask, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P22: the last letter of a signature can be written in several ways."""
    alike = [spelled for spelled in _spellings(token) if spelled != token]
    assert alike
    monkeypatch.setattr(completion, "TRIES_A_MINUTE", 1)
    short = {**TYPED, "password": "short"}
    assert Browser(app).post(f"/invite/{token}", data=short).status_code == 422
    for spelled in alike:
        assert Browser(app).post(f"/invite/{spelled}", data=TYPED).status_code == 429


def _spellings(token: str) -> Iterator[str]:
    for letter in f"{string.ascii_letters}{string.digits}-_":
        with suppress(LinkInvalid):
            links.ref_of(Purpose.INVITE, token[:-1] + letter)
            yield token[:-1] + letter


def test_without_redis_tries_are_counted_in_the_process(
    send: Send, make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P14."""
    lonely = make_app(redis_url=f"unix://{tmp_path}/away.sock")
    monkeypatch.setattr(limits, "_here", {})  # where other tests counted too
    monkeypatch.setattr(completion, "TRIES_A_MINUTE", 1)
    assert send(lonely, password="short").status_code == 422
    _told_to_try_again(send(lonely), 429, "too-many-tries")


def test_one_who_waits_for_nobody_is_never_counted_out(send: Send) -> None:
    """P10: a double click, two tabs and a page that tries again are far below the limit."""
    _succeeded(send(), replayed=False)
    for _ in range(30):
        _succeeded(send(), replayed=True)


def test_the_form_asks_the_database_no_more_than_the_api(
    app: Flask, token: str, send: Send
) -> None:
    """It is the step that comes at the worst moment."""
    send(password="short")  # what is read once a process
    with tables.counting() as work:
        answer = send()
    assert answer.status_code in (201, 303)
    assert (work.statements, work.commits) == (9 if POSTGRES else 7, 1)


@pytest.mark.parametrize("cuts", [True, False], ids=["cut", "silent"])
def test_a_commit_whose_reply_is_lost_may_be_sent_again(
    app: Flask,
    send: Send,
    make_app: MakeApp,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    cuts: bool,
) -> None:
    """P10, P15: committed or not, nobody knows; so it is no success yet, and trying again is safe.

    SQLite's commit is a call, so there the reply is lost by an error right behind it.
    """
    if POSTGRES:
        monkeypatch.setattr(completion, "ANSWER_WAIT", SHORT)
        with _losing_the_reply(database_url, to=b"COMMIT", cuts=cuts) as proxied:
            answer = send(make_app(database_url=proxied))
    else:
        with monkeypatch.context() as patched:
            lost = "completion.committed"
            patched.setattr(completion, "failpoint", lambda name: 1 / (name != lost))
            answer = send()
    status, kind = (503, "unavailable") if POSTGRES else (500, "unexpected")
    _told_to_try_again(answer, status, kind)
    _succeeded(send(), replayed=True)


@contextmanager
def _losing_the_reply(url: str, *, to: bytes, cuts: bool) -> Iterator[str]:
    """The URL of a proxy before PostgreSQL that loses its reply `to` these words.

    Then it hangs up (`cuts`), or says nothing more to anybody.
    """
    home = make_url(url).query["host"]
    with tempfile.TemporaryDirectory(prefix="wl-") as short, socket.socket(socket.AF_UNIX) as door:
        door.bind(f"{short}/.s.PGSQL.5432")
        door.listen()
        over = threading.Event()
        thread = threading.Thread(target=_pass_on, args=(door, str(home), to, cuts, over))
        thread.start()
        try:
            yield make_url(url).update_query_dict({"host": short}).render_as_string(False)
        finally:
            over.set()
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(f"{short}/.s.PGSQL.5432")
            thread.join(20)


def _pass_on(door: socket.socket, home: str, to: bytes, cuts: bool, over: threading.Event) -> None:
    while not over.is_set():
        client, _ = door.accept()
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(f"{home}/.s.PGSQL.5432")
            while not over.is_set():
                ready, _, _ = select.select([client, server], [], [], 0.1)
                if client in ready:
                    said = client.recv(65536)
                    server.sendall(said)
                    if not said:
                        break
                    if to in said:
                        server.recv(65536)  # it is done, and nobody hears
                        over.wait(0 if cuts else 20)
                        break
                elif server in ready:
                    client.sendall(server.recv(65536))


def test_what_fails_for_others_is_a_page_as_before(
    make_app: MakeApp, token: str, app: Flask
) -> None:
    answer = Browser(make_app(database_url=GONE)).get(f"/invite/{token}")
    assert answer.status_code == 503
    assert "<form" not in answer.text


def test_the_fingerprint_knows_nothing_of_the_password() -> None:
    forms = [people.form("ada", password=word) for word in (PASSWORD, "", "another word of it")]
    assert len({one.fingerprint for one in forms}) == 1
    others = [people.form("bob"), people.form("ada", display_name="B"), people.form(terms="no")]
    assert len({one.fingerprint for one in (forms[0], *others)}) == 4


def test_a_frozen_server_holds_nobody_for_long(
    app: Flask, send: Send, database_url: str, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P15: of SQLite it is a writer that stands still."""
    monkeypatch.setattr(completion, "ANSWER_WAIT", SHORT)
    monkeypatch.setattr(completion, "LOCK_WAIT", SHORT)
    frozen = _losing_the_reply(database_url, to=b"FROM invitations", cuts=False)
    with frozen if POSTGRES else servers.locked(database_url) as url:
        begun = time.monotonic()
        answer = send(make_app(database_url=url or database_url))
        took = time.monotonic() - begun
    _told_to_try_again(answer, 503, "unavailable")
    assert took < 5
    _succeeded(send(), replayed=False)


@pytest.mark.skipif(not POSTGRES, reason="of SQLite nobody can end another's transaction")
def test_who_stands_still_with_the_lock_loses_it(
    app: Flask, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P16: a process that was stopped holds an invitation up for a while only."""
    monkeypatch.setattr(extensions, "IDLE_WAIT", 1)
    with _attempt_under_way(app):
        _succeeded(send(), replayed=False)
