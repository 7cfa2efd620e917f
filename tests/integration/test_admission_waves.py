"""Waves: whom they take, in which order, from which cohorts, and what limits them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests import people, tables
from tests.people import ALICE, BOB, CAROL
from waitlist import cohorts
from waitlist.admission import gate, preview, rounds, waves
from waitlist.errors import CohortUnknown, ValueRefused
from waitlist.extensions import db
from waitlist.models import Audit, Entry, Invitation, Wave
from waitlist.onboarding import invitations

SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _rounds_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[str] = []

    def count(place: str) -> None:
        passed.append(place)
        assert len(passed) < 500, "a wave goes round and round"

    monkeypatch.setattr(rounds, "failpoint", count)


def _admit(asked: int, now: datetime, cohort: str | None = None) -> rounds.Outcome:
    outcome = waves.admit(asked, cohort=cohort, actor="test", now=now)
    assert gate.verify() == {}
    db.session.rollback()
    return outcome


def _admitted_in_order() -> list[int]:
    found = db.session.scalars(select(Invitation.entry_id).order_by(Invitation.id)).all()
    db.session.rollback()
    return list(found)


def test_a_wave_ignores_the_rate_but_not_the_seats(app: Flask, now: datetime) -> None:
    """P3."""
    people.crowd(6, now=now)
    people.open_gate(4, 1, now=now)
    outcome = _admit(6, now)
    assert (outcome.admitted, outcome.limit) == (4, "capacity")
    assert _admit(1, now).admitted == 0


def test_a_wave_takes_those_who_came_first(app: Flask, now: datetime) -> None:
    """P5: by rank, and among equal ranks by id."""
    ids = people.crowd(5, now=now)
    people.open_gate(5, now=now)
    last, middle = db.session.get_one(Entry, ids[4]), db.session.get_one(Entry, ids[2])
    first = db.session.get_one(Entry, ids[0]).rank
    people.make(last, rank=first)
    people.make(middle, rank=first)
    for _ in range(5):
        _admit(1, now)
    assert _admitted_in_order() == [ids[0], ids[2], ids[4], ids[1], ids[3]]


def test_over_a_recorded_history_nobody_is_in_an_earlier_wave_than_who_came_before(
    app: Flask, now: datetime
) -> None:
    """P5: joins, ticks and waves take turns; A answered before B asked, so A isn't after B."""
    people.open_gate(100, 3_600, now=now)
    answered: list[int] = []
    for second in range(12):
        at = now + SECOND * second
        answered += people.crowd(1 + second % 3, now=at, name=f"s{second}-")
        waves.tick(now=at)
        if second % 4 == 3:
            _admit(2, at)
    query = select(Invitation.entry_id, Invitation.wave_id)
    wave_of = {row.entry_id: row.wave_id for row in db.session.execute(query)}
    in_waves = [wave_of.get(entry, 10**9) for entry in answered]
    assert in_waves == sorted(in_waves)
    assert len(wave_of) > 10


def test_a_wave_may_name_a_cohort_that_isnt_open_yet(app: Flask, now: datetime) -> None:
    people.add_cohort("beta", now=now, opened=False)
    ids = people.crowd(3, now=now, cohort="beta")
    people.open_gate(100, 36_000, now=now)
    assert _admit(2, now, "beta").by_cohort == {"beta": 2}
    assert _admitted_in_order() == ids[:2]


def test_neither_tick_nor_wave_takes_from_a_cohort_that_isnt_open_unless_named(
    app: Flask, now: datetime
) -> None:
    people.add_cohort("beta", now=now, opened=False)
    people.crowd(3, now=now, cohort="beta")
    people.open_gate(100, 36_000, now=now)
    waves.tick(now=now)
    tick = waves.tick(now=now + SECOND)
    assert (tick.admitted, tick.limit) == (0, "nobody")
    assert _admit(3, now).admitted == 0


def test_a_cohort_is_drawn_from_once_its_opening_date_has_come(app: Flask, now: datetime) -> None:
    beta = people.add_cohort("beta", now=now, opened=False)
    people.crowd(3, now=now, cohort="beta")
    people.open_gate(100, now=now)
    cohorts.change(beta.name, actor="test", now=now, opens_at=now + SECOND)
    assert _admit(1, now).admitted == 0
    assert _admit(1, now + SECOND).admitted == 1


def test_a_wave_from_an_unknown_cohort_says_which_there_are(app: Flask, now: datetime) -> None:
    people.open_gate(1, now=now)
    with pytest.raises(CohortUnknown, match="general"):
        _admit(1, now, "gamma")


@pytest.mark.parametrize("asked", [0, -1, 1_000_001])
def test_a_wave_of_no_sensible_size_is_refused(app: Flask, now: datetime, asked: int) -> None:
    with pytest.raises(ValueRefused):
        _admit(asked, now)


def test_open_cohorts_share_by_their_weight(app: Flask, now: datetime) -> None:
    people.add_cohort("beta", now=now, weight=3)
    people.crowd(9, now=now, cohort="beta", name="b")
    people.crowd(9, now=now)
    people.open_gate(100, now=now)
    assert _admit(8, now).by_cohort == {"general": 2, "beta": 6}


def test_single_seats_are_shared_by_weight_too(app: Flask, now: datetime) -> None:
    people.add_cohort("beta", now=now, weight=3)
    people.crowd(9, now=now, cohort="beta", name="b")
    people.crowd(9, now=now)
    people.open_gate(100, now=now)
    taken = [next(iter(_admit(1, now).by_cohort)) for _ in range(8)]
    assert (taken.count("general"), taken.count("beta")) == (2, 6)


def test_a_share_that_isnt_used_is_lent(app: Flask, now: datetime) -> None:
    people.add_cohort("beta", now=now, weight=3)
    people.crowd(1, now=now, cohort="beta", name="b")
    people.crowd(9, now=now)
    people.open_gate(100, now=now)
    assert _admit(8, now).by_cohort == {"general": 7, "beta": 1}


def test_a_quota_bounds_its_cohort_and_the_rest_is_lent(app: Flask, now: datetime) -> None:
    people.add_cohort("beta", now=now, weight=3, quota=2)
    people.crowd(5, now=now, cohort="beta", name="b")
    people.crowd(5, now=now)
    people.open_gate(100, now=now)
    assert _admit(6, now).by_cohort == {"general": 4, "beta": 2}
    assert _admit(6, now).by_cohort == {"general": 1}
    cohorts.change("beta", actor="test", now=now, quota=3)
    assert _admit(6, now).by_cohort == {"beta": 1}


def test_a_quota_below_what_is_used_is_refused(app: Flask, now: datetime) -> None:
    people.add_cohort("beta", now=now)
    people.crowd(3, now=now, cohort="beta", name="b")
    people.open_gate(100, now=now)
    waves.admit(2, cohort="beta", actor="test", now=now)
    with pytest.raises(ValueRefused, match="2 seats of beta are used already"):
        cohorts.change("beta", actor="test", now=now, quota=1)
    assert cohorts.change("beta", actor="test", now=now, quota=2).quota == 2


def test_a_dry_run_says_what_the_wave_then_does_and_changes_nothing(
    app: Flask, now: datetime
) -> None:
    people.add_cohort("beta", now=now, weight=2, quota=3)
    people.crowd(5, now=now, cohort="beta", name="b")
    people.crowd(4, now=now)
    people.open_gate(7, now=now)
    before = tables.everything()
    rehearsed = preview.of_next(9, cohort=None, now=now)
    assert tables.everything() == before
    outcome = _admit(9, now)
    assert (rehearsed.by_cohort, rehearsed.limit) == (outcome.by_cohort, outcome.limit)
    assert outcome.by_cohort == {"general": 4, "beta": 3}


def test_the_wave_is_recorded_with_who_and_why(app: Flask, now: datetime) -> None:
    people.crowd(3, now=now)
    people.open_gate(2, now=now)
    outcome = waves.admit(3, cohort=None, actor="ines", reason="beta first", now=now)
    wave = db.session.get_one(Wave, outcome.wave_id)
    assert (wave.actor, wave.reason, wave.asked, wave.admitted) == ("ines", "beta first", 3, 2)
    audited = db.session.scalars(select(Audit).where(Audit.action == "wave.admit")).one()
    assert (audited.subject, audited.actor, audited.after) == (
        f"wave:{wave.id}",
        "ines",
        {"asked": 3},
    )


def test_a_wave_larger_than_a_round_goes_on_in_the_next(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "ROUND", 3)
    ids = people.crowd(8, now=now)
    people.open_gate(100, now=now)
    assert _admit(7, now).admitted == 7
    assert _admitted_in_order() == ids[:7]
    assert db.session.scalars(select(Wave.admitted)).all() == [7]


def test_suppressed_people_are_passed_over_and_keep_their_place(app: Flask, now: datetime) -> None:
    alice, bob, _ = (people.wait_in_line(one, now=now) for one in (ALICE, BOB, CAROL))
    people.make(alice, suppressed_at=now)
    people.open_gate(10, now=now)
    _admit(1, now)
    assert _admitted_in_order() == [bob.id]
    people.make(alice, suppressed_at=None)
    _admit(1, now)
    assert _admitted_in_order() == [bob.id, alice.id]


def test_a_seat_given_back_is_taken_by_the_next_in_line(app: Flask, now: datetime) -> None:
    alice, bob = (people.wait_in_line(one, now=now) for one in (ALICE, BOB))
    people.invite(alice, now=now)
    assert _admit(1, now).admitted == 0
    db.session.execute(update(Invitation).values(expires_at=now))
    db.session.commit()
    invitations.lapse(now=now + timedelta(minutes=30))
    assert _admit(1, now).admitted == 1
    assert _admitted_in_order() == [alice.id, bob.id]


@pytest.mark.parametrize("counter", ["gate", "cohort general"])
def test_verify_finds_a_planted_difference(app: Flask, now: datetime, counter: str) -> None:
    """P4."""
    people.invite(people.wait_in_line(ALICE, now=now), now=now)
    table = db.metadata.tables["gate" if counter == "gate" else "cohorts"]
    db.session.execute(update(table).values(seats_used=2))  # where there is one
    db.session.commit()
    assert gate.verify() == {counter: (2, 1)}
