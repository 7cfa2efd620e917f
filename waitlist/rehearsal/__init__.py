"""Rehearsal: a launch of up to ten million people, played in accelerated time.

    from waitlist.rehearsal import Cohort, Gate, Scenario, Steady, play

    scenario = Scenario(
        "two-days",
        duration=timedelta(days=2),
        cohorts=(Cohort("general"),),
        arrivals=(Steady(an_hour=500),),
        gate=Gate(capacity=10_000, rate=400),
    )
    played = play(scenario, seed=1)
    played.series["waiting"]  # an array: cohorts by steps; see `record.SERIES` for all of them
    played.total("admitted")  # of everyone, by step
    played.watched  # who was picked from the line: how many stood before them, and their wait

People are counted, never told apart: an array holds how many of those who came in a step are in
a state, and each step moves some of them on by chance. So ten million cost no more than ten.
What the gate decides is decided by `waitlist.policy`, by the very functions that the service
calls; nothing here decides anything. The same seed gives the same launch.

`scenario` has all that can be said of a launch, `reading` takes it from TOML, `engine` plays it,
`record` is what it leaves.
"""

from __future__ import annotations

from waitlist.rehearsal.engine import play
from waitlist.rehearsal.record import Played, Watched
from waitlist.rehearsal.scenario import (
    Action,
    Cohort,
    Completing,
    Confirming,
    Gate,
    Joining,
    Mail,
    Product,
    Recorded,
    Rule,
    Scenario,
    Silence,
    Steady,
    Surge,
)

__all__ = [
    "Action",
    "Cohort",
    "Completing",
    "Confirming",
    "Gate",
    "Joining",
    "Mail",
    "Played",
    "Product",
    "Recorded",
    "Rule",
    "Scenario",
    "Silence",
    "Steady",
    "Surge",
    "Watched",
    "play",
]
