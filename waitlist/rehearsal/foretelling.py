"""What those who are watched are told of their wait, and what is learned from how it came out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from waitlist.policy import forecast, survival, wait
from waitlist.policy.calibration import PRIOR, Sample, learn
from waitlist.policy.deadlines import GRACE
from waitlist.policy.forecast import HOUR, Contender, Gate
from waitlist.policy.survival import Span
from waitlist.policy.wait import Outlook
from waitlist.rehearsal.arrays import Counts
from waitlist.rehearsal.asked import Moved
from waitlist.rehearsal.record import Watched

if TYPE_CHECKING:
    from waitlist.rehearsal.engine import Launch

LATELY = 3 * HOUR
LEARN_AFTER = 10  # more who were let in
KEPT = 1_000  # of those who were let in, the latest
PRIOR_WAITS = 1_000 * HOUR  # seen of people of whom nobody left


class Foretelling:
    """The clock's part: it tells a range to whoever is picked, and learns when they are let in."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        steps = launch.scenario.steps
        self.seconds = launch.scenario.step.total_seconds()
        self.hours = int(launch.scenario.completing.within.total_seconds() // HOUR) + 1
        self.finished = np.zeros(self.hours, dtype=np.int64)
        self.gone = np.zeros(self.hours, dtype=np.int64)
        self.by_ticks = np.zeros(steps)  # people let in
        self.to_front = np.zeros(steps)
        self.spread, self.learned = PRIOR, 0

    def finish(self, finished: Moved) -> None:
        """So many finished, so long after they were asked."""
        hours = np.minimum(finished.age * self.seconds // HOUR, self.hours - 1).astype(int)
        np.add.at(self.finished, hours, finished.people)

    def tell(self, one: Watched, step: int) -> None:
        """Tell this person, who was picked in this step, a range."""
        told = wait.estimate(one.ahead, self.outlook(one.cohort, step))
        if told is not None:
            one.estimate = told[:3]
            one.foretold = told.foretold

    def outlook(self, cohort: int, step: int) -> Outlook:
        """What is known of a cohort's future in this step."""
        told = [one for one in self.launch.played.watched if one.estimate]
        self._learn(told, step)
        contenders = self._contenders(step)
        own = contenders.pop(cohort)
        others = tuple(one for one in contenders if one.spans)
        return Outlook(self._gate(told, step), own, others, self.spread)

    def _learn(self, told: Sequence[Watched], step: int) -> None:
        changed = self.launch.operating.changed_at
        over = [one for one in told if one.admitted_at is not None]
        if len(over) < self.learned + LEARN_AFTER and step % 12:
            return
        self.learned = len(over)
        now = step * self.seconds
        over.sort(key=lambda one: one.admitted_at or 0)
        same = len(changed)
        samples = [
            Sample(
                one.foretold,
                self._open(one, one.admitted_at or 0),
                True,
                off(one),
            )
            for one in over
            if not any(one.at < c <= (one.admitted_at or 0) for c in changed)
        ]
        samples += [
            Sample(one.foretold, self._open(one, now), False)
            for one in told
            if one.admitted_at is None and not one.left and one.settings == same
        ]
        self.spread = learn(samples[-KEPT:])

    def _open(self, one: Watched, until: float) -> float:
        return max(0.0, until - self._opened(one))

    def _opened(self, one: Watched) -> float:
        opens = self.launch.operating.opens[one.cohort]
        return max(one.at, opens.total_seconds() if opens else 0.0)

    def _gate(self, told: Sequence[Watched], step: int) -> Gate:
        gate = self.launch.gate
        rate = 0.0 if gate.paused else min(gate.rate, 60 * self.launch.scenario.mail.a_minute)
        free = max(0, gate.capacity - gate.seats_used)
        since = max(0, step - round(LATELY / self.seconds))
        front = float(self.to_front[since:step].sum())
        lately = float(self.by_ticks[since:step].sum())
        return Gate(
            rate=rate,
            free=free,
            pace_now=gate.factor,
            pace_lately=self._pace(told, step, rate) if free * 12 > rate else gate.factor,
            no_show=1 - self._shares(step)[-1],
            back_after=(self.launch.scenario.completing.within + GRACE).total_seconds(),
            leaving=self._leaving(told, step),
            front=min(0.9, front / (lately + 20)),
        )

    def _pace(self, told: Sequence[Watched], step: int, rate: float) -> float:
        now, factor = step * self.seconds, self.launch.gate.factor
        waits = [
            (self._opened(one), now if one.admitted_at is None else one.admitted_at)
            for one in told
            if not one.left
        ]
        changed = self.launch.operating.changed_at
        since = max(forecast.busy_since(waits, now), now - LATELY, changed[-1] if changed else 0)
        admitted = float(self.by_ticks[int(since / self.seconds) : step].sum())
        return forecast.pace_lately(admitted, rate * (now - since) / HOUR, factor)

    def _leaving(self, told: Sequence[Watched], step: int) -> float:
        now = step * self.seconds
        seen = sum((one.admitted_at or now) - one.at for one in told)
        return sum(one.left for one in told) / (seen + PRIOR_WAITS) * HOUR

    def _contenders(self, step: int) -> list[Contender]:
        now = step * self.seconds
        launch = self.launch
        found = []
        for number, (line, row) in enumerate(zip(launch.lines, launch.gate.cohorts, strict=True)):
            opens = launch.operating.opens[number]
            spans = () if opens is None else ((max(0.0, opens.total_seconds() - now), math.inf),)
            room = math.inf if row.quota is None else row.quota - row.seats_used
            back = self._coming_back(number, step)
            since = max(0, step - round(HOUR / self.seconds))
            came = float(launch.series["confirmed"][number, since:step].sum())
            arriving = came / max(1, step - since) * HOUR / self.seconds
            found.append(Contender(line.waiting, row.weight, spans, room, back, arriving))
        return found

    def _coming_back(self, cohort: int, step: int) -> tuple[float, ...]:
        since, cohorts, _, people = self.launch.invited._standing()
        theirs = cohorts == cohort
        age = (step - since[theirs]).clip(0) * self.seconds
        until = self.launch.scenario.completing.within + GRACE
        left = (until.total_seconds() - age).clip(0) // HOUR
        shares = np.array([0.0, *self._shares(step)])
        by_now = shares[np.minimum(age // HOUR, self.hours - 1).astype(int)]
        lost = ((1 - shares[-1]) / np.maximum(1e-9, 1 - by_now)).clip(0, 1)
        back = np.bincount(left.astype(int), weights=people[theirs] * lost)
        return tuple(back.tolist())

    def _by_age(self, step: int, cohort: int | None = None) -> Counts:
        since, cohorts, _, people = self.launch.invited._standing()
        theirs = slice(None) if cohort is None else cohorts == cohort
        age = (step - since[theirs]).clip(0) * self.seconds
        hours = np.minimum(age // HOUR, self.hours - 1).astype(int)
        return np.bincount(hours, weights=people[theirs], minlength=self.hours)

    def _shares(self, step: int) -> list[float]:
        left = self.gone + self._by_age(step)
        if not self.finished.sum():
            return [0.7] * self.hours
        spans = [Span(int(a), int(b)) for a, b in zip(self.finished, left, strict=True)]
        return [one.of for one in survival.shares(spans)]


def off(one: Watched) -> int:
    """On which side of the range the wait lay: 1 if it was longer, -1 if shorter."""
    low, _, high = one.estimate or (0, 0, 0)
    waited = one.waited or 0.0
    return int(waited > high) - int(waited < low)
