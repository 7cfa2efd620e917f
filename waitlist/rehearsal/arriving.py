"""How many people come in each step."""

from __future__ import annotations

import numpy as np

from waitlist.rehearsal.arrays import Floats
from waitlist.rehearsal.scenario import HOUR, Arrivals, Recorded, Scenario, Steady, Surge


def expected(scenario: Scenario) -> Floats:
    """How many people are expected to come: cohorts by steps."""
    names = [cohort.name for cohort in scenario.cohorts]
    found = np.zeros((len(names), scenario.steps))
    hours = (np.arange(scenario.steps) + 0.5) * (scenario.step / HOUR)
    for one in scenario.arrivals:
        found[names.index(one.cohort)] += _an_hour(one, hours) * (scenario.step / HOUR)
    return found


def _an_hour(one: Arrivals, hours: Floats) -> Floats:
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


def _recorded(one: Recorded, hours: Floats) -> Floats:
    begins = np.array([at / HOUR for at, _ in one.counts])
    pace = np.array([people for _, people in one.counts]) / (one.every / HOUR)
    which = np.searchsorted(begins, hours, side="right") - 1
    here = (which >= 0) & (hours < begins[which] + one.every / HOUR)
    return np.where(here, pace[which], 0.0)
