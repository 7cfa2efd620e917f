"""What those who are watched are told of their wait, and what is learned of how it came out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from waitlist.policy import lately, survival, wait
from waitlist.policy.calibration import PRIOR, Sample, Spread, learn
from waitlist.policy.deadlines import GRACE
from waitlist.policy.forecast import HOUR, Contender, Gate
from waitlist.policy.lately import LATELY
from waitlist.policy.wait import Outlook
from waitlist.rehearsal.record import Watched

if TYPE_CHECKING:
    from waitlist.rehearsal.engine import Launch

TIMES = 40  # that the spread is learned anew in a launch
KEPT = 1_000  # samples


class Foretelling:
    """The clock's part: it tells a range to who is picked, and learns once they are let in."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.by_ticks = np.zeros(launch.scenario.steps)  # people let in
        self.came_back = np.zeros(launch.scenario.steps)  # of them, to the front
        self.spread, self.learned_at = PRIOR, 0

    def tell(self, one: Watched, step: int) -> None:
        """Tell this person, who was picked in this step, a range."""
        if step - self.learned_at >= self.launch.scenario.steps / TIMES:
            self.spread, self.learned_at = self._learned(step * self.launch.seconds), step
        contenders = self._contenders(step)
        own = contenders.pop(one.cohort)
        others = tuple(contender for contender in contenders if contender.spans)
        told = wait.estimate(one.ahead, Outlook(self._gate(step), own, others, self.spread))
        if told is not None:
            one.estimate, one.foretold = told[:3], told.foretold

    def settings_changed(self) -> None:
        """An operator did something: what was told before it can't be held against anybody."""
        for one in self.launch.played.watched:
            one.settings_changed |= one.admitted_at is None

    def _learned(self, now: float) -> Spread:
        samples = sorted(self._samples(now), key=lambda timed: timed[0])
        return learn([sample for _, sample in samples[-KEPT:]])

    def _samples(self, now: float) -> Iterator[tuple[float, Sample]]:
        """Who was told a range and the settings stayed, with the time until which they waited."""
        for one in self.launch.played.watched:
            if one.estimate is None or one.left or one.settings_changed:
                continue
            at = now if one.admitted_at is None else one.admitted_at
            waited = max(0.0, at - self._open_since(one))
            yield at, Sample(one.foretold, waited, one.admitted_at is not None, one.off)

    def _open_since(self, one: Watched) -> float:
        opens = self.launch.operating.opens[one.cohort]
        return max(one.at, opens.total_seconds() if opens else 0.0)

    def _gate(self, step: int) -> Gate:
        gate, learned = self.launch.gate, self.launch.learned
        free = max(0, gate.capacity - gate.seats_used)
        rate = 0.0 if gate.paused else float(gate.rate)
        open_by_age = learned.open_by_age(self.launch.invited, step)
        not_later = [share.of for share in learned.curve]
        coming = survival.coming(open_by_age, not_later, learned.last + 1)
        since = max(0, step - round(LATELY / self.launch.seconds))
        front, people = (float(each[since:step].sum()) for each in (self.came_back, self.by_ticks))
        pace_now = gate.rate_in_force / max(1, gate.rate)
        return Gate(
            rate=rate,
            free=free,
            pace_now=pace_now,
            pace_lately=self._pace(step, rate, free, pace_now),
            pace_limit=lately.pace_limit(pace_now, self._strain()),
            coming_back=tuple(hour.expired for hour in coming),
            no_show=1 - not_later[-1],
            back_after=(self.launch.scenario.completing.within + GRACE).total_seconds(),
            leaving=self._leaving(step),
            front=lately.front(front, people),
        )

    def _pace(self, step: int, rate: float, free: int, pace_now: float) -> float:
        now, seconds = step * self.launch.seconds, self.launch.seconds
        changed = self.launch.operating.changed_at
        waits = [
            (self._open_since(one), now if one.admitted_at is None else one.admitted_at)
            for one in self.launch.played.watched
            if not one.left
        ]
        since = max(lately.busy_since(waits, now), *changed[-1:], 0.0)
        admitted = float(self.by_ticks[int(since / seconds) : step].sum())
        hours = (now - since) / HOUR
        return lately.pace_lately(rate, free, admitted, hours, pace_now)

    def _strain(self) -> float | None:
        """What the product carries, of what it should at most, if its health slows the gate."""
        steering = self.launch.steering
        binds = steering and steering.loop and steering.factor < 1
        return steering.loop.strain if steering and steering.loop and binds else None

    def _leaving(self, step: int) -> float:
        """Of those who wait, the share who left an hour so far."""
        waited = float(self.launch.series["waiting"][:, :step].sum()) * self.launch.seconds / HOUR
        return float(self.launch.so_far["left"].sum()) / max(1.0, waited)

    def _contenders(self, step: int) -> list[Contender]:
        launch, found = self.launch, []
        used = max(1, launch.gate.seats_used)
        since = max(0, step - round(HOUR / launch.seconds))
        for nth, (line, row) in enumerate(zip(launch.lines, launch.gate.cohorts, strict=True)):
            opens = launch.operating.opens[nth]
            opens_in = math.inf if opens is None else opens.total_seconds() - step * launch.seconds
            came = float(launch.series["confirmed"][nth, since:step].sum())
            found.append(
                Contender(
                    waiting=line.waiting,
                    weight=row.weight,
                    spans=((max(0.0, opens_in), math.inf),) if opens_in < math.inf else (),
                    room=math.inf if row.quota is None else row.quota - row.seats_used,
                    part=row.seats_used / used,
                    arriving=came / max(1, step - since) * HOUR / launch.seconds,
                )
            )
        return found
