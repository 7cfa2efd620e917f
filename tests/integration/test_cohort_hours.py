"""Cohorts that keep to hours of the day, and times in the operators' own zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from flask import Flask

from tests import people, tables
from tests.conftest import MakeApp
from tests.people import ALICE
from tests.visitors import Operator
from waitlist import cohorts
from waitlist.admission import gate, preview, waves
from waitlist.extensions import db
from waitlist.models import Audit

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
PARIS = {"timezone": "Europe/Paris", "hours": "13:00-21:00"}  # 12:00 to 20:00 UTC
SECOND = timedelta(seconds=1)


def keep_to(name: str, now: datetime, **values: Any) -> None:
    cohorts.change(name, **values, actor="test", now=now)


def tick_at(at: datetime) -> set[str]:
    """Of which cohorts a tick admits people at that time."""
    return set(waves.tick(now=at).by_cohort)


@pytest.fixture
def line(app: Flask) -> datetime:
    """People in `general`, which keeps to Paris' hours, and an open gate."""
    people.crowd(9, now=NOON)
    people.open_gate(100, 3_600, now=NOON)
    waves.tick(now=NOON - timedelta(hours=2))
    keep_to("general", NOON, **PARIS)
    return NOON


def test_ticks_admit_nobody_of_a_cohort_outside_its_hours(line: datetime) -> None:
    assert tick_at(line - SECOND) == set()
    assert tick_at(line) == {"general"}
    assert tick_at(line + timedelta(hours=8)) == set()
    keep_to("general", line, hours=None)
    assert tick_at(line + timedelta(hours=9)) == {"general"}


def test_others_have_the_seats_meanwhile(line: datetime) -> None:
    people.add_cohort("beta", now=line - timedelta(days=1))
    people.crowd(2, now=line, cohort="beta", name="b")
    assert tick_at(line - timedelta(hours=1)) == {"beta"}


def test_hours_alone_are_named_as_what_keeps_people_back(line: datetime) -> None:
    evening = line + timedelta(hours=8)
    assert gate.show(now=line).limit == "rate"
    shown = gate.show(now=evening)
    assert (shown.limit, shown.waiting_open) == ("hours", 9)
    assert "hours" in gate.LIMITS["hours"]
    people.add_cohort("beta", now=line)
    assert gate.show(now=evening).limit == "hours"
    people.crowd(1, now=line, cohort="beta", name="b")
    assert gate.show(now=evening).limit == "rate"
    gate.change(actor="test", now=line, capacity=0)
    assert gate.show(now=evening).limit == "capacity"


def test_a_cohort_that_isnt_open_waits_for_nothing_but_its_date(line: datetime) -> None:
    keep_to("general", line, opens_at=None)
    assert gate.show(now=line + timedelta(hours=8)).limit == "nobody"


@pytest.mark.parametrize("cohort", [None, "general"])
def test_an_operators_wave_isnt_bound_by_hours(line: datetime, cohort: str | None) -> None:
    night = line + timedelta(hours=12)
    assert len(preview.of_next(2, cohort=cohort, now=night).people) == 2
    assert waves.admit(2, cohort=cohort, actor="test", now=night).admitted == 2


def test_a_cohort_opens_by_itself_at_its_date(app: Flask) -> None:
    people.crowd(2, now=NOON)
    waves.tick(now=NOON)
    keep_to("general", NOON, opens_at=NOON + timedelta(hours=1))
    people.open_gate(100, 3_600, now=NOON)
    assert tick_at(NOON + timedelta(minutes=59)) == set()
    assert tick_at(NOON + timedelta(hours=1)) == {"general"}


def test_hours_are_set_and_taken_away_and_the_audit_knows(runner: Operator) -> None:
    words = ("--timezone", "Europe/Paris", "--hours", "09:00-21:00")
    (added,) = runner.json("cohort", "add", "fr", *words)
    assert (added["timezone"], added["hours"]) == ("Europe/Paris", "09:00-21:00")
    assert "09:00-21:00 Europe/Paris" in runner.run("cohort", "list").stdout
    (changed,) = runner.json("cohort", "set", "fr", "--any-hour")
    assert (changed["timezone"], changed["hours"], changed["within_hours"]) == (
        "Europe/Paris",
        None,
        True,
    )
    last = db.session.query(Audit).order_by(Audit.id.desc()).first()
    assert last is not None
    assert (last.before["hours"], last.after["hours"]) == ("09:00-21:00", None)


def test_outside_its_hours_a_cohort_is_listed_as_waiting_for_them(
    runner: Operator, clock: time_machine.Traveller
) -> None:
    runner.run("cohort", "set", "general", "--hours", "13:00-14:00")
    assert runner.json("cohort", "list")[0]["within_hours"] is False
    assert "13:00-14:00 UTC (not now)" in runner.run("cohort", "list").stdout
    clock.shift(timedelta(hours=1))
    assert "13:00-14:00 UTC  " in runner.run("cohort", "list").stdout


@pytest.mark.parametrize(
    "words,status,sentence",
    [
        (["--hours", "9-21"], 1, "such as 09:00-21:00"),
        (["--hours", "09:00-09:00"], 1, "--any-hour"),
        (["--timezone", "Europe/Pariss"], 1, "Did you mean Europe/Paris?"),
        (["--hours", "09:00-21:00", "--any-hour"], 2, "not both"),
        (["--quota", "1", "--no-quota"], 2, "not both"),
        (["--opens", "2027-02-30"], 1, "now and never"),
        (["--opens", "0001-01-01T00:00+14:00"], 1, "now and never"),
    ],
)
def test_hours_and_dates_that_make_no_sense_are_refused(
    runner: Operator, words: list[str], status: int, sentence: str
) -> None:
    before = tables.everything()
    for command in (["add", "fr"], ["set", "general"]):
        result = runner.run("cohort", *command, *words)
        assert (result.exit_code, result.stdout) == (status, "")
        assert sentence in result.stderr
    assert tables.everything() == before


@pytest.fixture
def in_paris(make_app: MakeApp, app: Flask, clock: time_machine.Traveller) -> Operator:
    """An operator in Paris, on the first of March at noon UTC."""
    return Operator(make_app(timezone=ZoneInfo("Europe/Paris")))


@pytest.mark.parametrize(
    "words,opens_at",
    [
        ("2027-07-01T15:00", "2027-07-01T13:00:00+00:00"),
        ("2027-12-01", "2027-11-30T23:00:00+00:00"),
        ("2027-07-01T15:00Z", "2027-07-01T15:00:00+00:00"),
        ("2027-07-01T15:00-05:00", "2027-07-01T20:00:00+00:00"),
    ],
)
def test_a_date_without_a_zone_is_read_in_the_operators(
    in_paris: Operator, words: str, opens_at: str
) -> None:
    (added,) = in_paris.json("cohort", "add", "fr", "--opens", words)
    assert added["opens_at"] == opens_at
    assert added["timezone"] == "Europe/Paris"


def test_an_opening_is_shown_in_the_operators_zone_with_its_name(in_paris: Operator) -> None:
    for words in (
        ["cohort", "add", "fr", "--opens", "2027-07-01T13:00Z"],
        ["cohort", "set", "fr", "--weight", "2"],
        ["cohort", "list"],
    ):
        assert "2027-07-01 15:00:00 Europe/Paris (to come)" in in_paris.run(*words).stdout


@pytest.mark.parametrize("night", ["2027-03-28T02:30", "2027-10-31T02:30"])
def test_a_time_at_which_the_clocks_are_changed_is_asked_for_again(
    in_paris: Operator, night: str
) -> None:
    result = in_paris.run("cohort", "set", "general", "--opens", night)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the clocks of Europe/Paris are changed" in result.stderr
    assert in_paris.run("cohort", "set", "general", "--opens", f"{night}+01:00").exit_code == 0


def test_what_is_past_in_the_operators_zone_is_refused(in_paris: Operator) -> None:
    result = in_paris.run("cohort", "set", "general", "--opens", "2027-03-01T12:59")
    assert "is past: now it is 2027-03-01 13:00:00 Europe/Paris" in result.stderr
    assert in_paris.run("cohort", "set", "general", "--opens", "2027-03-01T13:01").exit_code == 0


def test_the_gates_history_is_asked_and_told_in_the_operators_zone(in_paris: Operator) -> None:
    in_paris.run("gate", "set", "--capacity", "10")
    assert "2027-03-01 13:00:00 Europe/Paris" in in_paris.run("gate", "history").stdout
    for at, capacity in (("2027-03-01T12:59", 0), ("2027-03-01T13:00", 10)):
        assert in_paris.json("gate", "history", "--at", at)["capacity"] == capacity
    assert in_paris.json("gate", "history")[0]["at"] == "2027-03-01T12:00:00+00:00"


def test_a_persons_story_is_told_in_the_operators_zone(in_paris: Operator, now: datetime) -> None:
    people.wait_in_line(ALICE, now=now)
    assert "2027-03-01 13:00:00 Europe/Paris" in in_paris.run("person", "show", ALICE).stdout
