"""Plays a launch: each step moves people on, then the gate ticks and the mail goes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import datetime

import numpy as np

from waitlist.policy.deadlines import GRACE
from waitlist.rehearsal import arriving, delays
from waitlist.rehearsal.arrays import Counts
from waitlist.rehearsal.asked import Asked
from waitlist.rehearsal.foretelling import Foretelling
from waitlist.rehearsal.gate import Controls
from waitlist.rehearsal.learning import Learned
from waitlist.rehearsal.lines import CAME_BACK, IMPORT_SLOTS, Line
from waitlist.rehearsal.operating import Operating
from waitlist.rehearsal.post import NO_COHORT, Post
from waitlist.rehearsal.product import Serving
from waitlist.rehearsal.record import LIMITS, Played
from waitlist.rehearsal.scenario import DAY, Scenario
from waitlist.rehearsal.steering import Steering


def play(
    scenario: Scenario, seed: int | None = None, *, each: Callable[[range], Iterable[int]] = iter
) -> Played:
    """The launch as it goes with this seed, or with the scenario's own.

    `each` goes through the steps; give another one to tell somebody how far it is.
    """
    launch = Launch(scenario, scenario.seed if seed is None else seed)
    for step in each(range(scenario.steps)):
        launch.play_step(step)
    launch.played.changed_at = launch.operating.changed_at
    return launch.played


class Launch:
    """A launch under way."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.rng = np.random.default_rng(seed)
        self.played = Played.empty(scenario, seed)
        self.series = self.played.series
        self.cohorts = len(scenario.cohorts)
        self.seconds = scenario.step.total_seconds()
        self.so_far = {name: self._nobody() for name in ("turned_away", "unconfirmed", "left")}
        self.so_far |= {name: self._nobody() for name in ("in", "lapsed", "bounced", "retrying")}
        self.arrivals = self.rng.poisson(arriving.expected(scenario))
        self.lines = [Line.of(one.imported, scenario.steps, self.rng) for one in scenario.cohorts]
        self.gate = Controls.of(scenario)
        self.post = Post(scenario.mail, self.rng)
        self.pending = Asked(delays.of_confirming(scenario.confirming, scenario.step))
        self.invited = Asked(delays.of_completing(scenario.completing, scenario.step))
        self.late = Asked(delays.of_renewing(scenario.completing, scenario.step))
        self.learned = Learned(scenario.completing.within, scenario.step)
        product = scenario.product
        self.serving = Serving(scenario, product) if product else None
        self.steering = Steering(product) if product else None
        self.operating = Operating(scenario, self.gate, self.post, self.serving, self.steering)
        self.foretelling = Foretelling(self)

    def play_step(self, step: int) -> None:
        """Everything that happens in this step."""
        if self.operating.act(step * self.scenario.step):
            self.foretelling.settings_changed()
        self._lapse(step)
        self._register(step)
        self._confirm(step)
        self._arrive(step)
        self._leave()
        self._steer(step)
        self.foretelling.watch(step)
        self._admit(step)
        self._send(step)
        self._write_down(step)

    def _now(self, step: int) -> datetime:
        """When a step begins."""
        return self.scenario.starts + step * self.scenario.step

    def _nobody(self) -> Counts:
        return np.zeros(self.cohorts, dtype=np.int64)

    def _lapse(self, step: int) -> None:
        """Who didn't come gives the seat back, half an hour after the end; some ask again."""
        within = self.scenario.completing.within + GRACE
        gone = self.invited.leave(step, math.ceil(within / self.scenario.step))
        expired = gone.by_cohort(self.cohorts)
        back = self.late.move(step, self.rng).by_cohort(self.cohorts)
        self.late.leave(step, len(self.late.chances))
        for cohort in np.flatnonzero(expired).tolist():
            self.gate.give_back(cohort, int(expired[cohort]))
            self.late.ask(step, cohort, 0, int(expired[cohort]))
        for cohort in np.flatnonzero(back).tolist():
            self.lines[cohort].come_back(int(back[cohort]))
        self.learned.expired += int(expired.sum())
        self.so_far["lapsed"] += expired - back
        self.series["expired"][:, step] = expired

    def _register(self, step: int) -> None:
        finished = self.invited.move(step, self.rng)
        self.learned.note(finished)
        registered = finished.by_cohort(self.cohorts)
        self.so_far["in"] += registered
        self.series["registered"][:, step] = registered
        self.post.others.add(NO_COHORT, 0, int(registered.sum()))
        if self.serving:
            self.serving.serve(step, int(registered.sum()))
        if self.steering:
            self.steering.arrive(int(registered.sum()), self._now(step))

    def _steer(self, step: int) -> None:
        """Learn, and go by what the product says."""
        open_by_age = self.learned.open_by_age(self.invited, step)
        self.learned.learn(open_by_age)
        if self.serving and self.steering:
            said = self.serving.signal(step, self.rng)
            self.steering.steer(said, self.gate.rate, self.learned, open_by_age, self._now(step))
            self.gate.factor, self.gate.is_held = self.steering.factor, bool(self.steering.why)

    def _confirm(self, step: int) -> None:
        confirmed = self.pending.move(step, self.rng)
        for cohort, line in enumerate(self.lines):
            theirs = confirmed.cohort == cohort
            line.join(confirmed.slot[theirs], confirmed.people[theirs], self.rng)
        too_late = self.pending.leave(step, len(self.pending.chances))
        self.so_far["unconfirmed"] += too_late.by_cohort(self.cohorts)
        self.series["confirmed"][:, step] = confirmed.by_cohort(self.cohorts)

    def _arrive(self, step: int) -> None:
        """Who knocks is let in as fast as the service answers; the others' pages try again."""
        came = self.arrivals[:, step]
        knocking = came + self.so_far["retrying"]
        is_open = self.operating.joining == "open"
        answered = int(self.scenario.joining.a_second * self.scenario.step.total_seconds())
        joined = self._some(knocking, answered if is_open else 0)
        refused = knocking - joined
        again = self.rng.binomial(refused, self.scenario.joining.again if is_open else 0.0)
        self.so_far["retrying"] = again
        self.so_far["turned_away"] += refused - again
        for cohort in np.flatnonzero(joined).tolist():
            self.post.confirmations.add(cohort, IMPORT_SLOTS + step, int(joined[cohort]))
        for name, people in (("came", came), ("joined", joined), ("refused", refused)):
            self.series[name][:, step] = people

    def _some(self, people: Counts, most: int) -> Counts:
        """So many of these, whichever cohort they are of."""
        if people.sum() <= most:
            return people.copy()
        return self.rng.multivariate_hypergeometric(people, most, method="marginals")

    def _leave(self) -> None:
        part = self.scenario.joining.leave_a_day * (self.scenario.step / DAY)
        for cohort, line in enumerate(self.lines):
            leaving = int(self.rng.binomial(line.waiting, part))
            self.so_far["left"][cohort] += line.leave(leaving, self.rng)

    def _admit(self, step: int) -> None:
        """Let people in: first by the waves of the operator, then by the clock's ticks."""
        self.waited, self.first_time = np.zeros(self.cohorts), self._nobody()
        self.gate.is_slowed, self.gate.is_stopped = self.post.is_slowed, self.post.is_stopped
        for wave in self.operating.waves:
            people = self.gate.wave(wave.due(self._now(step + 1)), self._waiting(wave.cohort))
            wave.admitted += sum(people.values())
            self._invite(people, step)
        people = self.gate.tick(self._waiting(None), self.post.room(self._now(step)))
        self.foretelling.by_ticks[step] += sum(people.values())
        self._invite(people, step, over=sum(people.values()) * self.gate.apart)

    def _waiting(self, cohort: int | None) -> dict[int, int]:
        """How many wait in this line, or in each that is open."""
        if cohort is not None:
            return {cohort: self.lines[cohort].waiting}
        return {
            number: self.lines[number].waiting
            for number, line in enumerate(self.gate.cohorts)
            if line.open
        }

    def _invite(self, people: dict[int, int], step: int, over: float = 0.0) -> None:
        """So many of each cohort come in, evenly over so many seconds."""
        for cohort, some in people.items():
            if some:
                self.post.invitations.add(cohort, 0, some)
                self.series["admitted"][cohort, step] += some
                begins = step * self.seconds
                taken = self.lines[cohort].take(some, begins, begins + over)
                self._note_waits(cohort, step, taken)
        if people:
            beyond = self.gate.seats_used - self.gate.capacity
            self.played.seats_over_capacity = max(self.played.seats_over_capacity, beyond)

    def _note_waits(self, cohort: int, step: int, taken: Iterable[tuple[int, int]]) -> None:
        """How long those waited who come in for the first time."""
        for slot, people in taken:
            if slot == CAME_BACK:
                self.foretelling.came_back[step] += people
            else:
                waited = step - max(0, slot - IMPORT_SLOTS)
                self.played.waits[waited] += people
                self.first_time[cohort] += people
                self.waited[cohort] += people * waited * self.seconds

    def _send(self, step: int) -> None:
        mail, begins = self.scenario.mail, step * self.scenario.step
        if any(one.holds(begins) for one in mail.silences):
            return
        sent = self.post.send(self.scenario.starts + begins, self.scenario.step)
        since = step + round(mail.delay / self.scenario.step)
        for (cohort, slot), people in sent.invitations.items():
            self.invited.ask(since, cohort, slot, people)
        for (cohort, slot), people in sent.confirmations.items():
            self.pending.ask(since, cohort, slot, people)
        for (cohort, _), people in sent.bounced_invitations.items():
            self.gate.give_back(cohort, people)
        for (cohort, _), people in (sent.bounced_invitations + sent.bounced_confirmations).items():
            self.so_far["bounced"][cohort] += people
        self.series["mails"][step] = sent.mails

    def _write_down(self, step: int) -> None:
        for name, people in self.so_far.items():
            self.series[name][:, step] = people
        some = self.first_time > 0
        self.series["wait"][some, step] = self.waited[some] / self.first_time[some]
        self.series["waiting"][:, step] = [line.waiting for line in self.lines]
        self.series["pending"][:, step] = self.pending.standing(step).by_cohort(self.cohorts)
        self.series["invited"][:, step] = self.invited.standing(step).by_cohort(self.cohorts)
        self.series["unmailed"][:, step] = self.post.invitations.by_cohort(self.cohorts)
        self.series["unasked"][:, step] = self.post.confirmations.by_cohort(self.cohorts)
        self.series["mails_owed"][step] = self.post.owed
        self.series["capacity"][step] = self.gate.capacity
        self.series["rate"][step] = self.gate.rate_in_force
        self.series["factor"][step] = self.gate.factor
        self.series["limit"][step] = LIMITS.index(self.gate.limit)
        if self.serving:
            self.series["load"][step] = self.serving.load
            self.series["p95_ms"][step] = self.serving.p95_ms
