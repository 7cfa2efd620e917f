"""The dry run of a wave: what it foretells is what the wave then does."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from tests import people
from tests.conftest import MakeApp
from tests.tables import empty
from waitlist import cohorts, projection
from waitlist.admission import gate, plans, preview, rounds, waves
from waitlist.admission.plans import When
from waitlist.extensions import db
from waitlist.models import Cohort, Entry, Gate, Invitation, MailPace

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
QUICK = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.generate,),  # to shrink a launch takes minutes
    suppress_health_check=list(HealthCheck),
)

# of each cohort: weight, quota, seats used, credit, whether it is open, and who waits by rank
# (True: can be mailed)
COHORTS = st.lists(
    st.fixed_dictionaries(
        {
            "weight": st.integers(1, 9),
            "quota": st.none() | st.none() | st.integers(0, 12),
            "credit": st.floats(-1, 1),
            "open": st.sampled_from([True, True, True, False]),
            "people": st.lists(st.sampled_from([True, True, True, False]), max_size=14)
            | st.just([True] * 14),
        }
    ),
    min_size=2,
    max_size=4,
)


def _launch(drawn: list[dict[str, Any]], seats: int, now: datetime) -> None:
    """A gate with so many seats, and these cohorts with people in their lines."""
    empty()
    db.session.execute(update(Gate).values(capacity=seats, paused=False))
    for number, one in enumerate(drawn):
        values = {
            "weight": one["weight"],
            "quota": one["quota"],
            "credit": one["credit"],
            "opens_at": now if one["open"] else None,
        }
        cohort_id = db.session.scalar(
            insert(Cohort).values(name=f"c{number}", created_at=now, **values).returning(Cohort.id)
        )
        for nth, mailable in enumerate(one["people"]):
            address = f"p{number}-{nth}@example.org"
            db.session.add(
                Entry(
                    state="waiting",
                    cohort_id=cohort_id,
                    address=address,
                    address_key=address,
                    mail_to=address,
                    arrival=10 * nth + number,
                    rank=10 * nth // 2,  # two by two they are equal
                    joined_at=now,
                    suppressed_at=None if mailable else now,
                )
            )
    db.session.commit()
    projection.require_valid()


def _invited() -> list[int]:
    found = db.session.scalars(select(Invitation.entry_id).order_by(Invitation.id)).all()
    db.session.rollback()
    return list(found)


@QUICK
@given(
    drawn=COHORTS,
    seats=st.integers(0, 40),
    asked=st.integers(1, 40),
    size=st.integers(1, 7),
    named=st.none() | st.integers(0, 3),
)
def test_the_wave_takes_whom_the_dry_run_foretold_in_that_order(
    app: Flask,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    drawn: list[dict[str, Any]],
    seats: int,
    asked: int,
    size: int,
    named: int | None,
) -> None:
    """P5: however many rounds it takes, whatever the weights, quotas and credits."""
    monkeypatch.setattr(rounds, "ROUND", size)
    _launch(drawn, seats, now)
    cohort = None if named is None or named >= len(drawn) else f"c{named}"
    foretold = preview.of_next(asked, cohort=cohort, now=now)
    outcome = waves.admit(asked, cohort=cohort, actor="test", now=now)
    assert _invited() == foretold.people
    assert (outcome.by_cohort, outcome.limit) == (foretold.by_cohort, foretold.limit)
    assert gate.verify() == {}
    used = db.session.scalar(select(Gate.seats_used))
    assert used == foretold.seats["gate"].after
    db.session.rollback()


@settings(QUICK, max_examples=12)
@given(drawn=COHORTS, seats=st.integers(0, 40), asked=st.integers(1, 40))
def test_a_spread_wave_takes_in_time_whom_its_dry_run_foretold(
    app: Flask, now: datetime, drawn: list[dict[str, Any]], seats: int, asked: int
) -> None:
    """P5: though the clock takes them in as many parts as it ticks."""
    _launch(drawn, seats, now)
    when = When(over=asked * MINUTE)
    foretold = preview.of_next(asked, cohort=None, now=now, when=when)
    waves.admit(asked, cohort=None, actor="test", now=now, when=when)
    for minute in range(asked + 1):
        plans.carry_on_due(now=now + minute * MINUTE)
    assert _invited() == foretold.people
    assert gate.verify() == {}
    db.session.rollback()


@QUICK
@given(
    drawn=COHORTS,
    seats=st.integers(0, 40),
    size=st.integers(1, 7),
    picks=st.lists(st.integers(0, 99), max_size=20),
)
def test_a_wave_of_named_people_takes_whom_its_dry_run_foretold_in_that_order(
    app: Flask,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    drawn: list[dict[str, Any]],
    seats: int,
    size: int,
    picks: list[int],
) -> None:
    """P3: within seats and quotas, however many rounds it takes."""
    monkeypatch.setattr(rounds, "ROUND", size)
    _launch(drawn, seats, now)
    waiting = db.session.scalars(select(Entry.id).where(projection.in_line())).all()
    db.session.rollback()
    named = list(dict.fromkeys(waiting[pick % len(waiting)] for pick in picks if waiting))
    if not named:
        return
    foretold = preview.of_named(named, now=now)
    outcome = waves.invite(named, actor="test", reason="friends", now=now)
    assert _invited() == foretold.people
    assert outcome.by_cohort == foretold.by_cohort
    assert gate.verify() == {}
    db.session.rollback()


def test_a_dry_run_says_what_would_keep_it_from_admitting(app: Flask, now: datetime) -> None:
    people.crowd(3, now=now)
    people.open_gate(2, now=now)
    assert preview.of_next(3, cohort=None, now=now).limit == "capacity"
    gate.change(actor="test", now=now, paused=True)
    assert (preview.of_next(3, cohort=None, now=now).people, _limit(3, now)) == ([], "paused")
    later = preview.of_next(3, cohort=None, now=now, when=When(now + HOUR))
    assert (len(later.people), later.limit) == (2, "capacity")
    people.open_gate(10, now=now)
    assert _limit(9, now) == "nobody"
    cohorts.change("general", actor="test", now=now, quota=1)
    assert _limit(9, now) == "quota"
    cohorts.change("general", actor="test", now=now, opens_at=None)
    assert _limit(9, now) == "closed"
    db.session.execute(update(MailPace).values(stopped_at=now))
    db.session.commit()
    assert _limit(9, now) == "bounces"


def test_mails_would_be_out_after_the_undo_at_the_pace_of_mail(
    make_app: MakeApp, now: datetime
) -> None:
    with make_app(wave_undo=timedelta(seconds=60), mail_per_minute=60).app_context():
        projection.require_valid()
        people.crowd(121, now=now)
        people.open_gate(1_000, now=now)
        mail = preview.of_next(121, cohort=None, now=now).mail
        assert mail.first is not None
        assert mail.last is not None
        assert timedelta(seconds=60) <= mail.first - now < timedelta(seconds=62)
        assert timedelta(minutes=1, seconds=55) < mail.last - mail.first < timedelta(seconds=135)
        waves.admit(61, cohort=None, actor="test", now=now)
        second = preview.of_next(60, cohort=None, now=now).mail
        assert second.first is not None
        assert second.first > mail.first + timedelta(seconds=50)
        assert second.before < mail.before


def test_mails_of_a_planned_wave_would_be_out_within_the_hours_of_its_cohort(
    app: Flask, now: datetime
) -> None:
    """The tests' clock shows 12:00 UTC, which is 07:00 in New York."""
    people.add_cohort("beta", now=now)
    people.crowd(2, now=now, cohort="beta", name="b")
    people.open_gate(10, now=now)
    zone = {"hours": "09:00-17:00", "timezone": "America/New_York"}
    cohorts.change("beta", actor="test", now=now, **zone)
    planned = preview.of_next(2, cohort="beta", now=now, when=When(now + HOUR))
    assert len(planned.people) == 2
    assert planned.mail.first == now + 2 * HOUR
    at_once = preview.of_next(2, cohort="beta", now=now)
    assert len(at_once.people) == 2
    assert at_once.mail.first == now + 2 * HOUR
    spread = preview.of_next(2, cohort="beta", now=now, when=When(now + HOUR, 3 * HOUR))
    assert spread.mail.last is not None
    assert spread.mail.last >= now + 5 * HOUR


def test_mails_that_are_held_would_be_out_at_no_time_that_is_known(
    app: Flask, now: datetime
) -> None:
    people.crowd(2, now=now)
    people.open_gate(10, now=now)
    db.session.execute(update(Gate).values(held_mails=["invitation"]))
    db.session.commit()
    mail = preview.of_next(2, cohort=None, now=now).mail
    assert (mail.first, mail.last, mail.before) == (None, None, 0)


def _limit(asked: int, now: datetime) -> str:
    return preview.of_next(asked, cohort=None, now=now).limit


def test_a_wave_in_rounds_of_one_mixes_its_cohorts_as_the_dry_run_foretold(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "ROUND", 1)
    everybody = {"quota": None, "credit": 0.0, "open": True, "people": [True] * 9}
    _launch([{"weight": 2, **everybody}, {"weight": 1, **everybody}], 100, now)
    foretold = preview.of_next(6, cohort=None, now=now)
    waves.admit(6, cohort=None, actor="test", now=now)
    assert _invited() == foretold.people
    of = dict(db.session.execute(select(Entry.id, Cohort.name).join(Entry.cohort)).all())
    assert [of[id_] for id_ in foretold.people] == ["c0", "c1", "c0", "c0", "c1", "c0"]
