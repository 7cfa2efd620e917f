"""How many people come in each step."""

from __future__ import annotations

import numpy as np

from waitlist.policy import rules
from waitlist.policy.rules import Told
from waitlist.rehearsal.arrays import Numbers
from waitlist.rehearsal.scenario import HOUR, Arrivals, Recorded, Scenario, Steady, Surge

GENERAL = "general"


def expected(scenario: Scenario) -> Numbers:
    """How many people are expected to come: cohorts by steps."""
    names = [cohort.name for cohort in scenario.cohorts]
    found = np.zeros((len(names), scenario.steps))
    hours = (np.arange(scenario.steps) + 0.5) * (scenario.step / HOUR)
    for one in scenario.arrivals:
        nth = names.index(cohort_of(one, scenario))
        found[nth] += _an_hour(one, hours) * (scenario.step / HOUR)
    return found


def cohort_of(one: Arrivals, scenario: Scenario) -> str:
    """The name of the cohort that these people join: theirs, or by the rules."""
    if one.cohort is not None:
        return one.cohort
    told = Told(one.country, one.platform, one.code)
    asked = [
        rules.Rule(nth, rules.asking(country=rule.country, platform=rule.platform, code=rule.code))
        for nth, rule in enumerate(scenario.rules)
    ]
    nth = rules.cohort_of(rules.told(told.attributes()), asked)
    return GENERAL if nth is None else scenario.rules[nth].cohort


def _an_hour(one: Arrivals, hours: Numbers) -> Numbers:
    """How many an hour come, at these hours."""
    match one:
        case Steady():
            until = np.inf if one.until is None else one.until / HOUR
            return np.where((hours >= one.since / HOUR) & (hours < until), one.an_hour, 0.0)
        case Surge():
            since = hours - one.peak / HOUR
            pace = np.where(since < 0, one.rise / HOUR, -(one.decay / HOUR))
            return one.an_hour * np.exp(since / pace)
        case Recorded():
            return _recorded(one, hours)


def _recorded(one: Recorded, hours: Numbers) -> Numbers:
    which = np.floor((hours - one.since / HOUR) / (one.every / HOUR)).astype(np.int64)
    here = (which >= 0) & (which < len(one.people))
    return np.where(here, np.array(one.people)[which * here] / (one.every / HOUR), 0.0)
