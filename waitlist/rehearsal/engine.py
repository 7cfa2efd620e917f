"""Plays a launch: each step moves people on, then the gate ticks and the mail goes."""

from __future__ import annotations

import math

import numpy as np

from waitlist.policy.deadlines import GRACE
from waitlist.rehearsal import arriving, delays
from waitlist.rehearsal.arrays import Counts
from waitlist.rehearsal.asked import Asked
from waitlist.rehearsal.foretelling import Foretelling
from waitlist.rehearsal.gate import Controls
from waitlist.rehearsal.lines import Line
from waitlist.rehearsal.operating import Operating
from waitlist.rehearsal.post import Post
from waitlist.rehearsal.product import Serving
from waitlist.rehearsal.record import LIMITS, Played, Watched
from waitlist.rehearsal.scenario import DAY, Scenario

IMPORT_SLOTS = 1_000  # an import's people stand in so many slots before the first


def play(scenario: Scenario, seed: int | None = None) -> Played:
    """The launch as it goes with this seed, or with the scenario's own."""
    launch = Launch(scenario, scenario.seed if seed is None else seed)
    for step in range(scenario.steps):
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
        self.so_far = {name: self._nobody() for name in ("turned_away", "unconfirmed", "left")}
        self.so_far |= {name: self._nobody() for name in ("in", "lapsed", "bounced", "retrying")}
        self.arrivals = self.rng.poisson(arriving.expected(scenario))
        self.lines = [Line(IMPORT_SLOTS + scenario.steps) for _ in scenario.cohorts]
        self.gate = Controls.of(scenario)
        self.operating = Operating(scenario, self.gate)
        self.post = Post(scenario.mail, scenario.step)
        self.pending = Asked(delays.of_confirming(scenario.confirming, scenario.step))
        self.invited = Asked(delays.of_completing(scenario.completing, scenario.step))
        self.late = Asked(delays.of_renewing(scenario.completing, scenario.step))
        self.serving = Serving(scenario, scenario.product) if scenario.product else None
        self.foretelling = Foretelling(self)
        self._import()

    def play_step(self, step: int) -> None:
        """Everything that happens in this step."""
        self.operating.act(step * self.scenario.step)
        self._lapse(step)
        self._register(step)
        self._confirm(step)
        self._arrive(step)
        self._leave()
        self._watch(step)
        self._admit(step)
        self._send(step)
        self._write_down(step)

    def _nobody(self) -> Counts:
        return np.zeros(self.cohorts, dtype=np.int64)

    def _import(self) -> None:
        for line, cohort in zip(self.lines, self.scenario.cohorts, strict=True):
            ends = np.arange(IMPORT_SLOTS + 1) * cohort.imported // IMPORT_SLOTS
            line.join(np.arange(IMPORT_SLOTS), np.diff(ends), self.rng)

    def _lapse(self, step: int) -> None:
        """Who didn't come gives the seat back, half an hour after the end; some ask again."""
        within = self.scenario.completing.within + GRACE
        gone = self.invited.leave(step, math.ceil(within / self.scenario.step))
        expired = gone.by_cohort(self.cohorts)
        self.foretelling.gone[-1] += expired.sum()
        back = self.late.move(step, self.rng).by_cohort(self.cohorts)
        self.late.leave(step, len(self.late.chances))
        for cohort in np.flatnonzero(expired).tolist():
            self.gate.give_back(cohort, int(expired[cohort]))
            self.late.ask(step, cohort, 0, int(expired[cohort]))
        for cohort in np.flatnonzero(back).tolist():
            self.lines[cohort].come_back(int(back[cohort]))
        self.so_far["lapsed"] += expired - back
        self.series["expired"][:, step] = expired

    def _register(self, step: int) -> None:
        finished = self.invited.move(step, self.rng)
        self.foretelling.finish(finished)
        registered = finished.by_cohort(self.cohorts)
        self.so_far["in"] += registered
        self.series["registered"][:, step] = registered
        if self.serving:
            self.serving.serve(step, int(registered.sum()))

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
            self.post.ask(cohort, IMPORT_SLOTS + step, int(joined[cohort]))
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

    def _watch(self, step: int) -> None:
        """Pick people from the lines, evenly over the launch, whoever they are."""
        steps, wanted = self.scenario.steps, self.scenario.watched
        waiting = np.array([line.waiting for line in self.lines])
        for _ in range((step + 1) * wanted // steps - step * wanted // steps):
            if not waiting.sum():
                return
            cohort = int(self.rng.choice(self.cohorts, p=waiting / waiting.sum()))
            if (found := self.lines[cohort].pick(self.rng)) is None:
                continue
            slot, within, ahead = found
            at = step * self.scenario.step.total_seconds()
            one = Watched(cohort, at, ahead, within, len(self.operating.changed_at))
            self.foretelling.tell(one, step)
            self.lines[cohort].watch(slot, one)
            self.played.watched.append(one)

    def _admit(self, step: int) -> None:
        begins = step * self.scenario.step
        for wave in self.operating.waves:
            asked = wave.due(begins + self.scenario.step)
            people = self.gate.wave(asked, self._waiting(wave.cohort))
            wave.admitted += sum(people.values())
            self._invite(people, step, begins.total_seconds())
        for tick in range(self.gate.ticks):
            people = self.gate.tick(self._waiting(None), self.post.invitations_queued)
            if not people and self.gate.limit in ("paused", "capacity"):
                break  # nothing gives a seat back before the next step
            self._invite(people, step, begins.total_seconds() + tick * self.gate.seconds)
            self.foretelling.by_ticks[step] += sum(people.values())

    def _waiting(self, cohort: int | None) -> dict[int, int]:
        """How many wait in this line, or in each that is open."""
        if cohort is not None:
            return {cohort: self.lines[cohort].waiting}
        return {
            number: self.lines[number].waiting
            for number, line in enumerate(self.gate.cohorts)
            if line.open
        }

    def _invite(self, people: dict[int, int], step: int, seconds: float) -> None:
        for cohort, some in people.items():
            if some:
                self.post.invite(cohort, some)
                self.series["admitted"][cohort, step] += some
                for slot, number in self.lines[cohort].take(some, seconds):
                    if slot >= 0:
                        self.played.waits[step - max(0, slot - IMPORT_SLOTS)] += number
                    else:
                        self.foretelling.to_front[step] += number
        if people:
            over = self.gate.seats_used - self.gate.capacity
            self.played.seats_over_capacity = max(self.played.seats_over_capacity, over)

    def _send(self, step: int) -> None:
        mail = self.scenario.mail
        since = step + round(mail.delay / self.scenario.step)
        self.post.begin_step(step * self.scenario.step)
        for cohort, slot, people in self.post.invitations_sent():
            bounced = int(self.rng.binomial(people, mail.bounces))
            self.gate.give_back(cohort, bounced)
            self.so_far["bounced"][cohort] += bounced
            self.invited.ask(since, cohort, slot, people - bounced)
            self.series["mails"][step] += people
        for cohort, slot, people in self.post.confirmations_sent():
            bounced = int(self.rng.binomial(people, mail.bounces))
            self.so_far["bounced"][cohort] += bounced
            self.pending.ask(since, cohort, slot, people - bounced)
            self.series["mails"][step] += people

    def _write_down(self, step: int) -> None:
        for name, people in self.so_far.items():
            self.series[name][:, step] = people
        self.series["waiting"][:, step] = [line.waiting for line in self.lines]
        self.series["pending"][:, step] = self.pending.by_cohort(self.cohorts)
        self.series["invited"][:, step] = self.invited.by_cohort(self.cohorts)
        self.series["unmailed"][:, step] = self.post.owed(self.post.invitations, self.cohorts)
        self.series["unasked"][:, step] = self.post.owed(self.post.confirmations, self.cohorts)
        self.series["capacity"][step] = self.gate.capacity
        self.series["rate"][step] = self.gate.rate
        self.series["factor"][step] = self.gate.factor
        self.series["limit"][step] = LIMITS.index(self.gate.limit)
        if self.serving:
            self.series["load"][step] = self.serving.load
            self.series["p95_ms"][step] = self.serving.p95_ms
