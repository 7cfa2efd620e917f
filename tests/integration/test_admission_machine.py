"""P3, P4, P7 and P18 over histories that Hypothesis invents."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
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
from hypothesis.strategies import booleans, integers
from redis import Redis
from sqlalchemy import Select, select

from tests import people, tables
from tests.servers import SmtpSink
from waitlist import delivery, links, projection
from waitlist.admission import gate, plans, recall, rounds, waves
from waitlist.admission.plans import When
from waitlist.extensions import db
from waitlist.models import Entry, Gate, Invitation, Wave
from waitlist.onboarding import completion, invitations, passwords
from waitlist.signup import leaving

T = TypeVar("T")
FOREVER = datetime.max.replace(tzinfo=UTC)
QUICK = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
picks = integers(0, 99)


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
        projection.require_valid()
        people.join("twice@example.org", now=self.now)
        people.join("twice@example.org", now=self.now)  # takes a number, so ids aren't ranks
        self.join(5)
        self.set_the_gate(3, 3_600)
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

    @rule(capacity=integers(0, 6), rate=integers(0, 7_200))
    def set_the_gate(self, capacity: int, rate: int) -> None:
        gate.change(actor="test", now=self.now, capacity=capacity, rate=rate, paused=False)

    @rule()
    def pause(self) -> None:
        gate.change(actor="test", now=self.now, paused=True)

    @rule(seconds=integers(1, 4))
    def tick(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self._admitted(waves.tick(now=self.now))

    @rule(asked=integers(1, 5))
    def wave(self, asked: int) -> None:
        self._admitted(waves.admit(asked, cohort=None, actor="test", now=self.now))

    @rule(asked=integers(1, 5), later=integers(0, 60), over=integers(0, 10))
    def plan(self, asked: int, later: int, over: int) -> None:
        starts_at = self.now + timedelta(minutes=later) if later else None
        when = When(starts_at, timedelta(minutes=over) if over or not later else None)
        if when.over or when.starts_at:
            waves.admit(asked, cohort=None, actor="test", now=self.now, when=when)

    @rule(pick=picks, people=integers(1, 3))
    def invite_by_name(self, pick: int, people: int) -> None:
        ids = db.session.scalars(select(Entry.id).where(projection.in_line())).all()
        db.session.rollback()
        if named := [ids[(pick + nth * 7) % len(ids)] for nth in range(people)] if ids else []:
            chosen = list(dict.fromkeys(named))
            self._admitted(waves.invite(chosen, actor="test", reason="friends", now=self.now))

    @rule(seconds=integers(1, 600))
    def carry_on(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        for outcome in plans.carry_on_due(now=self.now):
            self._admitted(outcome)

    @rule(hours=integers(-3, 3))
    def step_the_clock(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(pick=picks)
    def halt(self, pick: int) -> None:
        if wave := _one(select(Wave).where(Wave.state.in_(plans.TO_DO)), pick):
            recall.halt(wave.id, actor="test", reason="", now=self.now)

    @rule(pick=picks, revoke=booleans())
    def take_back(self, pick: int, revoke: bool) -> None:
        if wave := _one(select(Wave), pick):
            recall.recall(wave.id, revoke=revoke, actor="test", reason="", now=self.now)
            left = select(Invitation).where(Invitation.wave_id == wave.id)
            assert not revoke or not _one(left.where(Invitation.state == "open"), 0)

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

    @rule(pick=picks)
    def renew(self, pick: int) -> None:
        if invitation := _one(select(Invitation), pick):
            invitations.renew(links.invitation_token(invitation), now=self.now)

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
    def no_wave_admits_more_than_was_asked(self) -> None:
        found = db.session.execute(select(Wave.asked, Wave.admitted).where(Wave.asked > 0)).all()
        assert all(admitted <= asked for asked, admitted in found)
        db.session.rollback()

    @invariant()
    def nobody_holds_two_invitations(self) -> None:
        found = db.session.scalars(select(Invitation.entry_id).where(Invitation.state == "open"))
        assert set(Counter(found).values()) <= {1}
        db.session.rollback()

    def teardown(self) -> None:
        db.session.rollback()

    def _admitted(self, outcome: rounds.Outcome) -> None:
        db.session.rollback()
        used, capacity = db.session.execute(select(Gate.seats_used, Gate.capacity)).one()
        db.session.rollback()
        assert not outcome.admitted or used <= capacity
        projection.require_valid()
        assert tables.line_in_redis(self.redis) == tables.line_in_sql()


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
    """P3, P4, P7, P13, P18: after every step of every history."""
    Launch.redis, Launch.sink, Launch.started = redis, sink, now
    run_state_machine_as_test(Launch, settings=QUICK)
