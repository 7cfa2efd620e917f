"""When too many meet an error of ours at the last step, the gate slows by itself, and recovers."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from flask import Flask
from structlog.testing import capture_logs

from tests import people
from tests.conftest import Deliver, MakeApp
from tests.visitors import Browser, Operator
from waitlist import lately, leasing, links, outlook, postage
from waitlist.admission import gate, laststep, waves
from waitlist.extensions import db
from waitlist.models import Gate
from waitlist.onboarding import failures
from waitlist.policy import bounces
from waitlist.policy import laststep as policy

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
BEGINS = ("the last step fails: the gate goes at a quarter", "warning")
ENDS = ("the last step works again: the gate goes at its pace", "warning")
NOTHING = failures.Unanswered()

Fail = Callable[..., None]


@pytest.fixture
def tokens(app: Flask, now: datetime, deliver: Deliver) -> list[str]:
    """The links of thirty people who are invited; the gate is open, at 3,600 an hour."""
    people.crowd(30, now=now, name="invited")
    people.admit(30, now=now)
    deliver(now)
    people.open_gate(10_000, 3_600, now=now)
    found = [
        links.invitation_token(people.invitation_of(people.find(f"invited{number}@example.org")))
        for number in range(30)
    ]
    db.session.rollback()
    return found


def _fail(tokens: list[str], kind: str, *, now: datetime) -> None:
    for token in tokens:
        failures.record(token, kind, via="form", unanswered=NOTHING, now=now)
    failures.tend(now=now)
    lately.forget("last step")


def _watch(*, now: datetime) -> gate.GateView:
    laststep.watch(now=now)
    found = gate.show(now=now)
    db.session.rollback()
    return found


def test_few_who_fail_change_nothing(tokens: list[str], now: datetime) -> None:
    _fail(tokens[:19], "unavailable", now=now)
    shown = _watch(now=now)
    assert (shown.last_step.alarm_since, shown.rate_in_force) == (None, 3_600)
    assert (shown.last_step.people, shown.last_step.failed) == (19, 19)


def test_mistakes_of_those_who_type_are_no_alarm(tokens: list[str], now: datetime) -> None:
    _fail(tokens, "fields-invalid:password", now=now)
    shown = _watch(now=now)
    assert (shown.last_step.alarm_since, shown.last_step.people) == (None, 30)
    assert shown.last_step.failed == 0


def test_one_person_who_hammers_is_one(tokens: list[str], now: datetime) -> None:
    for minute in range(9):
        lately.forget("failed tries")
        for _ in range(failures.MOST_A_MINUTE):
            _fail(tokens[:1], "too-many", now=now + minute * MINUTE)
    shown = _watch(now=now + 9 * MINUTE)
    assert (shown.last_step.people, shown.last_step.failed) == (1, 1)
    assert shown.last_step.alarm_since is None


def test_while_too_many_fail_the_gate_goes_at_a_quarter_and_then_as_before(
    tokens: list[str], now: datetime
) -> None:
    people.crowd(3, now=now, name="waits")
    waves.tick(now=now)
    _fail(tokens, "unavailable", now=now)
    with capture_logs() as logged:
        shown = _watch(now=now)
        _watch(now=now + SECOND)
    assert [(one["event"], one["log_level"]) for one in logged] == [BEGINS]
    assert shown.last_step.alarm_since == now.isoformat()
    assert (shown.limit, shown.rate_in_force) == ("last-step", 900)
    assert [waves.tick(now=now + n * SECOND).admitted for n in range(1, 9)].count(1) in (1, 2)
    with capture_logs() as logged:
        shown = _watch(now=now + policy.WINDOW + SECOND)
        _watch(now=now + policy.WINDOW + MINUTE)
    assert [(one["event"], one["log_level"]) for one in logged] == [ENDS]
    assert (shown.last_step.alarm_since, shown.rate_in_force) == (None, 3_600)
    assert gate.verify() == {}


def test_gate_show_says_what_limits_it_and_by_which_numbers(
    tokens: list[str], now: datetime, runner: Operator
) -> None:
    people.crowd(3, now=now, name="waits")
    waves.tick(now=now)
    moment = datetime.now(now.tzinfo)
    _fail(tokens[:25], "no-answer", now=moment)
    laststep.watch(now=moment)
    words = runner.run("gate", "show").stdout
    assert re.search(r"limited by\s+last-step: ", words)
    assert "25 of the last 25 people met an error of ours (5% are too many)" in words
    assert "flask invitation stuck" in words
    assert runner.json("gate", "show")["last_step"]["failed"] == 25


def test_while_it_alarms_invitations_go_at_a_quarter_and_estimates_know(
    tokens: list[str], now: datetime
) -> None:
    waiting = people.wait_in_line("waits@example.org", now=now)
    people.crowd(200, now=now, name="before")
    people.crowd(1, now=now, name="last")
    told = outlook.range_of(waiting.cohort_id, 150, now=now)
    _fail(tokens, "unexpected", now=now)
    laststep.watch(now=now)
    mail = postage.read(now=now)
    db.session.rollback()
    assert (mail.pace.cost, mail.is_alarmed, mail.many_bounce) == (bounces.SLOWED, True, False)
    outlook.forget()
    slower = outlook.range_of(waiting.cohort_id, 150, now=now)
    assert told is not None
    assert slower is not None
    assert slower.high > told.high


def test_who_is_invited_finishes_all_the_same(tokens: list[str], now: datetime) -> None:
    """P11."""
    _fail(tokens, "unavailable", now=now)
    laststep.watch(now=now)
    entry = people.find("invited0@example.org")
    assert people.register(entry, "ada", now=now).handle == "ada"
    assert leasing.is_due(now=now)
    db.session.rollback()


def test_who_got_through_counts_among_those_who_tried(tokens: list[str], now: datetime) -> None:
    for number in range(4):
        entry = people.find(f"invited{number}@example.org")
        people.register(entry, f"person_{number}", now=now)
    _fail(tokens[:2], "unavailable", now=now)
    tries = laststep.seen(now=now)
    db.session.rollback()
    assert tries == (4, 2)


def test_of_very_many_only_the_last_are_looked_at(
    tokens: list[str], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(laststep, "MOST", 10)
    for number, token in enumerate(tokens):
        _fail([token], "unavailable", now=now + number * SECOND)
    tries = laststep.seen(now=now + MINUTE)
    db.session.rollback()
    assert tries == (10, 10)


def test_the_setting_moves_the_limit(make_app: MakeApp, tokens: list[str], now: datetime) -> None:
    _fail(tokens[:6], "unavailable", now=now)
    _fail(tokens[6:], "handle-taken", now=now)
    patient = make_app(last_step_alarm=50.0)
    with patient.app_context():
        laststep.watch(now=now)
        assert db.session.get_one(Gate, 1).last_step_alarm_at is None
        db.session.rollback()
    assert _watch(now=now).last_step.alarm_since is not None


def test_the_metrics_tell_kinds_share_and_alarm(
    client: Browser, tokens: list[str], now: datetime
) -> None:
    moment = datetime.now(now.tzinfo)
    _fail(tokens[:24], "unavailable", now=moment)
    _fail(tokens[24:], "fields-invalid:password", now=moment)
    laststep.watch(now=moment)
    figures = client.get("/metrics").text
    assert 'waitlist_last_step_failures{kind="unavailable"} 24.0' in figures
    assert 'waitlist_last_step_failures{kind="fields-invalid:password"} 6.0' in figures
    assert "waitlist_last_step_failing_ratio 0.8" in figures
    assert "waitlist_last_step_alarm 1.0" in figures
