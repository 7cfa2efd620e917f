"""What a rehearsal leaves: how many were where at the end of each step, and who was watched."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np

from waitlist.rehearsal.arrays import Counts, Numbers
from waitlist.rehearsal.scenario import Scenario

# Cohorts by steps. What happened in the step, then who stood where at its end.
FLOWS = ("came", "refused", "joined", "confirmed", "admitted", "registered", "expired")
STANDING = (
    "retrying",  # turned away, and their page tries again
    "turned_away",  # for good
    "unasked",  # joined, the confirmation's mail still to go
    "pending",  # mailed, not confirmed
    "unconfirmed",  # not in time
    "waiting",
    "left",
    "unmailed",  # admitted, the invitation still to go: the seat is held
    "invited",  # mailed, the seat is held
    "in",  # registered so far
    "lapsed",  # invited, and never came
    "bounced",
)
# By steps.
GATE = ("capacity", "rate", "factor", "load", "p95_ms", "mails", "mails_owed", "limit")
LIMITS = ("nobody", "rate", "capacity", "mail", "paused", "health", "bounces", "slowed")
SERIES = (*FLOWS, *STANDING, *GATE, "wait")


@dataclass
class Watched:
    """Somebody of the line: when they were picked, and how many stood before them. Seconds."""

    cohort: int
    at: float
    ahead: int
    within: int  # who stand before them in their slot, as of now
    settings: int  # how often the operator had changed something
    admitted_at: float | None = None
    left: bool = False
    estimate: tuple[float, float] | None = None  # in seconds: the range that was told
    foretold: float = 0.0  # see `policy.wait.Range`
    settings_changed: bool = False

    @property
    def off(self) -> int:
        """-1 if the wait was less than the range that was told, 1 if more."""
        if self.estimate is None or self.waited is None:
            return 0
        low, high = self.estimate
        return int(self.waited > high) - int(self.waited < low)

    @property
    def was_right(self) -> bool:
        """Whether the wait lay in the range that was told."""
        return self.estimate is not None and self.waited is not None and not self.off

    @property
    def waited(self) -> float | None:
        """Seconds from when they were picked to their admission."""
        return None if self.admitted_at is None else self.admitted_at - self.at


@dataclass
class Played:
    """A launch that was played. See `SERIES` for the names."""

    scenario: Scenario
    seed: int
    series: dict[str, Any]
    watched: list[Watched] = field(default_factory=list)
    waits: Counts = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # by steps waited
    changed_at: list[float] = field(default_factory=list)  # when the operator changed something
    seats_over_capacity: int = 0  # the most seats used beyond capacity at an admission

    @classmethod
    def empty(cls, scenario: Scenario, seed: int) -> Played:
        """Before anything happened."""
        steps, cohorts = scenario.steps, len(scenario.cohorts)
        by_cohort = (*FLOWS, *STANDING)
        series: dict[str, Any] = {
            name: np.zeros((cohorts, steps), dtype=np.int64) for name in by_cohort
        }
        series |= {name: np.zeros(steps) for name in GATE}
        series["wait"] = np.full((cohorts, steps), np.nan)  # mean of those admitted, in seconds
        return cls(scenario, seed, series, waits=np.zeros(steps + 1, dtype=np.int64))

    @property
    def hours(self) -> Numbers:
        """The end of each step, in hours since the start."""
        step = self.scenario.step / timedelta(hours=1)
        return np.arange(1, self.scenario.steps + 1) * step

    def total(self, name: str) -> Counts:
        """A series of everyone, by step."""
        values: Counts = self.series[name]
        return values.sum(axis=0) if values.ndim == 2 else values
