"""`POST /hooks/mail/generic`: Standard Webhooks; and what holds for all who report."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Thread
from typing import Any

import pytest
import time_machine
from a2wsgi import ASGIMiddleware
from flask import Flask
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from tests import servers
from tests.conftest import MakeApp
from tests.people import ALICE
from tests.reports import (
    OTHER_SECRET,
    POSTMARK,
    SECRET,
    basic,
    generic,
    kept,
    postmark,
    signed,
    state_of,
    untouched,
)
from tests.visitors import Browser
from waitlist.config import ROOT
from waitlist.extensions import db
from waitlist.models import Entry, Message
from waitlist.web.lane import Lane

Post = Callable[..., TestResponse]


def test_anybody_with_the_secret_tells_what_became_of_a_mail(
    post: Post, alice: Entry, message: Message, now: datetime
) -> None:
    body = json.dumps(generic("bounced", message, ALICE))
    answer = post("generic", body, signed(body, at=now))
    assert (answer.status_code, answer.json) == (200, {"outcomes": ["taken"]})
    assert state_of(alice) == "bounced"
    assert kept() == [("generic", "bounced", "5.1.1")]
    assert post("generic", body, signed(body, at=now)).json == {"outcomes": ["known already"]}


def test_the_lines_of_the_documentation_report_a_mail(
    app: Flask, alice: Entry, message: Message
) -> None:
    """As they stand in docs/integration.md, over HTTP."""
    blocks = (ROOT / "docs" / "integration.md").read_text().split("```")
    [lines] = [one.removeprefix("python") for one in blocks if "def report(" in one]
    server = make_server("127.0.0.1", 0, app, threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    here = lines.replace("https://join.example.com", f"http://127.0.0.1:{server.port}")
    program: dict[str, Any] = {}
    exec(here, program)  # noqa: S102
    said = generic("complained", message, ALICE)
    db.session.rollback()
    try:
        program["report"](SECRET, "7", **said)
    finally:
        server.shutdown()
        server.server_close()
    assert state_of(alice) == "complained"


def test_a_report_goes_by_the_express_lane_to_flask(
    app: Flask, post: Post, alice: Entry, message: Message
) -> None:
    app.wsgi_app = ASGIMiddleware(Lane(app))  # type: ignore[method-assign, arg-type, assignment]
    assert post("postmark", postmark("Delivery", message, ALICE), basic()).status_code == 200
    assert state_of(alice) == "delivered"
    assert post("postmark", "x" * 65_537, basic()).status_code == 413
    assert post("postmark", "{}", basic("x:y")).status_code == 401


def test_either_secret_signs_while_they_are_changed(
    post: Post, alice: Entry, message: Message, now: datetime
) -> None:
    body = json.dumps(generic("delivered", message, ALICE))
    assert post("generic", body, signed(body, at=now, secret=OTHER_SECRET)).status_code == 200
    assert state_of(alice) == "delivered"


def test_a_report_is_believed_for_five_minutes(
    post: Post, message: Message, now: datetime, clock: time_machine.Traveller
) -> None:
    """Standard Webhooks: whoever caught one can't use it later."""
    body = json.dumps(generic("bounced", message, ALICE))
    headers = signed(body, at=now)
    clock.shift(timedelta(minutes=5, seconds=1))
    assert post("generic", body, headers).status_code == 403
    assert untouched()
    clock.shift(timedelta(seconds=-2))
    assert post("generic", body, headers).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook-id": "2"},
        {"webhook-id": ""},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "9" * 400},
        {"webhook-signature": ""},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,*"},
        {"webhook-signature": "v1,a,b"},
        {"webhook-signature": "v2,aaaa"},
    ],
)
def test_a_wrong_signature_changes_nothing(
    post: Post, message: Message, now: datetime, changes: dict[str, str]
) -> None:
    body = json.dumps(generic("bounced", message, ALICE))
    assert post("generic", body, signed(body, at=now) | changes).status_code == 403
    assert untouched()


def test_another_body_isnt_what_was_signed(post: Post, message: Message, now: datetime) -> None:
    body = json.dumps(generic("bounced", message, ALICE))
    headers = signed(json.dumps(generic("delivered", message, ALICE)), at=now)
    assert post("generic", body, headers).status_code == 403
    assert post("generic", b"\xff\xfe", headers).status_code == 403
    assert untouched()


@pytest.mark.parametrize("body", ["", "[]", "{", "{}", '{"kind": "opened"}', '{"kind": 7}'])
def test_a_kind_that_we_dont_know_is_taken(
    post: Post, alice: Entry, now: datetime, body: str
) -> None:
    assert post("generic", body, signed(body, at=now)).json == {"outcomes": []}
    assert untouched()


# --- all of them


@pytest.mark.parametrize("provider", ["ses", "postmark", "generic"])
def test_a_provider_that_isnt_set_up_is_nowhere(
    make_app: MakeApp, provider: str, now: datetime
) -> None:
    app = make_app()
    with app.app_context():
        answer = Browser(app).post(f"/hooks/mail/{provider}", data="{}", headers=basic())
        assert answer.status_code == 404
        assert answer.content_type == "application/problem+json"


def test_a_provider_that_we_dont_know_is_nowhere(post: Post) -> None:
    assert post("carrier-pigeon", "{}").status_code == 404


def test_a_body_is_64_kb_at_most(post: Post) -> None:
    assert post("postmark", "x" * 65_537, basic()).status_code == 413


def test_it_is_posted(app: Flask) -> None:
    assert Browser(app).get("/hooks/mail/postmark").status_code == 405


def test_while_the_database_is_away_a_provider_is_asked_to_send_it_again(
    post: Post, message: Message, alice: Entry, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P15: and then it counts."""
    monkeypatch.setattr("waitlist.extensions.LOCK_WAIT", 0.2)
    said = postmark("Bounce", message, ALICE, ID=7, Type="HardBounce")
    db.session.rollback()
    with servers.locked(database_url):
        answer = post("postmark", said, basic())
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert untouched()
    assert post("postmark", said, basic()).json == {"outcomes": ["taken"]}
    assert state_of(alice) == "bounced"


def test_no_address_gets_into_the_log(
    post: Post,
    message: Message,
    alice: Entry,
    make_app: MakeApp,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_app()  # which tells the log where to write
    post("postmark", postmark("Bounce", message, ALICE, ID=7, Type="HardBounce"), basic())
    post("postmark", {"RecordType": "Bounce", "Type": "HardBounce", "Email": ALICE}, basic())
    post("postmark", {"RecordType": "News", "Email": ALICE}, basic("x:y"))
    said = capsys.readouterr().err
    assert "delivery report" in said
    assert ALICE.partition("@")[0] not in said
    assert POSTMARK.partition(":")[2] not in said
