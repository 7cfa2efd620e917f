""" "This wasn't me": what the link in the welcome mail does, and what operators make of it."""

from __future__ import annotations

from datetime import datetime

import pytest
import structlog
from flask import Flask
from sqlalchemy import select

from tests import people, tables
from tests.conftest import Deliver
from tests.people import ALICE
from tests.visitors import Browser, Operator
from waitlist import projection
from waitlist.admission import gate
from waitlist.extensions import db
from waitlist.models import Audit, Entry, Registration

NOT_ME = {"word": "not  me "}


@pytest.fixture
def path(alice: Entry, now: datetime, deliver: Deliver) -> str:
    """Where the link in the welcome mail leads; somebody has registered with her invitation."""
    people.register(alice, "mallory", now=now)
    (welcome,) = [one for one in deliver(now) if "Welcome" in str(one["Subject"])]
    return f"/dispute/{people.token_in(welcome, '/dispute/')}"


def _disputed_at() -> datetime | None:
    db.session.rollback()
    found = db.session.scalars(select(Registration.disputed_at)).one()
    db.session.rollback()
    return found


def _all_is_well() -> None:
    assert gate.verify() == {}
    db.session.rollback()
    projection.settle(1)
    assert projection.check(1) == []


def test_opening_the_link_and_pressing_without_the_words_changes_nothing(
    client: Browser, path: str
) -> None:
    """P17: mail scanners press buttons, and fill in junk."""
    before = tables.everything()
    assert "NOT ME" in client.get(path).text
    for word in (None, "", "test", "aaaaaaaa", "NOT", "ME"):
        fields = {} if word is None else {"word": word}
        response = client.post(path, data=fields)
        assert response.status_code == 422
        assert "Please type the word exactly as shown" in response.text
        assert client.post(path, json=fields).status_code == 422
    assert tables.everything() == before


def test_the_words_note_the_dispute_and_take_nothing_away(
    client: Browser, path: str, alice: Entry, clock: object, now: datetime
) -> None:
    response = client.post(path, data=NOT_ME)
    assert response.status_code == 303
    assert "you get a fresh one" in client.get(response.headers["Location"]).text
    assert _disputed_at() == now
    assert people.find(ALICE).state == "registered"
    assert gate.show(now=now).seats_used == 1
    act = db.session.scalars(select(Audit).order_by(Audit.id.desc())).first()
    assert act is not None
    assert (act.action, act.subject) == ("registration.dispute", f"entry:{alice.id}")
    before = tables.everything()
    assert client.post(path, data=NOT_ME).status_code == 303, "twice is the same as once"
    assert client.post(path, json=NOT_ME).get_json() == {"disputed": True}
    assert tables.everything() == before


def test_it_is_told_in_french(client: Browser, path: str, alice: Entry) -> None:
    people.make(alice, locale="fr")
    assert "PAS MOI" in client.get(path).text
    assert client.post(path, data={"word": "pas moi"}).status_code == 303


def test_the_welcome_page_of_whoever_registered_has_no_such_link(
    client: Browser, path: str, alice: Entry, now: datetime
) -> None:
    """P22: only the mail to the stored address does."""
    done = people.register(alice, "mallory", now=now)
    page = client.get(f"/welcome/{done.welcome_token}").text
    assert "dispute" not in page
    assert client.get(f"/dispute/{done.welcome_token}").status_code == 404


def test_operators_hear_of_it(client: Browser, runner: Operator, path: str, alice: Entry) -> None:
    assert runner.json("invitation", "disputed") == []
    with structlog.testing.capture_logs() as logs:
        client.post(path, data=NOT_ME)
    assert [one["log_level"] for one in logs if "disputed" in one["event"]] == ["warning"]
    (one,) = runner.json("invitation", "disputed")
    assert (one["entry_id"], one["address"]) == (alice.id, ALICE)
    shown = runner.json("person", "show", ALICE)
    assert shown["disputed"] is True
    assert any("registration.dispute by person" in act["what"] for act in shown["timeline"])


def test_an_operator_says_that_it_was_they(client: Browser, runner: Operator, path: str) -> None:
    client.post(path, data=NOT_ME)
    assert runner.run("invitation", "undispute", ALICE, "--reason", "she forgot").exit_code == 0
    assert _disputed_at() is None
    assert runner.run("invitation", "undispute", ALICE).exit_code == 1
    assert "NOT ME" in client.get(path).text, "they can say so again"


def test_an_operator_gives_them_a_fresh_invitation_instead(
    client: Browser,
    runner: Operator,
    path: str,
    alice: Entry,
    token: str,
    deliver: Deliver,
    now: datetime,
) -> None:
    """P3, P4, P10, P22: the seat is theirs, and the other's form registers nobody any more."""
    client.post(path, data=NOT_ME)
    assert runner.json("invitation", "reissue", ALICE, "--reason", "not she") == {"reissued": 1}
    _all_is_well()
    assert gate.show(now=now).seats_used == 1
    assert client.get(path).status_code == 404
    form = {"handle": "mallory", "display_name": "Ada L.", "password": people.PASSWORD}
    assert client.post(f"/invite/{token}", data={**form, "terms": "yes"}).status_code == 410
    mails = [one for one in deliver(now) if "fresh link" in str(one["Subject"])]
    fresh = people.token_in(mails[0], "/invite/")
    done = client.post(f"/invite/{fresh}", data={**form, "terms": "yes"})
    assert done.status_code == 303, "the handle is free again"
    assert people.find(ALICE).state == "registered"
    _all_is_well()


def test_without_a_dispute_no_operator_takes_a_registration_away(
    runner: Operator, path: str
) -> None:
    before = tables.everything()
    refused = runner.run("invitation", "reissue", ALICE)
    assert (refused.exit_code, "is registered already" in refused.stderr) == (1, True)
    assert tables.everything() == before


def test_where_no_seat_may_be_taken_the_registration_stays(
    client: Browser, runner: Operator, path: str, now: datetime
) -> None:
    client.post(path, data=NOT_ME)
    gate.change(actor="test", now=now, paused=True)
    before = tables.everything()
    refused = runner.run("invitation", "reissue", ALICE)
    assert (refused.exit_code, "flask gate resume" in refused.stderr) == (1, True)
    assert tables.everything() == before


def test_eight_presses_at_once_are_one_dispute(app: Flask, path: str) -> None:
    answers = people.at_once(app, [lambda: Browser(app).post(path, data=NOT_ME)] * 8)
    assert {one.status_code for one in answers} == {303}
    acts = select(Audit.id).where(Audit.action == "registration.dispute")
    assert len(db.session.scalars(acts).all()) == 1
