"""What happens to the gate at its time: openings, and what the operator does."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from waitlist.policy import hours, waves
from waitlist.policy.waves import Plan
from waitlist.rehearsal.gate import Controls
from waitlist.rehearsal.post import Post
from waitlist.rehearsal.product import Serving
from waitlist.rehearsal.scenario import Action, Scenario
from waitlist.rehearsal.steering import Steering

SETTINGS = ("pause", "resume", "open", "close")  # what an estimate can't foresee


@dataclass
class Wave:
    """A wave by hand, and how far it is. `cohort` None: of all that are open."""

    plan: Plan
    cohort: int | None
    admitted: int = 0

    def due(self, now: datetime) -> int:
        """How many more should come in now."""
        self.plan = waves.anchored(self.plan, self.admitted, now)
        return waves.due(self.plan, self.admitted, now)


class Operating:
    """The operator of a rehearsal."""

    def __init__(
        self,
        scenario: Scenario,
        gate: Controls,
        post: Post,
        serving: Serving | None,
        steering: Steering | None,
    ) -> None:
        self.gate, self.post, self.serving, self.steering = gate, post, serving, steering
        self.starts = scenario.starts
        self.names = [cohort.name for cohort in scenario.cohorts]
        self.cohorts = scenario.cohorts
        self.opens = [cohort.opens for cohort in scenario.cohorts]
        self.actions = deque(sorted(scenario.operator, key=lambda action: action.at))
        self.waves: list[Wave] = []
        self.joining = "open"
        self.changed_at: list[float] = []

    def act(self, at: timedelta) -> bool:
        """Do what is due; whether the operator changed a setting."""
        before = len(self.changed_at)
        self.waves = [wave for wave in self.waves if wave.admitted < wave.plan.asked]
        while self.actions and self.actions[0].at <= at:
            self._do(self.actions.popleft(), at)
        for cohort, opens, row in zip(self.cohorts, self.opens, self.gate.cohorts, strict=True):
            within = hours.is_within(cohort.hours, cohort.zone, self.starts + at)
            row.open = within and opens is not None and opens <= at
        return len(self.changed_at) > before

    def _do(self, action: Action, at: timedelta) -> None:
        if action.capacity is not None:
            self.gate.capacity = action.capacity
        if action.rate is not None:
            self.gate.rate = action.rate
        if action.limit is not None and self.serving:
            self.serving.limit = action.limit
        if action.ignore_health is not None and self.steering:
            self.steering.ignored_until = self.starts + at + action.ignore_health
        if action.joining is not None:
            self.joining = action.joining
        if action.wave is not None:
            cohort = None if action.cohort is None else self.names.index(action.cohort)
            plan = Plan(action.wave, self.starts + at, action.over or timedelta())
            self.waves.append(Wave(plan, cohort))
        match action.do:
            case "pause" | "resume":
                self.gate.paused = action.do == "pause"
            case "open" | "close":
                cohort = self.names.index(action.cohort or "general")
                self.opens[cohort] = at if action.do == "open" else None
            case "accept-bounces":
                self.post.forgive()
            case "halt":
                self.waves.clear()
        settings = (action.capacity, action.rate, action.do if action.do in SETTINGS else None)
        if any(one is not None for one in settings):
            self.changed_at.append(at.total_seconds())
