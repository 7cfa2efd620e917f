"""P3 to P7 and P18 over histories that Hypothesis invents, of all that people and operators do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TypeVar

import pytest
from argon2 import PasswordHasher
from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import booleans, integers, just, none, sampled_from, sets
from redis import Redis
from sqlalchemy import Select, func, select, update

from tests import histories, people, tables
from tests.servers import SmtpSink
from waitlist import cohorts, delivery, links, projection
from waitlist.admission import gate, health, plans, preview, recall, waves
from waitlist.admission.health import Said
from waitlist.admission.plans import When
from waitlist.errors import ValueRefused
from waitlist.extensions import db
from waitlist.models import Cohort, Entry, Gate, Invitation, Registration, Wave
from waitlist.onboarding import (
    by_hand,
    completion,
    disputes,
    extending,
    invitations,
    passwords,
    reminding,
)
from waitlist.signup import leaving
from waitlist.signup import people as signed_up

T = TypeVar("T")
FOREVER = datetime.max.replace(tzinfo=UTC)
QUICK = settings(
    max_examples=30,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
picks = integers(0, 99)
COHORTS = ("general", "beta")  # of the ids 1 and 2
INVITATIONS = ("invitation",)


class Launch(RuleBasedStateMachine):
    """A launch in which anything happens in any order, on the app of the test."""

    redis: Redis
    sink: SmtpSink
    started: datetime

    @initialize()
    def begin(self) -> None:
        self.now, self.joined = self.started, 0
        self.sink.answers.clear()
        self.sink.rcpt_answer = None
        self.redis.flushall()
        tables.empty(keep_cohorts=True)
        _begin_cohorts(self.now)
        projection.require_valid()
        people.join("twice@example.org", now=self.now)
        people.join("twice@example.org", now=self.now)  # takes a number, so ids aren't ranks
        self.join(5)
        self.set_the_gate(8, 3_600)
        self.wave(3)
        self.mail()

    @rule(how_many=integers(1, 3))
    def join(self, how_many: int) -> None:
        for _ in range(how_many):
            self.joined += 1
            people.wait_in_line(f"p{self.joined}@example.org", now=self.now)

    @rule()
    def join_and_never_confirm(self) -> None:
        self.joined += 1
        people.join(f"p{self.joined}@example.org", now=self.now)

    @rule(capacity=integers(0, 12), rate=integers(0, 7_200))
    def set_the_gate(self, capacity: int, rate: int) -> None:
        gate.change(actor="test", now=self.now, capacity=capacity, rate=rate, paused=False)

    @rule(hold=booleans())
    def pause(self, hold: bool) -> None:
        gate.change(actor="test", now=self.now, paused=True, hold=INVITATIONS if hold else ())

    @rule()
    def resume_and_release(self) -> None:
        gate.change(actor="test", now=self.now, paused=False, release=INVITATIONS)

    @rule(
        cohort=sampled_from(COHORTS),
        opens=sampled_from([None, -1, 1, 24]),
        quota=none() | integers(0, 4),
        weight=integers(1, 5),
        hours=none() | just("09:00-21:00"),
    )
    def set_a_cohort(
        self, cohort: str, opens: int | None, quota: int | None, weight: int, hours: str | None
    ) -> None:
        with suppress(ValueRefused):  # more seats are used than the quota would allow
            cohorts.change(
                cohort,
                actor="test",
                now=self.now,
                opens_at=None if opens is None else self.now + timedelta(hours=opens),
                quota=quota,
                weight=weight,
                hours=hours,
            )
        db.session.rollback()

    @rule(how_many=integers(1, 3), there=booleans())
    def move(self, how_many: int, there: bool) -> None:
        source, target = COHORTS if there else COHORTS[::-1]
        signed_up.move_first(
            how_many, source=source, target=target, actor="test", reason="", now=self.now
        )

    @rule(healthy=booleans(), load=sampled_from([None, 0.1, 0.79, 1.2]))
    def the_product_says(self, healthy: bool, load: float | None) -> None:
        health.report(Said(healthy, load), source="test", now=self.now)

    @rule()
    def the_product_is_forgotten(self) -> None:
        health.forget(actor="test", reason="", now=self.now)

    @rule(hours=integers(0, 24))
    def ignore_health(self, hours: int) -> None:
        until = self.now + timedelta(hours=hours)
        gate.change(actor="test", now=self.now, ignore_health_until=until)

    @rule()
    def accept_bounces(self) -> None:
        gate.change(actor="test", now=self.now, accept_bounces=True)

    @rule(seconds=integers(1, 4))
    def tick(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self._admits(self._job)

    @rule(hours=sampled_from([-2, 2]))
    def the_clock_steps(self, hours: int) -> None:
        """P18: two hours on, or back."""
        self.now += timedelta(hours=hours)
        before = self._allowance()
        self._admits(self._job)
        assert self._allowance() <= max(before, 10.0)

    @rule(asked=integers(1, 5), cohort=none() | sampled_from(COHORTS))
    def wave(self, asked: int, cohort: str | None = None) -> None:
        foretold = preview.of_next(asked, cohort=cohort, now=self.now).people
        come = self._admits(lambda: waves.admit(asked, cohort=cohort, actor="test", now=self.now))
        assert come == foretold

    @rule(
        asked=integers(1, 6),
        cohort=none() | sampled_from(COHORTS),
        begins=none() | integers(1, 90),
        lasts=none() | integers(1, 180),
    )
    def plan_a_wave(
        self, asked: int, cohort: str | None, begins: int | None, lasts: int | None
    ) -> None:
        when = When(
            None if begins is None else self.now + timedelta(minutes=begins),
            None if lasts is None else timedelta(minutes=lasts),
        )
        self._admits(
            lambda: waves.admit(asked, cohort=cohort, actor="test", now=self.now, when=when)
        )

    @rule(picks=sets(integers(0, 99), min_size=1, max_size=3))
    def invite_by_name(self, picks: set[int]) -> None:
        line = [one for theirs in histories.lines().values() for one in theirs]
        if line:
            named = list(dict.fromkeys(line[pick % len(line)] for pick in sorted(picks)))
            come = self._admits(
                lambda: waves.invite(named, actor="test", reason="they are dear", now=self.now)
            )
            assert set(come) <= set(named)

    @rule(pick=picks)
    def halt(self, pick: int) -> None:
        if wave := _one(select(Wave).where(Wave.state.in_(("planned", "running"))), pick):
            recall.halt(wave.id, actor="test", reason="", now=self.now)

    @rule(pick=picks, revoke=booleans())
    def recall(self, pick: int, revoke: bool) -> None:
        if wave := _one(select(Wave).where(Wave.actor == "test"), pick):
            recall.recall(wave.id, revoke=revoke, actor="test", reason="", now=self.now)
            left = select(Invitation).where(Invitation.wave_id == wave.id)
            assert not revoke or not _one(left.where(Invitation.state == "open"), 0)
            came = _invitations_of(wave.id)
            self._admits(self._carry_on)
            assert _invitations_of(wave.id) == came

    @rule()
    def mail(self) -> None:
        delivery.deliver(lambda: self.now, until=FOREVER)

    @rule()
    def bounce(self) -> None:
        self.sink.rcpt_answer = "550 No such person"
        delivery.deliver(lambda: self.now, until=FOREVER)
        self.sink.rcpt_answer = None

    @rule(pick=picks)
    def come_back_from_a_bounce(self, pick: int) -> None:
        if entry := _one(select(Entry).where(Entry.suppressed_at.is_not(None)), pick):
            people.make(entry, suppressed_at=None)

    @rule(pick=picks)
    def complete(self, pick: int) -> None:
        if invitation := _one(select(Invitation).where(Invitation.state == "open"), pick):
            token = links.invitation_token(invitation)
            form = people.form(f"person_{invitation.entry_id}")
            if invitation.expires_at is None or invitation.expires_at > self.now:
                completion.complete(token, form, now=self.now)

    @rule(hours=integers(1, 80))
    def let_time_pass(self, hours: int) -> None:
        self.now += timedelta(hours=hours)
        invitations.lapse(now=self.now)

    @rule()
    def lapse_all(self) -> None:
        self.mail()
        self.let_time_pass(73)

    @rule(pick=picks, is_held=booleans())
    def renew(self, pick: int, is_held: bool) -> None:
        if invitation := _one(select(Invitation), pick):
            token = links.invitation_token(invitation)
            self._reissues(lambda: invitations.renew(token, is_held=is_held, now=self.now))

    @rule(capacity=integers(0, 4))
    def all_come_too_late_and_ask_for_seats_that_are_fewer(self, capacity: int) -> None:
        self.lapse_all()
        self.set_the_gate(capacity, 0)
        lapsed = select(Invitation).join(Entry, Entry.id == Invitation.entry_id)
        for invitation in db.session.scalars(lapsed.where(Entry.state == "lapsed")).all():
            token = links.invitation_token(invitation)
            self._reissues(lambda token=token: invitations.renew(token, now=self.now))  # type: ignore[misc]

    @rule(pick=picks)
    def reissue(self, pick: int) -> None:
        if invitation := _one(select(Invitation), pick):
            self._reissues(lambda: self._by_hand(by_hand.reissue, invitation.entry_id))

    @rule(pick=picks)
    def resend(self, pick: int) -> None:
        if invitation := _one(select(Invitation), pick):
            self._by_hand(by_hand.resend, invitation.entry_id)

    @rule(pick=picks, hours=integers(1, 100))
    def extend(self, pick: int, hours: int) -> None:
        if invitation := _one(select(Invitation), pick):
            self._by_hand(extending.extend, invitation.entry_id, by=timedelta(hours=hours))

    @rule(pick=picks, apology=booleans())
    def revoke(self, pick: int, apology: bool) -> None:
        if invitation := _one(select(Invitation), pick):
            self._by_hand(by_hand.revoke, invitation.entry_id, apology=apology)

    @rule(pick=picks)
    def dispute(self, pick: int) -> None:
        if registration := _one(select(Registration), pick):
            disputes.dispute(links.to_dispute(registration).rpartition("/")[2], now=self.now)

    @rule(pick=picks)
    def leave(self, pick: int) -> None:
        if entry := _one(select(Entry).where(Entry.state.in_(("waiting", "invited"))), pick):
            leaving._leave(entry.id, entry.cohort_id, now=self.now)
            projection.settle(entry.cohort_id)

    @rule()
    def lose_redis(self) -> None:
        self.redis.flushall()

    @invariant()
    def the_counters_agree_with_the_rows(self) -> None:
        db.session.rollback()
        assert gate.verify() == {}
        db.session.rollback()

    @invariant()
    def the_order_follows_from_the_records(self) -> None:
        """P6."""
        assert histories.ranks_as_they_are() == histories.ranks_by_the_records()

    @invariant()
    def no_quota_is_exceeded(self) -> None:
        over = select(Cohort.name).where(Cohort.seats_used > Cohort.quota)
        assert db.session.scalars(over).all() == []

    def no_wave_admits_more_than_was_asked(self) -> None:
        found = db.session.execute(select(Wave.asked, Wave.admitted).where(Wave.asked > 0)).all()
        assert all(admitted <= asked for asked, admitted in found)
        db.session.rollback()

    @invariant()
    def nobody_holds_two_invitations(self) -> None:
        found = db.session.scalars(select(Invitation.entry_id).where(Invitation.state == "open"))
        assert set(Counter(found).values()) <= {1}
        db.session.rollback()

    @invariant()
    def every_reissue_supersedes_the_one_before_it(self) -> None:
        """P7: and whoever holds an open one is invited."""
        db.session.rollback()
        found = db.session.execute(
            select(Invitation.entry_id, Invitation.generation, Invitation.state, Entry.state)
            .join(Entry, Entry.id == Invitation.entry_id)
            .order_by(Invitation.entry_id, Invitation.id)
        ).all()
        db.session.rollback()
        for one, then in pairwise(found):
            follows = one[0] == then[0] and then[1] == one[1] + 1
            assert (one[2] == "superseded") == follows
        assert {person for _, _, state, person in found if state == "open"} <= {"invited"}
        assert not any(state == "superseded" for _, _, state, _ in found[-1:])

    def teardown(self) -> None:
        db.session.rollback()

    def _job(self) -> None:
        """What the admission job does."""
        invitations.beat(now=self.now)
        invitations.lapse(now=self.now)
        reminding.remind(now=self.now)
        health.watch(now=self.now)
        waves.tick(now=self.now)
        self._carry_on()

    def _carry_on(self) -> None:
        plans.carry_on_due(now=self.now)

    def _admits(self, act: Callable[[], object]) -> list[int]:
        """Who comes in by this, in order; and that it was right who did."""
        last, before = self._last_invitation(), histories.lines()
        act()
        in_turn, named = histories.let_in_since(last)
        assert histories.passed_over(before, in_turn, named) == {}  # P5
        come = db.session.scalars(
            select(Invitation.entry_id).where(Invitation.id > last).order_by(Invitation.id)
        ).all()
        used, capacity = db.session.execute(select(Gate.seats_used, Gate.capacity)).one()
        db.session.rollback()
        assert not come or used <= capacity  # P3
        projection.require_valid()
        for cohort_id, name in enumerate(COHORTS, start=1):
            assert tables.line_in_redis(self.redis, name) == tables.line_in_sql(cohort_id)
        return list(come)

    def _reissues(self, act: Callable[[], object]) -> None:
        """Whoever gets a fresh invitation by this has a seat that was free, of their old wave."""
        last = self._last_invitation()
        act()
        new = select(Invitation).where(Invitation.id > last)
        made = db.session.scalars(new).one_or_none()
        if made is not None:
            used, capacity = db.session.execute(select(Gate.seats_used, Gate.capacity)).one()
            assert used <= capacity  # P3
            before = db.session.scalars(
                select(Invitation)
                .where(Invitation.entry_id == made.entry_id, Invitation.id < made.id)
                .order_by(Invitation.id.desc())
            ).first()
            assert before is not None
            assert (made.generation, made.wave_id) == (before.generation + 1, before.wave_id)
        db.session.rollback()

    def _by_hand(self, act: Callable[..., object], entry_id: int, **how: object) -> None:
        with suppress(ValueRefused):
            act([entry_id], actor="test", reason="", now=self.now, **how)
        db.session.rollback()

    def _last_invitation(self) -> int:
        db.session.rollback()
        last = db.session.scalar(select(func.max(Invitation.id))) or 0
        db.session.rollback()
        return last

    def _allowance(self) -> float:
        db.session.rollback()
        allowance = db.session.scalars(select(Gate.allowance)).one()
        db.session.rollback()
        return allowance


def _begin_cohorts(now: datetime) -> None:
    """Both cohorts as at first: open, with no quota, at any hour."""
    if db.session.scalar(select(Cohort.id).where(Cohort.name == COHORTS[1])) is None:
        people.add_cohort(COHORTS[1], now=now)
    opens_at = now - timedelta(days=1)
    db.session.execute(update(Cohort).values(opens_at=opens_at, quota=None, weight=1, hours=None))
    db.session.commit()


def _invitations_of(wave_id: int) -> int:
    db.session.rollback()
    mine = select(func.count()).select_from(Invitation).where(Invitation.wave_id == wave_id)
    found = db.session.scalar(mine) or 0
    db.session.rollback()
    return found


def _one(query: Select[T], pick: int) -> T | None:
    """One of the rows found, by a number that Hypothesis chose."""
    found = db.session.scalars(query).all()
    db.session.rollback()
    return found[pick % len(found)] if found else None


@pytest.fixture
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that cost nothing: what they are worth is tested elsewhere."""
    cheap = PasswordHasher(memory_cost=8, time_cost=1, parallelism=1)
    monkeypatch.setattr(passwords, "HASHER", cheap)


@pytest.mark.usefixtures("quick_hashes")
def test_whatever_happens_no_seat_is_promised_twice(
    app: Flask, redis: Redis, sink: SmtpSink, now: datetime
) -> None:
    """P3 to P7, P13, P18: after every step of every history."""
    Launch.redis, Launch.sink, Launch.started = redis, sink, now
    run_state_machine_as_test(Launch, settings=QUICK)
