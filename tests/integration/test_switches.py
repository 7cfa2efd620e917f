"""The gate's live switches: turned while it runs, each a change like rate and capacity."""

from __future__ import annotations

import html
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import delete, event, func, select

from tests import people, tables
from tests.conftest import POSTGRES, Deliver, MakeApp
from tests.people import ALICE, BOB
from tests.visitors import Browser, Operator
from waitlist import lately, leasing, letters, links, outbox, switches
from waitlist.admission import gate
from waitlist.extensions import db
from waitlist.models import Entry, Gate
from waitlist.tokens import Purpose

HOUR = timedelta(hours=1)
JSON = {"Accept": "application/json"}
FRENCH = {"Accept-Language": "fr"}


def _kinds_sent(deliver: Deliver, at: datetime) -> list[str]:
    return [str(mail["Feedback-ID"]).split(":")[0] for mail in deliver(at)]


@pytest.fixture
def owed(app: Flask, now: datetime, deliver: Deliver) -> Entry:
    """Alice, who is owed an invitation and a link to act; and Bob is owed where he stands."""
    alice = people.wait_in_line(ALICE, now=now)
    deliver(now)
    people.invite(alice, now=now)
    outbox.stage("act", [alice.id], now=now)
    db.session.commit()
    people.wait_in_line(BOB, now=now)
    return alice


# joining


@pytest.mark.parametrize("headers", [{}, JSON], ids=["page", "json"])
def test_while_joining_is_closed_everybody_hears_the_same_and_nobody_joins(
    client: Browser, runner: Operator, now: datetime, headers: dict[str, str]
) -> None:
    """P21."""
    people.wait_in_line(ALICE, now=now)
    runner.json("gate", "joining", "closed")
    before = tables.everything()
    addresses = [ALICE, "new@example.org", "not-an-address@", ""]
    sent = [{"address": address, "lang": "en"} for address in addresses]
    sent.append({"address": BOB, "lang": "en", "website": "http://spam.example"})
    answers = [client.post("/join", data=fields, headers=headers) for fields in sent]
    assert {answer.status_code for answer in answers} == {403}
    assert len({(answer.text, str(answer.headers)) for answer in answers}) == 1
    assert "Joining is closed for now" in answers[0].text
    assert tables.everything() == before
    if headers:
        assert answers[0].get_json()["type"] == "urn:waitlist:joining-closed"


def test_the_join_page_says_that_joining_is_closed_and_is_as_cacheable_as_ever(
    client: Browser, runner: Operator
) -> None:
    usual = client.get("/").headers
    runner.json("gate", "joining", "closed")
    db.session.rollback()
    page = Browser(runner.app).get("/", headers=FRENCH)
    assert page.status_code == 200
    assert "fermées" in page.text
    assert "<form" not in page.text
    for name in ("Cache-Control", "Vary"):
        assert page.headers[name] == usual[name]


def test_who_has_joined_confirms_and_finishes_while_joining_is_closed(
    client: Browser, runner: Operator, now: datetime
) -> None:
    entry = people.join(ALICE, now=now)
    runner.json("gate", "joining", "closed")
    confirmed = client.post(f"/confirm/{links.entry_token(Purpose.CONFIRM, entry)}")
    assert confirmed.status_code == 303
    assert people.find(ALICE).state == "waiting"


def test_joining_opens_again_without_a_restart(
    client: Browser, runner: Operator, app: Flask
) -> None:
    runner.json("gate", "joining", "closed")
    assert client.post("/join", data={"address": ALICE}).status_code == 403
    runner.json("gate", "joining", "open")
    assert client.post("/join", data={"address": ALICE}).status_code == 202


def test_another_process_sees_a_switch_within_a_second(make_app: MakeApp, app: Flask) -> None:
    other = make_app()
    with other.app_context():
        assert not switches.current().joining_is_closed
    gate.change(actor="test", now=datetime.now(UTC), joining="closed")
    time.sleep(lately.KEPT)
    with other.app_context():
        assert switches.current().joining_is_closed


def test_looking_at_a_switch_ends_no_transaction_of_the_caller(app: Flask, now: datetime) -> None:
    db.session.execute(delete(Gate.__table__).where(Gate.id == 99))
    people_before = db.session.scalar(select(func.count()).select_from(Entry))
    switches.forget()
    assert switches.current().joining == "open"
    assert db.session().in_transaction()
    assert db.session.scalar(select(func.count()).select_from(Entry)) == people_before


def test_joining_is_open_challenged_or_closed(runner: Operator) -> None:
    assert runner.json("gate", "joining", "challenge")["joining"] == "challenge"
    assert runner.run("gate", "joining", "ajar").exit_code == 2


# mails


def test_held_mail_waits_and_all_other_mail_goes_on(
    runner: Operator, owed: Entry, now: datetime, deliver: Deliver
) -> None:
    shown = runner.json("gate", "hold", "invitation", "act", "--reason", "wrong link")
    assert shown["mail"]["held"] == ["act", "invitation"]
    assert _kinds_sent(deliver, now) == ["standing"]
    assert not leasing.is_due(now=now + HOUR)
    db.session.rollback()
    runner.json("gate", "release", "act")
    assert leasing.is_due(now=now + HOUR)
    assert _kinds_sent(deliver, now + HOUR) == ["act"]
    runner.json("gate", "release", "invitation")
    assert _kinds_sent(deliver, now + HOUR) == ["invitation"]


def test_a_held_invitation_has_no_deadline(
    runner: Operator, owed: Entry, now: datetime, deliver: Deliver
) -> None:
    runner.json("gate", "hold", "invitation")
    deliver(now)
    assert people.invitation_of(owed).expires_at is None
    runner.json("gate", "release", "invitation")
    deliver(now + 400 * HOUR)
    assert people.invitation_of(owed).expires_at == now + 472 * HOUR


def test_when_every_kind_is_held_nothing_goes(
    runner: Operator, owed: Entry, now: datetime, deliver: Deliver
) -> None:
    runner.json("gate", "hold", *sorted(letters.KINDS))
    assert deliver(now) == []
    assert not leasing.is_due(now=now)


def test_a_pause_holds_mail_and_a_resume_releases_it_in_the_same_change(
    runner: Operator, owed: Entry, now: datetime, deliver: Deliver
) -> None:
    runner.json("gate", "pause", "--hold-mail")
    assert "invitation" not in _kinds_sent(deliver, now)
    runner.json("gate", "resume", "--release-mail")
    assert _kinds_sent(deliver, now) == ["invitation"]
    resumed, paused, *_ = runner.json("gate", "history")
    assert paused["after"] == {"paused": True, "held_mails": ["invitation"]}
    assert resumed["after"] == {"paused": False, "held_mails": []}
    assert resumed["version"] == paused["version"] + 1


def test_a_pause_alone_lets_the_mail_of_the_admitted_go(
    runner: Operator, owed: Entry, now: datetime, deliver: Deliver
) -> None:
    runner.json("gate", "pause")
    assert "invitation" in _kinds_sent(deliver, now)


def test_while_invitations_are_held_ticks_admit_nobody(app: Flask, now: datetime) -> None:
    people.wait_in_line(ALICE, now=now)
    people.open_gate(10, 3_600, now=now)
    gate.change(actor="test", now=now, hold=["invitation"])
    assert gate.show(now=now).limit == "mail"


@pytest.mark.parametrize("command", ["hold", "release"])
def test_an_unknown_kind_of_mail_is_refused_with_those_there_are(
    runner: Operator, command: str
) -> None:
    before = tables.everything()
    result = runner.run("gate", command, "invitation", "invitations")
    assert result.exit_code == 1
    for kind in letters.KINDS:
        assert kind in result.stderr
    assert tables.everything() == before
    assert runner.run("gate", command).exit_code == 2


@pytest.mark.skipif(POSTGRES, reason="PostgreSQL looks through a table that is as small as this")
@pytest.mark.parametrize("held", [frozenset(), frozenset({"invitation"}), frozenset({"act"})])
def test_mail_that_is_due_is_found_without_reading_what_isnt(
    app: Flask, now: datetime, held: frozenset[str]
) -> None:
    gate.change(actor="test", now=now, hold=held)
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, words: str, values: Any, _context: Any, _many: bool) -> None:
        asked.append((words, values))

    event.listen(db.engine, "before_cursor_execute", note)
    leasing.lease(now=now)
    event.remove(db.engine, "before_cursor_execute", note)
    [(words, values)] = [one for one in asked if "UPDATE messages" in one[0]]
    explained = db.session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {words}", values)
    reads = [step for *_, step in explained if " messages " in step]
    assert len(reads) == (5 if "invitation" in held else 6)
    assert "PRIMARY KEY" in reads[0]
    assert all("(state=? AND priority=? AND due_at<?)" in step for step in reads[1:])


# notices


def test_a_notice_is_on_the_pages_of_people_in_their_language(
    client: Browser, runner: Operator, now: datetime, deliver: Deliver
) -> None:
    entry = people.wait_in_line(ALICE, now=now)
    deliver(now)
    people.invite(entry, now=now)
    deliver(now)
    runner.json("gate", "notice", "en", "We open <b>at noon</b>.", "fr", "À midi.")
    paths = [
        "/",
        f"/place/{links.entry_token(Purpose.PLACE, entry)}",
        f"/confirm/{links.entry_token(Purpose.CONFIRM, entry)}",
        f"/invite/{links.invitation_token(people.invitation_of(entry))}",
    ]
    for path in paths:
        english, french = client.get(path).text, client.get(f"{path}?lang=fr").text
        assert html.escape("We open <b>at noon</b>.") in english
        assert 'class="notice" role="status">À midi.' in french
    shown = client.get(paths[1], headers=JSON)
    assert shown.get_json()["notice"] == "We open <b>at noon</b>."
    assert client.get(paths[1], headers={**JSON, **FRENCH}).get_json()["notice"] == "À midi."
    assert "notice" not in client.get("/place/nobodys").text


def test_without_a_notice_in_the_pages_language_the_first_there_is_is_shown(
    client: Browser, runner: Operator
) -> None:
    runner.json("gate", "notice", "en", "At noon.")
    page = client.get("/", headers=FRENCH).text
    assert '<p class="notice" role="status" lang="en">At noon.</p>' in page


def test_a_notice_is_taken_away_in_one_language_or_in_all(
    client: Browser, runner: Operator
) -> None:
    runner.json("gate", "notice", "en", "At noon.", "fr", "À midi.")
    assert runner.json("gate", "notice", "en", "  At\n one. ")["notices"]["en"] == "At one."
    assert runner.json("gate", "notice", "--clear", "fr")["notices"] == {"en": "At one."}
    assert runner.json("gate", "notice", "--clear")["notices"] == {}
    assert "notice" not in client.get("/").text


@pytest.mark.parametrize(
    "words,status,sentence",
    [
        (["en", "x" * 301], 1, "300"),
        (["de", "Um zwölf."], 1, "en, fr"),
        (["en", " "], 1, "--clear"),
        (["en", "at \x07 noon"], 1, "plain text"),
        (["--clear", "de"], 1, "en, fr"),
        (["en"], 2, "language and the text"),
        ([], 2, "language and the text"),
    ],
)
def test_a_wrong_notice_is_refused(
    runner: Operator, words: list[str], status: int, sentence: str
) -> None:
    before = tables.everything()
    result = runner.run("gate", "notice", *words)
    assert result.exit_code == status
    assert sentence in result.stderr
    assert tables.everything() == before


def test_a_notice_may_be_of_three_hundred_characters(runner: Operator) -> None:
    assert len(runner.json("gate", "notice", "en", "é" * 300)["notices"]["en"]) == 300


# the others


def test_the_products_health_is_ignored_for_a_while_and_heeded_again(
    runner: Operator, clock: time_machine.Traveller
) -> None:
    shown = runner.json("gate", "ignore-health", "--for", "2h")
    assert shown["health_ignored_until"] == (datetime.now(UTC) + 2 * HOUR).isoformat()
    clock.shift(2 * HOUR)
    assert runner.json("gate", "show")["health_ignored_until"] is None
    until = (datetime.now(UTC) + 24 * HOUR).isoformat()
    assert runner.json("gate", "ignore-health", "--until", until)["health_ignored_until"] == until
    assert runner.json("gate", "ignore-health", "--stop")["health_ignored_until"] is None


@pytest.mark.parametrize(
    "words,status",
    [
        (["--for", "25h"], 1),
        (["--for", "1441m"], 1),
        (["--for", "0h"], 1),
        (["--for", "long"], 1),
        (["--until", "2001-01-01"], 1),
        (["--until", "2999-01-01"], 1),
        (["--until", "later"], 1),
        (["--for", "1h", "--stop"], 2),
        ([], 2),
    ],
)
def test_health_is_never_ignored_for_more_than_a_day(
    runner: Operator, words: list[str], status: int
) -> None:
    before = tables.everything()
    assert runner.run("gate", "ignore-health", *words).exit_code == status
    assert tables.everything() == before


def test_referral_is_a_switch(runner: Operator) -> None:
    assert runner.json("gate", "referral", "on")["referral"] is True
    assert runner.json("gate", "referral", "off")["referral"] is False


@pytest.mark.parametrize(
    "words",
    [
        ["joining", "closed"],
        ["hold", "invitation"],
        ["release", "invitation"],
        ["referral", "on"],
        ["notice", "en", "Soon."],
        ["ignore-health", "--for", "1h"],
        ["accept-bounces"],
        ["resume", "--release-mail"],
    ],
)
def test_a_switch_isnt_turned_over_another_operators_change(
    runner: Operator, words: list[str]
) -> None:
    seen = str(runner.json("gate", "show")["version"])
    runner.json("gate", "set", "--capacity", "10")
    assert runner.run("gate", *words, "--if-version", seen).exit_code == 1
    assert len(runner.json("gate", "history")) == 1
    runner.json("gate", *words, "--if-version", str(int(seen) + 1), "--reason", "as agreed")
    assert runner.json("gate", "history")[0]["reason"] == "as agreed"


def test_the_history_tells_the_switches_of_any_past_moment(
    runner: Operator, clock: time_machine.Traveller
) -> None:
    turned = [
        ["joining", "closed"],
        ["hold", "invitation", "act"],
        ["release", "act"],
        ["notice", "en", "Soon."],
        ["referral", "on"],
        ["ignore-health", "--for", "1h"],
        ["accept-bounces"],
        ["notice", "--clear"],
        ["joining", "open"],
    ]
    told = [("2001-01-01", _settings(runner))]
    for words in turned:
        runner.json("gate", *words)
        told.append((datetime.now(UTC).isoformat(), _settings(runner)))
        clock.shift(HOUR / 2)
    for moment, settings in told:
        assert runner.json("gate", "history", "--at", moment) == settings
    assert len({str(settings) for _, settings in told}) == len(told)


def _settings(runner: Operator) -> dict[str, object]:
    settings: dict[str, object] = runner.json("gate", "history", "--at", "2999-01-01")
    return settings


def test_what_is_unusual_is_told_with_every_change(runner: Operator) -> None:
    runner.run("gate", "joining", "closed")
    runner.run("gate", "hold", "invitation")
    said = runner.run("gate", "notice", "en", "Soon.").stdout
    for words in ("Joining is closed", "Mail is held: invitation", "Soon."):
        assert words in said
    shown = runner.run("gate", "show").stdout
    assert "closed" in shown
    assert "Soon." in shown
