"""Launches in accelerated time: a product of which the loop knows only what it says of itself.

Half an hour a step. Who is invited comes log-normally late, or never; who came is active for a
while, and the active ones are the product's load. All chance is of the seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np

from waitlist.policy import health, survival
from waitlist.policy.health import Flow, Loop, Marks, Signal
from waitlist.policy.survival import Span

HOUR = timedelta(hours=1)
STEP = 0.5  # hours
START = datetime(2027, 3, 1, 9, tzinfo=UTC)
OPEN_FOR = 72  # hours
AGES = int(OPEN_FOR / STEP)
TARGET = 0.8


@dataclass(frozen=True)
class Launch:
    """A product, people, and a rate that was set at so many times what the product takes."""

    limit: int = 800  # active people at whom it slows
    busy_for: float = 1.0  # hours, on average
    median: float = 6.0  # hours until half of those came who come
    share: float = 0.6  # who come
    times_over: float = 3.0
    days: int = 12
    power: float = 1.0  # by which the load grows with the active people
    always: float = 0.0  # load that isn't of those who come
    bursts: float = 0.0  # and more of it for three quarters of an hour, every five
    halved_at: float | None = None  # hour at which it loses half of what it takes
    silent: tuple[float, float] = (math.inf, math.inf)  # hours in which it says nothing
    says: tuple[str, ...] = ("load",)
    wave: tuple[float, float] = (math.inf, 0.0)  # by hand: at this hour, of hours of what it takes


@dataclass
class Played:
    """What happened, by step."""

    load: list[float] = field(default_factory=list)
    ticked: list[int] = field(default_factory=list)  # who were invited, but for a wave by hand
    trusted: list[float] = field(default_factory=list)
    held: list[str] = field(default_factory=list)

    def use(self, *, since: float) -> float:
        """The mean load from this hour on."""
        return float(np.mean(self.load[int(since / STEP) :]))

    def peak(self, *, since: float = 0.0, until: float = math.inf) -> float:
        """The greatest load between these hours."""
        end = None if until == math.inf else int(until / STEP)
        return max(self.load[int(since / STEP) : end])


def play(launch: Launch, seed: int) -> Played:
    """The launch as it goes with this seed."""
    rng, played = np.random.default_rng(seed), Played()
    people, product = _People(launch, rng), _Product(launch, rng)
    loop: Loop | None = None
    marks = Marks(TARGET, product.latency(TARGET), timedelta(minutes=1))
    if "p95_ms" not in launch.says:
        marks = marks._replace(p95_ms=None)
    for step in range(int(launch.days * 24 / STEP)):
        now = START + step * STEP * HOUR
        product.serve(people.come(step), step * STEP)
        signal = product.signal(step * STEP, now)
        flow = people.flow(step, product.rate)
        loop = _stepped(loop, signal, marks, flow, now)
        word = health.holds_ticks(loop, signal, marks, flow, now)
        a_step = product.rate * health.factor(loop, flow) * STEP
        ticked = 0 if word else int(rng.poisson(a_step))
        by_hand = launch.wave[0] <= step * STEP < launch.wave[0] + STEP
        people.invite(
            step, ticked + (round(launch.wave[1] * product.takes / launch.share) if by_hand else 0)
        )
        played.load.append(product.load)
        played.ticked.append(ticked)
        played.trusted.append(loop.trusted)
        played.held.append(word)
    return played


def _stepped(loop: Loop | None, signal: Signal, marks: Marks, flow: Flow, now: datetime) -> Loop:
    if loop is None:
        return health.begin(signal, marks, flow, now)
    return health.step(loop, signal, marks, flow, now)


class _Product:
    def __init__(self, launch: Launch, rng: np.random.Generator) -> None:
        self._launch, self._rng = launch, rng
        self._active, self._limit = 0.0, float(launch.limit)
        self._bursts = False
        self._said_at = START
        self.takes = launch.limit * TARGET ** (1 / launch.power) / launch.busy_for  # an hour
        self.rate = round(launch.times_over * self.takes / launch.share)
        self.load = 0.0

    def serve(self, came: int, hour: float) -> None:
        """The load after so many came in a step."""
        of, chance = self._launch, self._rng.random()
        self._active = self._active * math.exp(-STEP / of.busy_for) + came
        if of.halved_at is not None and hour >= of.halved_at:
            self._limit = of.limit / 2
        self._bursts = chance > STEP / 0.75 if self._bursts else chance < STEP / 4
        beside = of.always + (of.bursts if self._bursts else 0.0)
        self.load = (self._active / self._limit) ** of.power + beside

    def signal(self, hour: float, now: datetime) -> Signal:
        """What it said last, which may be long ago."""
        if not self._launch.silent[0] <= hour < self._launch.silent[1]:
            self._said_at = now
        says: dict[str, Any] = {"load": self.load, "p95_ms": self.latency(self.load)}
        figures = {name: says[name] if name in self._launch.says else None for name in says}
        return Signal(self.load < 1.25, **figures, at=self._said_at)

    @staticmethod
    def latency(load: float) -> float:
        """As of a queue with one server: it breaks at a load of 1.25."""
        return 120 / (1 - min(load / 1.25, 0.99))


class _People:
    def __init__(self, launch: Launch, rng: np.random.Generator) -> None:
        steps = int(launch.days * 24 / STEP)
        self._rng = rng
        self._chances = _chances(launch)
        self._coming = np.zeros((steps, AGES), dtype=np.int64)
        self._open = np.zeros(steps, dtype=np.int64)
        self._did, self._expired = np.zeros(OPEN_FOR, dtype=np.int64), 0
        self._came: list[int] = []
        self._learned = 0.0, [survival.NOTHING_KNOWN] * OPEN_FOR
        self.invited = np.zeros(steps, dtype=np.int64)

    def invite(self, step: int, people: int) -> None:
        self.invited[step] = self._open[step] = people
        if people:
            self._coming[step] = self._rng.multinomial(people, self._chances)[:AGES]

    def come(self, step: int) -> int:
        """How many come in this step."""
        since = np.arange(max(0, step - AGES), step)
        ages = step - 1 - since
        came = self._coming[since, ages]
        self._open[since] -= came
        np.add.at(self._did, (ages * STEP).astype(int), came)
        if step >= AGES:
            self._expired += int(self._open[step - AGES])
            self._open[step - AGES] = 0
        self._came.append(int(came.sum()))
        return self._came[-1]

    def flow(self, step: int, rate: int) -> Flow:
        """What the service knows of them, learned once an hour."""
        arrivals = sum(self._came[-int(1 / STEP) :])
        if step % int(1 / STEP) == 0:
            since = np.arange(max(0, step - AGES + 1), step)
            ages = ((step - since) * STEP).astype(int)
            still = np.bincount(ages, weights=self._open[since], minlength=OPEN_FOR)[:OPEN_FOR]
            left = still.astype(int)
            spans = [Span(int(d), int(o)) for d, o in zip(self._did, left, strict=True)]
            spans.append(Span(0, self._expired))
            curve = survival.foreseen(spans, OPEN_FOR)
            by_age = {age: float(people) for age, people in enumerate(still) if people}
            self._learned = health.flow(rate, 0, curve, by_age).busiest, curve
        busiest, curve = self._learned
        return Flow(rate, arrivals, curve[-1], busiest)


def _chances(launch: Launch) -> list[float]:
    """Of coming in each step after the invitation; the last is of never coming."""
    edges = [math.log(max(age * STEP, 1e-9) / launch.median) for age in range(AGES + 1)]
    by_then = [(1 + math.erf(edge / math.sqrt(2))) / 2 for edge in edges]
    chances = [launch.share * (b - a) / by_then[-1] for a, b in pairwise(by_then)]
    return [*chances, max(0.0, 1 - sum(chances))]
