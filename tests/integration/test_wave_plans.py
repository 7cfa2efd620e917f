"""Waves that begin later or are spread: the clock carries them on, evenly, until they are done."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select, text, update

from tests import people, tables
from tests.conftest import MakeApp
from waitlist import cohorts, projection
from waitlist.admission import gate, plans, recall, rounds, waves
from waitlist.admission.plans import When
from waitlist.errors import CohortUnknown, ValueRefused
from waitlist.extensions import db
from waitlist.models import Audit, Cohort, Invitation, MailPace, Message, Wave

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def _wave(wave_id: int | None) -> Wave:
    db.session.rollback()
    wave = db.session.get_one(Wave, wave_id, populate_existing=True)
    db.session.expunge(wave)
    db.session.rollback()
    return wave


def _admitted(wave_id: int | None) -> int:
    return _wave(wave_id).admitted


def _invited() -> list[int]:
    found = db.session.scalars(select(Invitation.entry_id).order_by(Invitation.id)).all()
    db.session.rollback()
    return list(found)


def _plan(asked: int, now: datetime, when: When, cohort: str | None = None) -> int:
    outcome = waves.admit(asked, cohort=cohort, actor="ines", reason="launch", now=now, when=when)
    assert outcome.wave_id is not None
    assert (outcome.admitted, outcome.more) == (0, False)
    return outcome.wave_id


def _clock(moments: Iterable[datetime]) -> list[int]:
    """How many came in at each of these moments by the waves that are due."""
    return [sum(one.admitted for one in plans.carry_on_due(now=at)) for at in moments]


def test_a_planned_wave_begins_at_its_time_and_not_before(app: Flask, now: datetime) -> None:
    """P18: and a clock that comes to the time twice begins it once."""
    ids = people.crowd(5, now=now)
    people.open_gate(100, now=now)
    wave_id = _plan(3, now, When(now + HOUR))
    assert _wave(wave_id).state == "planned"
    assert _clock([now + HOUR - SECOND, now + HOUR, now + HOUR, now + 3 * HOUR, now + HOUR]) == [
        *(0, 3, 0),
        *(0, 0),
    ]
    assert _invited() == ids[:3]
    done = _wave(wave_id)
    assert (done.state, done.note, done.admitted) == ("done", "", 3)
    assert gate.verify() == {}


def test_a_spread_wave_comes_evenly_and_ends_with_its_while(app: Flask, now: datetime) -> None:
    """P5: in the order of the line."""
    ids = people.crowd(12, now=now)
    people.open_gate(100, now=now)
    wave_id = _plan(10, now, When(over=MINUTE))
    came = _clock(now + SECOND * second for second in range(61))
    assert sum(came) == 10
    assert [at for at, many in enumerate(came) if many] == [6, 12, 18, 24, 30, 36, 42, 48, 54, 60]
    assert _invited() == ids[:10]
    assert _wave(wave_id).state == "done"


def test_a_wave_may_begin_later_and_be_spread_from_then_on(app: Flask, now: datetime) -> None:
    people.crowd(4, now=now)
    people.open_gate(100, now=now)
    wave_id = _plan(4, now, When(now + HOUR, 4 * MINUTE))
    moments = [now + HOUR + part * MINUTE for part in range(5)]
    assert _clock([now + 30 * MINUTE, *moments]) == [0, 0, 1, 1, 1, 1]
    assert _wave(wave_id).state == "done"


def test_a_spread_wave_that_was_paused_waits_says_so_and_makes_no_lump_afterwards(
    app: Flask, now: datetime
) -> None:
    people.crowd(20, now=now)
    people.open_gate(100, now=now)
    wave_id = _plan(20, now, When(over=20 * MINUTE))
    assert _clock(now + MINUTE * minute for minute in range(6)) == [0, 1, 1, 1, 1, 1]
    gate.change(actor="test", now=now, paused=True)
    assert _clock(now + MINUTE * minute for minute in (7, 9, 11)) == [0, 0, 0]
    assert _wave(wave_id).note == "waits: the gate is paused"
    assert _wave(wave_id).state == "running"
    gate.change(actor="test", now=now, paused=False)
    assert sum(_clock(now + 30 * MINUTE + second * SECOND for second in range(61))) == 2
    assert _wave(wave_id).note == ""


def test_a_planned_wave_that_finds_no_seats_waits_and_goes_on_when_there_are_some(
    app: Flask, now: datetime
) -> None:
    """P3."""
    ids = people.crowd(6, now=now)
    people.open_gate(2, now=now)
    wave_id = _plan(5, now, When(now + HOUR))
    assert _clock([now + HOUR, now + HOUR + SECOND]) == [2, 0]
    waits = _wave(wave_id)
    assert waits.state == "running"
    assert waits.note.startswith("waits: every seat is used")
    people.open_gate(10, now=now)
    assert _clock([now + 2 * HOUR]) == [3]
    assert _invited() == ids[:5]
    assert _wave(wave_id).state == "done"


def test_a_wave_ends_when_nobody_is_left_to_take_and_says_so(app: Flask, now: datetime) -> None:
    people.crowd(3, now=now)
    people.open_gate(100, now=now)
    wave_id = _plan(5, now, When(now + HOUR))
    assert _clock([now + HOUR]) == [3]
    done = _wave(wave_id)
    assert (done.state, done.note) == ("done", plans.WHY["nobody"])


def test_a_wave_that_finds_no_cohort_open_or_its_quota_used_up_waits(
    app: Flask, now: datetime
) -> None:
    people.add_cohort("beta", now=now, opened=False, quota=1)
    people.crowd(3, now=now, cohort="beta", name="b")
    people.open_gate(100, now=now)
    named_one = _plan(3, now, When(now + HOUR), "beta")
    assert _clock([now + HOUR]) == [1]
    assert _wave(named_one).note == f"waits: {plans.WHY['quota']}"
    cohorts.change("beta", actor="test", now=now, quota=3)
    assert _clock([now + HOUR + SECOND]) == [2]
    cohorts.change("general", actor="test", now=now, opens_at=None)
    of_all = _plan(3, now, When(now + 2 * HOUR))
    assert _clock([now + 2 * HOUR]) == [0]
    assert _wave(of_all).note == f"waits: {plans.WHY['closed']}"


def test_a_planned_wave_keeps_to_the_hours_of_its_cohort_and_one_at_once_doesnt(
    app: Flask, now: datetime
) -> None:
    """The tests' clock shows 12:00 UTC, which is 07:00 in New York."""
    beta = people.add_cohort("beta", now=now)
    people.crowd(4, now=now, cohort="beta", name="b")
    people.open_gate(100, now=now)
    _set_hours(beta, "09:00-17:00", "America/New_York")
    wave_id = _plan(3, now, When(now + MINUTE), "beta")
    assert _clock([now + MINUTE, now + 2 * HOUR - SECOND]) == [0, 0]
    assert _wave(wave_id).note == f"waits: {plans.WHY['hours']}"
    assert waves.admit(1, cohort="beta", actor="test", now=now).admitted == 1
    assert _clock([now + 2 * HOUR]) == [3]


def test_a_wave_waits_while_bounces_hold_invitations_back(app: Flask, now: datetime) -> None:
    people.crowd(2, now=now)
    people.open_gate(100, now=now)
    db.session.execute(update(MailPace).values(stopped_at=now))
    db.session.commit()
    wave_id = _plan(2, now, When(now + HOUR))
    assert _clock([now + HOUR]) == [0]
    assert _wave(wave_id).note == f"waits: {plans.WHY['bounces']}"
    db.session.execute(update(MailPace).values(stopped_at=None))
    db.session.commit()
    assert _clock([now + 2 * HOUR]) == [2]


def test_a_clock_that_steps_two_hours_doubles_no_wave(app: Flask, now: datetime) -> None:
    """P18."""
    people.crowd(40, now=now)
    people.open_gate(100, now=now)
    wave_id = _plan(30, now, When(over=HOUR))
    steps = [now + 4 * MINUTE, now + 2 * HOUR, now + 6 * MINUTE, now + 2 * HOUR, now + 8 * MINUTE]
    assert max(_clock(steps)) <= 2
    assert _admitted(wave_id) <= 5


def test_what_a_killed_command_left_is_carried_on_by_the_clock_within_a_minute(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P16: and not before, so that two don't work at it."""
    monkeypatch.setattr(rounds, "ROUND", 2)
    ids = people.crowd(9, now=now)
    people.open_gate(100, now=now)
    wave_id = _killed_after_a_round(monkeypatch, 7, now)
    assert (_wave(wave_id).state, _admitted(wave_id)) == ("running", 2)
    assert _clock([now + 44 * SECOND, now + 45 * SECOND]) == [0, 5]
    assert _invited() == ids[:7]
    assert _wave(wave_id).state == "done"


def test_while_a_command_admits_the_clock_leaves_its_wave_alone_and_its_mails_wait_their_minute(
    make_app: MakeApp, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes: here each round takes 40 seconds."""
    seconds = iter(range(0, 1_000, 40))
    monkeypatch.setattr(rounds, "_whole_seconds_since", lambda _: next(seconds) * SECOND)
    monkeypatch.setattr(rounds, "ROUND", 2)
    with make_app(wave_undo=MINUTE).app_context():
        projection.require_valid()
        people.crowd(6, now=now)
        people.open_gate(100, now=now)
        wave_id = _killed_after_rounds(3, monkeypatch, 6, now)
        assert _wave(wave_id).starts_at == now + 80 * SECOND + plans.LEFT_ALONE
        due = select(Message.due_at).where(Message.kind == "invitation").order_by(Message.id)
        waits = [due_at - now - MINUTE for due_at in db.session.scalars(due)]
        assert waits == [SECOND * at for at in (0, 0, 40, 40, 80, 80)]


def test_shares_outlive_whoever_decided_them(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P5: so a wave that was carried on by another process is the same wave."""
    monkeypatch.setattr(rounds, "ROUND", 2)
    people.add_cohort("beta", now=now, weight=2)
    people.crowd(9, now=now, cohort="beta", name="b")
    people.crowd(9, now=now)
    people.open_gate(100, now=now)
    wave_id = _killed_after_a_round(monkeypatch, 9, now)
    db.session.execute(update(Cohort).values(weight=1, credit=0.0))
    db.session.commit()
    _clock([now + MINUTE])
    counts = select(Invitation.cohort_id).where(Invitation.wave_id == wave_id)
    found = list(db.session.scalars(counts))
    assert (found.count(1), found.count(2)) == (3, 6)


def test_a_share_that_cant_be_filled_any_more_is_lent_to_the_others(
    app: Flask, now: datetime
) -> None:
    people.add_cohort("beta", now=now)
    people.crowd(5, now=now, cohort="beta", name="b")
    people.crowd(5, now=now)
    people.open_gate(100, now=now)
    wave_id = _plan(8, now, When(over=8 * MINUTE))
    _clock(now + minute * MINUTE for minute in range(3))
    waves.admit(5, cohort="beta", actor="test", now=now)
    _clock(now + minute * MINUTE for minute in range(3, 9))
    assert _admitted(wave_id) == 6
    assert _wave(wave_id).state == "done"


def test_a_large_wave_leaves_the_tick_its_second(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "ROUND", 2)
    monkeypatch.setattr(plans, "ROUNDS_A_TICK", 2)
    people.crowd(9, now=now)
    people.open_gate(100, now=now)
    wave_id = _plan(9, now, When(now + HOUR))
    assert _clock([now + HOUR] * 4) == [4, 4, 1, 0]
    assert _wave(wave_id).state == "done"


def test_where_no_wave_is_to_do_the_clock_asks_one_question_by_an_index(
    app: Flask, now: datetime
) -> None:
    people.crowd(1, now=now)
    people.open_gate(100, now=now)
    waves.admit(1, cohort=None, actor="test", now=now)
    _plan(1, now, When(now + HOUR))
    with tables.counting() as work:
        assert plans.carry_on_due(now=now) == []
    assert (work.statements, work.commits) == (1 + _ITS_OWN[db.engine.dialect.name], 0)
    if db.engine.dialect.name == "sqlite":
        db.session.rollback()
        due = select(Wave).where(plans.DUE, text("starts_at <= 0"))
        asked = f"EXPLAIN QUERY PLAN {due.compile(db.engine)}"
        assert "waves_to_do" in str(db.session.connection().exec_driver_sql(asked).all())


_ITS_OWN = {"sqlite": 0, "postgresql": 1}  # statements that begin a reading transaction


def test_the_mails_of_a_wave_by_hand_wait_and_those_of_the_tick_dont(
    make_app: MakeApp, now: datetime
) -> None:
    with make_app(wave_undo=timedelta(seconds=60)).app_context():
        projection.require_valid()
        people.crowd(6, now=now)
        people.open_gate(100, 3_600, now=now)
        waves.tick(now=now)
        waves.tick(now=now + SECOND)
        at_once = waves.admit(1, cohort=None, actor="test", now=now).wave_id
        planned = _plan(2, now, When(now + HOUR, 2 * MINUTE))
        _clock([now + HOUR + MINUTE, now + HOUR + 2 * MINUTE])
        owed = db.session.execute(
            select(Message.created_at, Message.due_at)
            .where(Message.kind == "invitation")
            .order_by(Message.id)
        ).all()
        assert [due_at - created_at for created_at, due_at in owed] == [
            timedelta(0),
            *[timedelta(seconds=60)] * 3,
        ]
        assert _wave(at_once).mails_from == now + MINUTE
        assert _wave(planned).mails_from == now + HOUR + 2 * MINUTE


def test_a_plan_that_makes_no_sense_is_refused_and_nothing_is_kept(
    app: Flask, now: datetime
) -> None:
    before = tables.everything()
    for when, words in ((When(now - SECOND), "past"), (When(over=timedelta(days=31)), "30 days")):
        with pytest.raises(ValueRefused, match=words):
            waves.admit(1, cohort=None, actor="test", now=now, when=when)
    with pytest.raises(CohortUnknown):
        waves.admit(1, cohort="gamma", actor="test", now=now, when=When(now + HOUR))
    assert tables.everything() == before


def test_a_plan_is_audited_with_what_was_asked(app: Flask, now: datetime) -> None:
    people.add_cohort("beta", now=now)
    wave_id = _plan(3, now, When(now + HOUR, 2 * HOUR), "beta")
    audited = db.session.scalars(select(Audit).where(Audit.action == "wave.admit")).one()
    assert (audited.subject, audited.reason) == (f"wave:{wave_id}", "launch")
    assert audited.after == {
        "asked": 3,
        "cohort": 2,
        "starts_at": (now + HOUR).isoformat(),
        "over_seconds": 7_200,
    }


def _killed_after_a_round(monkeypatch: pytest.MonkeyPatch, asked: int, now: datetime) -> int:
    return _killed_after_rounds(1, monkeypatch, asked, now)


def _killed_after_rounds(
    how_many: int, monkeypatch: pytest.MonkeyPatch, asked: int, now: datetime
) -> int:
    """The wave of a command that was killed, so that it could halt nothing."""
    passed: list[str] = []

    def die(place: str) -> None:
        passed.append(place)
        if passed.count("admission.committed") == how_many:
            raise RuntimeError(place)

    with monkeypatch.context() as patched:
        patched.setattr(rounds, "failpoint", die)
        patched.setattr(recall, "halt", lambda *_args, **_more: None)
        with pytest.raises(RuntimeError):
            waves.admit(asked, cohort=None, actor="test", now=now)
    wave_id = db.session.scalar(select(Wave.id).order_by(Wave.id.desc()))
    db.session.rollback()
    assert wave_id is not None
    return wave_id


def _set_hours(cohort: Cohort, hours: str, zone: str) -> None:
    which = Cohort.id == cohort.id
    db.session.execute(update(Cohort).where(which).values(hours=hours, timezone=zone))
    db.session.commit()
