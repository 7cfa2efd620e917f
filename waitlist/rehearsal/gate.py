"""The gate of a rehearsal: what an operator has set, and what each tick may admit.

Every decision is one of `waitlist.policy`; here is only what they are told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from waitlist.policy import pace, sharing
from waitlist.policy.pace import Budget
from waitlist.policy.sharing import Claim
from waitlist.rehearsal.scenario import Gate, Scenario

TICK = timedelta(seconds=1)


@dataclass
class CohortRow:
    """What the gate knows of a cohort."""

    weight: int
    quota: int | None
    open: bool = False
    seats_used: int = 0
    credit: float = 0.0

    def claim(self, waiting: int) -> Claim:
        """What it brings to the sharing of a budget."""
        room = None if self.quota is None else self.quota - self.seats_used
        return Claim(self.weight, waiting, self.credit, room)


@dataclass
class Controls:
    """The gate's row, and the cohorts'."""

    capacity: int
    rate: int
    paused: bool
    cohorts: list[CohortRow]
    seats_used: int = 0
    allowance: float = 0.0
    factor: float = 1.0  # of the product's health
    is_held: bool = False  # by it
    is_slowed: bool = False  # by bounces
    is_stopped: bool = False
    ticks: int = 1
    seconds: float = 1.0
    limit: str = "nobody"
    apart: float = 0.0  # seconds between two people, by the last ticks

    @classmethod
    def of(cls, scenario: Scenario) -> Controls:
        """The gate as the launch starts; it ticks each second, as the clock does."""
        gate: Gate = scenario.gate
        ticks = max(1, math.ceil(scenario.step / TICK))
        return cls(
            gate.capacity,
            gate.rate,
            gate.paused,
            [CohortRow(cohort.weight, cohort.quota) for cohort in scenario.cohorts],
            ticks=ticks,
            seconds=scenario.step.total_seconds() / ticks,
        )

    @property
    def rate_in_force(self) -> float:
        """People an hour: the rate that is set, slowed by the product's health and by bounces."""
        return pace.rate_in_force(
            self.rate, factor=self.factor, is_held=self.is_held, is_slowed=self.is_slowed
        )

    def tick(self, waiting: Mapping[int, int], mails: int) -> dict[int, int]:
        """How many of each open cohort come in by the ticks of a step.

        `mails` are those that can still go soon. The allowance grows and is used tick by tick, as
        nothing else decides how evenly people come; all other bounds are asked once.
        """
        come = 0 if self.paused or self.seats_used >= self.capacity else self._allowed()
        self.apart = self.ticks * self.seconds / max(1, come)
        budget = pace.tick_budget(
            paused=self.paused,
            is_stopped=self.is_stopped,
            is_held=self.is_held,
            free=self.capacity - self.seats_used,
            mails=mails,
            by_rate=come,
        )
        people = self._share(budget, waiting)
        unused = self.allowance + come - sum(people.values())
        self.allowance = pace.accrue(unused, self.rate_in_force, timedelta())  # as much as it holds
        return people

    def wave(self, asked: int, waiting: Mapping[int, int]) -> dict[int, int]:
        """How many of each of these cohorts come in by an operator's wave."""
        free = self.capacity - self.seats_used
        return self._share(pace.wave_budget(paused=self.paused, asked=asked, free=free), waiting)

    def give_back(self, cohort: int, seats: int) -> None:
        """So many seats of a cohort are free again."""
        self.seats_used -= seats
        self.cohorts[cohort].seats_used -= seats

    def _allowed(self) -> int:
        """How many the rate lets in, tick by tick, if nothing else bounds them."""
        come, rate, elapsed = 0, self.rate_in_force, timedelta(seconds=self.seconds)
        for _ in range(self.ticks):
            self.allowance = pace.accrue(self.allowance, rate, elapsed)
            people = pace.allowed(self.allowance)
            self.allowance = max(0.0, self.allowance - people)
            come += people
        return come

    def _share(self, budget: Budget, waiting: Mapping[int, int]) -> dict[int, int]:
        self.limit = budget.limit if any(waiting.values()) or not budget.people else "nobody"
        if self.limit == "rate" and self.rate_in_force < self.rate:
            self.limit = "slowed"
        if not budget.people:
            return {}
        claims = {key: self.cohorts[key].claim(people) for key, people in waiting.items()}
        shares = sharing.shares(budget.people, claims)
        for key, people in shares.people.items():
            self.cohorts[key].credit = shares.credit[key]
            self.cohorts[key].seats_used += people
        self.seats_used += sum(shares.people.values())
        return shares.people
