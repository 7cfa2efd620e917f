"""Scenarios from TOML: what is right is read, what is wrong is refused by its key's name."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from waitlist.errors import ScenarioInvalid
from waitlist.rehearsal import Cohort, Recorded, Scenario, Steady, Surge, play
from waitlist.rehearsal.arriving import expected
from waitlist.rehearsal.reading import SHIPPED, find, read
from waitlist.rehearsal.summary import summary

HOUR = timedelta(hours=1)
SHORT = 'duration = "6 h"\n'
TWO = '[[cohorts]]\nname = "general"\n[[cohorts]]\nname = "beta"\n'
STEADY = '[[arrivals]]\nkind = "steady"\nan_hour = 10\n'
RULED = '[[rules]]\ncohort = "beta"\ncountry = "FR"\n'


def _refusal(toml: str, folder: Path = Path()) -> str:
    with pytest.raises(ScenarioInvalid) as refused:
        read(toml.encode(), "mine", folder=folder)
    return str(refused.value)


@pytest.mark.parametrize("name", ["calm-beta", "launch-day", "roll-out"])
def test_the_shipped_scenarios_can_be_read(name: str) -> None:
    scenario = find(name)
    assert scenario.name == name
    assert scenario.title


def test_all_that_is_shipped_is_known_by_its_name() -> None:
    assert {path.stem for path in SHIPPED.iterdir()} == {"calm-beta", "launch-day", "roll-out"}


def test_launch_day_brings_a_million_and_the_roll_out_ten() -> None:
    people = {
        name: expected(scenario).sum() + sum(cohort.imported for cohort in scenario.cohorts)
        for name in ("launch-day", "roll-out")
        for scenario in [find(name)]
    }
    assert people["launch-day"] > 1_500_000
    assert people["roll-out"] == pytest.approx(10_000_000, rel=0.05)


def test_what_isnt_said_is_as_usual() -> None:
    assert read(SHORT.encode(), "mine") == Scenario("mine", duration=6 * HOUR)


def test_times_are_told_in_words() -> None:
    scenario = read(b'duration = "1 d 6 h 30 min"\nstep = "0.5 h"', "mine")
    assert scenario.duration == timedelta(days=1, hours=6, minutes=30)
    assert scenario.step == timedelta(minutes=30)


def test_a_cohort_may_open_never() -> None:
    cohorts = '[[cohorts]]\nname = "general"\nopens = "never"'
    assert read((SHORT + cohorts).encode(), "mine").cohorts == (Cohort("general", opens=None),)


@pytest.mark.parametrize(
    "toml,sentence",
    [
        ("", "duration is missing: it is a time above 0"),
        ("duration = 6", "duration is a time above 0, such as \"90 s\", \"20 min\""),
        ('duration = "6 weeks"', "duration is a time above 0"),
        ('duration = "-6 h"', "duration is a time above 0"),
        ('duration = "0 h"', "duration is a time above 0"),
        (SHORT + 'durations = "6 h"', "durations is unknown; there are: name, duration"),
        (SHORT + 'durations = "6 h"', "Did you mean duration?"),
        (SHORT + 'step = "7 h"', "step is at most the duration"),
        ('duration = "300 d"\nstep = "1 s"', "make the step longer"),
        (SHORT + "seed = 1.5", "seed is a whole number from 0"),
        (SHORT + "seed = true", "seed is a whole number from 0"),
        (SHORT + "starts = 3", "starts is a date with its time, not 3"),
        (SHORT + "gate = 3", "gate must be a table, not 3"),
        (SHORT + "[gate]\ncapacty = 3", "gate.capacty is unknown"),
        (SHORT + "[gate]\ncapacty = 3", "Did you mean capacity?"),
        (SHORT + "[gate]\ncapacity = -1", "gate.capacity is a whole number from 0 to 100,000,000"),
        (SHORT + "[gate]\npaused = 1", "gate.paused is true or false, not 1"),
        (SHORT + "[completing]\nshare = 1.2", "completing.share is a share from 0 to 1, not 1.2"),
        (SHORT + "[confirming]\nsigma = 0", "confirming.sigma is a number above 0"),
        (SHORT + "[product]\n", "product.limit is missing: it is a whole number from 1"),
        (SHORT + "cohorts = []", "a launch has at least one"),
        (SHORT + "[cohorts]\nname = 'a'", "cohorts is a list: write [[cohorts]]"),
        (SHORT + TWO + '[[cohorts]]\nname = "beta"', "cohorts: beta is there twice"),
        (SHORT + '[[cohorts]]\nname = "a"\nweight = 0', "cohorts[1].weight is a whole number"),
        (SHORT + '[[cohorts]]\nname = "a"\nhours = "9-5"', "cohorts[1]: hours are such as"),
        (SHORT + '[[cohorts]]\nname = "a"\nzone = "Paris"', "Did you mean Europe/Paris?"),
        (SHORT + '[[arrivals]]\nkind = "stedy"', "arrivals[1].kind is steady or surge or recorded"),
        (SHORT + '[[arrivals]]\nkind = "stedy"', "Did you mean steady?"),
        (SHORT + STEADY + 'cohort = "genral"', "Did you mean general?"),
        (SHORT + STEADY + STEADY + "peak = 1", "arrivals[2].peak is unknown"),
        (SHORT + TWO + '[[rules]]\ncohort = "beta"', "rules[1]: a rule asks for something"),
        (SHORT + TWO + RULED.replace("FR", "France"), "Did you mean FR?"),
        (SHORT + '[[operator]]\nat = "7 h"\nrate = 1', "operator[1].at is before the end"),
        (SHORT + '[[operator]]\nat = "1 h"', "operator[1] does nothing"),
        (SHORT + '[[operator]]\nat = "1 h"\ndo = "stop"', "operator[1].do is pause or resume"),
        (SHORT + '[[operator]]\nat = "1 h"\ndo = "open"', "operator[1].cohort is missing"),
        (SHORT + '[[operator]]\nat = "1 h"\nover = "1 h"', "operator[1].over is of a wave"),
        (SHORT + '[[operator]]\nat = "1 h"\nlimit = 5', "operator[1].limit is of a product"),
        (SHORT + '[[operator]]\nat = "1 h"\nrate = 1\ncohort = "x"', "is none of general"),
        (SHORT + '[[operator]]\nat = "1 h"\nrate = 1\ncohort = "general"', "is of a wave"),
        ("duration = ", "mine is no TOML"),
    ],
)  # fmt: skip
def test_what_cant_be_is_refused_with_the_key_and_what_is_allowed(toml: str, sentence: str) -> None:
    assert sentence in _refusal(toml)


def test_an_unknown_name_is_told_with_those_there_are_and_the_nearest() -> None:
    with pytest.raises(
        ScenarioInvalid, match=r"calm-beta, launch-day, roll-out\. Did you mean launch-day"
    ):
        find("lanch-day")


def test_arrivals_are_steady_surge_or_as_they_were_recorded(tmp_path: Path) -> None:
    (tmp_path / "past.csv").write_text("hour,people\n0,100\n2,50\n")
    recorded = '[[arrivals]]\nkind = "recorded"\nfile = "past.csv"\n'
    scenario = read((SHORT + recorded).encode(), "mine", folder=tmp_path)
    assert scenario.arrivals == (Recorded(people=(100, 0, 50), every=HOUR),)
    by_hour = expected(scenario)[0].reshape(6, 60).sum(axis=1)
    assert by_hour == pytest.approx([100, 0, 50, 0, 0, 0])


def test_a_surge_is_highest_at_its_peak_and_brings_what_is_foretold() -> None:
    surge = Surge(an_hour=6_000, peak=6 * HOUR, rise=HOUR / 2, decay=2 * HOUR)
    scenario = Scenario("mine", duration=timedelta(days=1), arrivals=(surge,))
    people = expected(scenario)[0]
    assert abs(np.argmax(people) - 6 * 60) <= 1
    assert people.sum() == pytest.approx(6_000 * 2.5, rel=0.01)


def test_steady_arrivals_keep_to_their_time() -> None:
    steady = Steady(an_hour=60, since=HOUR, until=3 * HOUR)
    people = expected(Scenario("mine", duration=6 * HOUR, arrivals=(steady,)))[0]
    assert people.sum() == pytest.approx(120)
    assert people[:60].sum() == people[180:].sum() == 0


def test_newcomers_join_the_cohort_that_the_rules_find() -> None:
    told = SHORT + TWO + RULED + STEADY + 'country = "FR"\n' + STEADY + 'country = "DE"\n'
    scenario = read(told.encode(), "mine")
    assert expected(scenario).sum(axis=1) == pytest.approx([60, 60])


@pytest.mark.parametrize(
    "content,sentence",
    [
        ("day,people\n", "its first row is minute,people or hour,people"),
        ("", "its first row is minute,people or hour,people"),
        ("hour,people\n0,many\n", "row 2: times rise from 0"),
        ("hour,people\n3,1\n3,1\n", "row 3: times rise from 0"),
        ("hour,people\n3\n", "can't be read"),
    ],
)
def test_a_record_that_isnt_one_is_refused_with_its_row(
    tmp_path: Path, content: str, sentence: str
) -> None:
    (tmp_path / "past.csv").write_text(content)
    recorded = '[[arrivals]]\nkind = "recorded"\nfile = "past.csv"\n'
    assert sentence in _refusal(SHORT + recorded, tmp_path)


def test_a_record_that_isnt_there_is_told_with_its_path(tmp_path: Path) -> None:
    recorded = '[[arrivals]]\nkind = "recorded"\nfile = "past.csv"\n'
    assert "past.csv can't be read" in _refusal(SHORT + recorded, tmp_path)


@pytest.mark.parametrize("name", ["calm-beta", "launch-day"])
def test_what_is_shipped_keeps_what_the_gate_promises(name: str) -> None:
    """P3; and the margins of the loop and of the estimates."""
    found = summary(play(find(name)))
    assert found["seats_over_capacity"] == 0
    assert found["load_peak_over_limit"] <= 0.1
    assert found["capacity_use"] >= 0.5
    assert found["estimates"] >= 200
    assert 0.75 <= found["estimate_coverage"] <= 0.9
