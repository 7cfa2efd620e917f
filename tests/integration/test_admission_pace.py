"""The pace of admission: even, without lumps, and by the gate as it is set at each tick."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from flask import Flask

from tests import people
from tests.conftest import MakeApp
from waitlist.admission import gate, waves
from waitlist.extensions import db
from waitlist.models import Gate, Message

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def _ticks(first: datetime, seconds: int, *, step: timedelta = SECOND) -> list[int]:
    """How many each tick admitted, a tick every `step` after `first`."""
    return [waves.tick(now=first + step * number).admitted for number in range(1, seconds + 1)]


def _set(now: datetime, *, capacity: int | None = None, rate: int | None = None) -> None:
    gate.change(actor="test", now=now, capacity=capacity, rate=rate)


def _pause(paused: bool, now: datetime) -> None:
    gate.change(actor="test", now=now, paused=paused)


def _evenly(admitted: Sequence[int]) -> bool:
    return max(admitted) - min(admitted) <= 1


@pytest.fixture
def launch(app: Flask, now: datetime) -> datetime:
    """When the gate opened: at 3,600 an hour, wide, and forty people in the line."""
    people.stand_in_line(40, now=now)
    people.open_gate(1_000, 3_600, now=now)
    waves.tick(now=now)
    return now


def test_at_3600_an_hour_one_person_enters_each_second(launch: datetime) -> None:
    admitted = _ticks(launch, 30)
    assert _evenly(admitted)
    assert 29 <= sum(admitted) <= 31


def test_at_36000_an_hour_ten_people_enter_each_second(launch: datetime) -> None:
    _set(launch, rate=36_000)
    assert _ticks(launch, 4) == [10, 10, 10, 10]


def test_at_1800_an_hour_one_person_enters_every_other_second(launch: datetime) -> None:
    _set(launch, rate=1_800)
    assert _ticks(launch, 10) == [0, 1] * 5


def test_at_60_an_hour_one_person_enters_each_minute(launch: datetime) -> None:
    _set(launch, rate=60)
    admitted = _ticks(launch, 125)
    assert [second for second, people in enumerate(admitted, 1) if people] == [60, 120]


def test_ticks_that_come_unevenly_admit_by_the_time_that_went_by(launch: datetime) -> None:
    _set(launch, rate=3_600)
    at, admitted = launch, []
    for milliseconds in (400, 400, 400, 1_800, 500, 500, 3_000):
        at += timedelta(milliseconds=milliseconds)
        admitted.append(waves.tick(now=at).admitted)
    assert admitted == [0, 0, 1, 2, 0, 1, 3]


def test_two_clocks_admit_no_more_than_one(launch: datetime) -> None:
    admitted = 0
    for second in range(1, 11):
        late = timedelta(milliseconds=50)
        for at in (launch + SECOND * second, launch + SECOND * second - late):
            admitted += waves.tick(now=at).admitted
    assert 9 <= admitted <= 10


def test_after_a_pause_there_is_no_lump(launch: datetime) -> None:
    _ticks(launch, 5)
    _pause(True, launch)
    _ticks(launch + SECOND * 5, 20)
    _pause(False, launch)
    assert _evenly(_ticks(launch + SECOND * 25, 5))


def test_after_an_hour_without_a_tick_at_most_five_seconds_of_rate_enter(launch: datetime) -> None:
    """P18: time missed is lost, never made up for."""
    assert waves.tick(now=launch + HOUR).admitted == 5
    assert _ticks(launch + HOUR, 3) == [1, 1, 1]


def test_an_hour_with_nobody_in_the_line_is_no_reserve_for_later(launch: datetime) -> None:
    _set(launch, rate=36_000)
    _ticks(launch, 4)
    _set(launch, rate=3_600)
    _ticks(launch + SECOND * 4, 30, step=timedelta(seconds=60))
    people.crowd(12, now=launch, name="later")
    assert waves.tick(now=launch + HOUR).admitted == 5


def test_time_at_capacity_is_no_reserve_for_later(launch: datetime) -> None:
    _set(launch, capacity=0)
    _ticks(launch, 30)
    _set(launch, capacity=1_000)
    assert _ticks(launch + SECOND * 30, 3) == [1, 1, 1]


def test_a_clock_that_steps_back_two_hours_and_on_again_admits_no_lump(launch: datetime) -> None:
    """P18."""
    admitted = _ticks(launch, 2) + _ticks(launch - 2 * HOUR, 5) + _ticks(launch + SECOND * 2, 3)
    assert sum(admitted) <= 10 + 5
    assert max(admitted) <= 5


def test_a_change_of_rate_takes_effect_at_the_next_tick(launch: datetime) -> None:
    _set(launch, rate=7_200)
    assert waves.tick(now=launch + SECOND).admitted == 2
    _set(launch, rate=0)
    assert _ticks(launch + SECOND, 5) == [0] * 5


def test_a_change_of_capacity_takes_effect_at_the_next_tick(launch: datetime) -> None:
    _set(launch, capacity=2, rate=36_000)
    assert _ticks(launch, 3) == [2, 0, 0]
    _set(launch, capacity=3)
    assert waves.tick(now=launch + SECOND * 4).admitted == 1


def test_a_pause_takes_effect_at_the_next_tick_and_binds_waves_too(launch: datetime) -> None:
    _pause(True, launch)
    assert waves.tick(now=launch + SECOND).admitted == 0
    wave = waves.admit(5, cohort=None, actor="test", now=launch)
    assert (wave.admitted, wave.limit) == (0, "paused")
    _pause(False, launch)
    assert waves.tick(now=launch + SECOND * 2).admitted == 1


def test_a_tick_admits_no_more_than_the_mail_can_take_in_a_quarter_of_an_hour(
    make_app: MakeApp, now: datetime
) -> None:
    with make_app(mail_per_minute=1).app_context():
        people.crowd(17, now=now)
        _no_mail_waits()
        people.open_gate(100, 72_000, now=now)
        waves.tick(now=now)
        tick = waves.tick(now=now + SECOND)
    assert (tick.admitted, tick.limit) == (15, "mail")


def _no_mail_waits() -> None:
    db.session.query(Message).delete()
    db.session.commit()


def test_what_limits_admission_is_named(launch: datetime) -> None:
    assert gate.show(now=launch).limit == "rate"
    _set(launch, capacity=0)
    assert gate.show(now=launch).limit == "capacity"
    _pause(True, launch)
    assert gate.show(now=launch).limit == "paused"


def test_a_fresh_gate_is_paused_and_has_no_seats(app: Flask, now: datetime) -> None:
    shown = gate.show(now=now)
    assert (shown.paused, shown.capacity, shown.limit) == (True, 0, "paused")
    assert db.session.query(Gate).count() == 1


def test_fewer_free_seats_than_the_pace_allows_limit_nobody_where_nobody_waits(
    app: Flask, now: datetime
) -> None:
    people.open_gate(4, rate=36_000, now=now)
    for seconds in (0, 5):
        waves.tick(now=now + timedelta(seconds=seconds))
    assert gate.show(now=now + timedelta(seconds=5)).limit == "nobody"
