"""Who is watched, what they are told of their wait, and what is learned of how it came out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from waitlist.policy import mailing, opening, pace, survival, trends, wait
from waitlist.policy.calibration import PRIOR, Sample, Spread, learn
from waitlist.policy.deadlines import GRACE
from waitlist.policy.flow import HOUR, Contender, Gate, Span
from waitlist.policy.forecast import OpenTime
from waitlist.policy.mailing import Foreseen
from waitlist.policy.trends import LATELY
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
        self.drawn: Sequence[Outlook] = ()
        self.drawn_in = -1

    def watch(self, step: int) -> None:
        """Pick people from the lines, evenly over the launch, whoever they are, and tell them."""
        launch, steps = self.launch, self.launch.scenario.steps
        waiting = np.array([line.waiting for line in launch.lines])
        wanted = launch.scenario.watched
        for _ in range((step + 1) * wanted // steps - step * wanted // steps):
            if not waiting.sum():
                return
            cohort = int(launch.rng.choice(launch.cohorts, p=waiting / waiting.sum()))
            if (found := launch.lines[cohort].pick(launch.rng)) is None:
                continue
            slot, within, ahead = found
            changes = len(launch.operating.changed_at)
            one = Watched(cohort, step * launch.seconds, ahead, within, changes)
            self.tell(one, step)
            launch.lines[cohort].watch(slot, one)
            launch.played.watched.append(one)

    def tell(self, one: Watched, step: int) -> None:
        """Tell this person, who was picked in this step, a range."""
        if step - self.learned_at >= self.launch.scenario.steps / TIMES:
            self.spread, self.learned_at = self._learned(step * self.launch.seconds), step
        told = wait.estimate(one.ahead, self._outlooks(step)[one.cohort])
        if told is not None:
            one.estimate, one.foretold = (told.low, told.high), told.foretold

    def _outlooks(self, step: int) -> Sequence[Outlook]:
        """Those of all cohorts, drawn once a step."""
        if self.drawn_in != step:
            self.drawn_in = step
            self.drawn = wait.outlooks(self._gate(step), self._contenders(step), self.spread)
        return self.drawn

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
            waited = self._open_seconds(one, at)
            yield at, Sample(one.foretold, waited, one.admitted_at is not None, one.off)

    def _spans(self, cohort: int, step: float) -> tuple[Span, ...]:
        """When a cohort is open, in seconds from this step."""
        scenario, opens = self.launch.scenario, self.launch.operating.opens[cohort]
        of = scenario.cohorts[cohort]
        opens_at = None if opens is None else scenario.starts + opens
        return opening.spans(opens_at, of.hours, of.zone, scenario.starts + step * scenario.step)

    def _open_seconds(self, one: Watched, until: float) -> float:
        """How long the line of this person was open since they were told something."""
        spans = self._spans(one.cohort, one.at / self.launch.seconds)
        return OpenTime(spans).until(until - one.at) if spans else 0.0

    def _gate(self, step: int) -> Gate:
        gate, learned = self.launch.gate, self.launch.learned
        free = max(0, gate.capacity - gate.seats_used)
        by_mail = self._by_mail(step)
        open_by_age = learned.open_by_age(self.launch.invited, step)
        not_later = [share.of for share in learned.curve]
        coming = survival.coming(open_by_age, not_later, learned.last + 1)
        since = max(0, step - round(LATELY / self.launch.seconds))
        front, people = (float(each[since:step].sum()) for each in (self.came_back, self.by_ticks))
        pace_now = pace.part_in_force(factor=gate.factor, is_slowed=gate.is_slowed)
        return Gate(
            rate=0.0 if gate.paused else by_mail.rate,
            free=free,
            pace_now=pace_now,
            pace_lately=self._pace(step, float(gate.rate), free, pace_now),
            pace_limit=trends.pace_limit(pace_now, self._strain()),
            mails=by_mail.by_day,
            day_ends=by_mail.day_ends,
            coming_back=tuple(hour.expired for hour in coming),
            no_show=trends.no_show(learned.curve[-1]),
            back_after=(self.launch.scenario.completing.within + GRACE).total_seconds(),
            leaving=self._leaving(step),
            front=trends.front(front, people),
        )

    def _by_mail(self, step: int) -> Foreseen:
        """What the mail's budgets will leave of the rate, and of each day."""
        post = self.launch.post
        now = self.launch.scenario.starts + step * self.launch.scenario.step
        spent = mailing.refilled(post.pace, post.spent, now)
        return mailing.foreseen(post.pace, spent, self.launch.gate.rate, is_stopped=post.is_stopped)

    def _pace(self, step: int, rate: float, free: int, pace_now: float) -> float:
        now, seconds = step * self.launch.seconds, self.launch.seconds
        changed = self.launch.operating.changed_at
        opened = [self._opened(cohort, step) for cohort in range(self.launch.cohorts)]
        waits = [
            (max(one.at, opened[one.cohort]), one.admitted_at or now)
            for one in self.launch.played.watched
            if not one.left and (one.admitted_at or now) >= now - trends.LATELY
        ]
        since = max(trends.busy_since(waits, now), *changed[-1:], 0.0)
        admitted = float(self.by_ticks[int(since / seconds) : step].sum())
        allowed = rate * (now - since) / HOUR
        return trends.pace_lately(rate, free, admitted, allowed, pace_now)

    def _opened(self, cohort: int, step: int) -> float:
        """Since when a cohort is open, if it is."""
        since = trends.LATELY / self.launch.seconds
        spans = self._spans(cohort, step - since)
        now = [begin for begin, end in spans if begin < trends.LATELY <= end]
        return (step - since) * self.launch.seconds + (now[0] if now else math.inf)

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
            came = float(launch.series["confirmed"][nth, since:step].sum())
            found.append(
                Contender(
                    waiting=line.waiting,
                    weight=row.weight,
                    spans=self._spans(nth, step),
                    room=math.inf if row.quota is None else row.quota - row.seats_used,
                    part=row.seats_used / used,
                    arriving=came / max(1, step - since) * HOUR / launch.seconds,
                )
            )
        return found
