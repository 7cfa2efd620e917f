"""Whether a scenario can be, as a whole: what each value alone doesn't show."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields

from waitlist.errors import ScenarioInvalid, ValueRefused
from waitlist.policy import hours, rules
from waitlist.rehearsal import arriving
from waitlist.rehearsal.scenario import MOST_STEPS, Action, Scenario


def checked(scenario: Scenario) -> Scenario:
    """The same scenario; `ScenarioInvalid` with the key that is impossible beside the others."""
    _check_time(scenario)
    names = [cohort.name for cohort in scenario.cohorts]
    if not names:
        raise ScenarioInvalid("cohorts is empty: a launch has at least one")
    if twice := {name for name in names if names.count(name) > 1}:
        raise ScenarioInvalid(f"cohorts: {', '.join(sorted(twice))} is there twice")
    for nth, cohort in enumerate(scenario.cohorts, 1):
        with _telling(f"cohorts[{nth}]"):
            hours.zone(cohort.zone)
            hours.parsed(cohort.hours or "09:00-17:00")
    for nth, rule in enumerate(scenario.rules, 1):
        _check_cohort(f"rules[{nth}]", rule.cohort, names)
        with _telling(f"rules[{nth}]"):
            rules.asking(country=rule.country, platform=rule.platform, code=rule.code)
    for nth, one in enumerate(scenario.arrivals, 1):
        _check_cohort(f"arrivals[{nth}]", arriving.cohort_of(one, scenario), names)
    for nth, action in enumerate(scenario.operator, 1):
        _check_action(f"operator[{nth}]", action, names, scenario)
    return scenario


@contextmanager
def _telling(where: str) -> Iterator[None]:
    """Say of what is refused where it stands."""
    try:
        yield
    except ValueRefused as error:
        raise ScenarioInvalid(f"{where}: {error}") from error


def nearest(name: str, known: Iterable[str]) -> str:
    """A question that names the known word which is most like this one, or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f". Did you mean {found[0]}?" if found else ""


def _check_time(scenario: Scenario) -> None:
    if scenario.step > scenario.duration:
        raise ScenarioInvalid("step is at most the duration, and ten thousand of them are plenty")
    if scenario.steps > MOST_STEPS:
        raise ScenarioInvalid(
            f"duration has {scenario.steps:,} times the step; {MOST_STEPS:,} are the most: "
            "make the step longer"
        )


def _check_action(where: str, action: Action, names: list[str], scenario: Scenario) -> None:
    if action.at >= scenario.duration:
        raise ScenarioInvalid(f"{where}.at is before the end, at {scenario.duration}")
    if all(getattr(action, one.name) is None for one in fields(action) if one.name != "at"):
        raise ScenarioInvalid(f"{where} does nothing: say what, such as rate = 3600")
    if action.over is not None and action.wave is None:
        raise ScenarioInvalid(f"{where}.over is of a wave: say how many people with wave = 100")
    if action.do in ("open", "close") and action.cohort is None:
        raise ScenarioInvalid(f"{where}.cohort is missing: which one does it {action.do}?")
    if scenario.product is None:
        for name in ("limit", "ignore_health"):
            if getattr(action, name) is not None:
                raise ScenarioInvalid(f"{where}.{name} is of a product: add [product]")
    if action.cohort is not None:
        _check_cohort(where, action.cohort, names)
        if action.wave is None and action.do not in ("open", "close"):
            raise ScenarioInvalid(f"{where}.cohort is of a wave, or of do = open or close")


def _check_cohort(where: str, name: str, names: list[str]) -> None:
    if name not in names:
        raise ScenarioInvalid(
            f"{where}.cohort {name!r} is none of {', '.join(names)}{nearest(name, names)}"
        )
