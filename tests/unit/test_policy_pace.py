"""The pace: what accrues, and what a tick may admit."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitlist.policy import pace

SECOND = timedelta(seconds=1)


def test_the_allowance_grows_with_the_rate_and_keeps_fractions() -> None:
    assert pace.accrue(0.0, 3_600, SECOND) == pytest.approx(1.0)
    assert pace.accrue(0.25, 900, SECOND) == pytest.approx(0.5)


def test_the_allowance_holds_at_most_five_seconds_of_rate() -> None:
    assert pace.accrue(0.0, 36_000, timedelta(hours=2)) == pytest.approx(50.0)
    assert pace.accrue(49.0, 36_000, timedelta(seconds=5)) == pytest.approx(50.0)


def test_a_long_absence_counts_as_five_seconds() -> None:
    assert pace.accrue(0.0, 360, timedelta(days=1)) == pace.accrue(0.0, 360, 5 * SECOND)


def test_a_lower_rate_takes_away_what_is_above_its_cap() -> None:
    assert pace.accrue(50.0, 3_600, SECOND) == pytest.approx(5.0)


def test_a_clock_that_steps_back_takes_nothing_and_gives_nothing() -> None:
    """P18."""
    assert pace.accrue(0.5, 3_600, -timedelta(hours=2)) == 0.5


def test_a_clock_that_steps_forward_gives_no_more_than_five_seconds() -> None:
    """P18."""
    assert pace.accrue(0.0, 7_200, timedelta(hours=2)) == pytest.approx(10.0)


@pytest.mark.parametrize("rate", [1, 7, 60, 719, 3_600])
def test_even_the_lowest_rate_reaches_one_person_in_its_time(rate: int) -> None:
    allowance, seconds = 0.0, 0
    while pace.allowed(allowance) < 1:
        allowance, seconds = pace.accrue(allowance, rate, SECOND), seconds + 1
    assert seconds == pytest.approx(3600 / rate, abs=1)


@pytest.mark.parametrize("rate", [50, 500, 719, 800, 1_000, 7_300, 36_001])
def test_the_rate_is_kept_tick_by_tick(rate: int) -> None:
    allowance, admitted = 0.0, 0
    for _ in range(3_600):
        allowance = pace.accrue(allowance, rate, SECOND)
        people = pace.allowed(allowance)
        allowance, admitted = allowance - people, admitted + people
    assert admitted == pytest.approx(rate, abs=1)


def test_no_rate_admits_nobody() -> None:
    assert pace.accrue(0.0, 0, timedelta(days=1)) == 0


@given(st.integers(1, 100_000), st.lists(st.floats(0, 30), min_size=1, max_size=50))
def test_pace_never_beats_the_rate(rate: int, pauses: list[float]) -> None:
    allowance, admitted = 0.0, 0
    for pause in pauses:
        allowance = pace.accrue(allowance, rate, timedelta(seconds=pause))
        people = pace.allowed(allowance)
        allowance, admitted = max(0.0, allowance - people), admitted + people
    assert admitted <= rate * sum(pauses) / 3600 + 1e-3


@pytest.mark.parametrize(
    "paused,allowance,free,mails,expected",
    [
        (True, 9.0, 9, 9, (0, "paused")),
        (True, 9.0, 0, 9, (0, "paused")),
        (False, 9.0, 0, 9, (0, "capacity")),
        (False, 9.0, -3, 9, (0, "capacity")),
        (False, 2.9, 9, 9, (2, "rate")),
        (False, 9.0, 4, 9, (4, "capacity")),
        (False, 9.0, 9, 3, (3, "mail")),
        (False, 9.0, 9, 0, (0, "mail")),
        (False, 0.9999999999, 9, 9, (1, "rate")),
        (False, 0.99, 9, 9, (0, "rate")),
    ],
)
def test_a_tick_admits_the_least_of_allowance_seats_and_mails(
    paused: bool, allowance: float, free: int, mails: int, expected: tuple[int, str]
) -> None:
    budget = pace.tick_budget(
        paused=paused,
        is_stopped=False,
        is_held=False,
        free=free,
        mails=mails,
        by_rate=pace.allowed(allowance),
    )
    assert budget == expected


@pytest.mark.parametrize(
    "is_stopped,is_held,free,limit",
    [
        (True, True, 9, "bounces"),
        (True, False, 0, "bounces"),
        (False, True, 9, "health"),
        (False, True, 0, "health"),
    ],
)
def test_bounces_and_the_products_health_stop_every_tick_and_are_told_first(
    is_stopped: bool, is_held: bool, free: int, limit: str
) -> None:
    budget = pace.tick_budget(
        paused=False, is_stopped=is_stopped, is_held=is_held, free=free, mails=9, by_rate=9
    )
    assert budget == (0, limit)


def test_the_rate_in_force_is_what_health_and_bounces_leave_of_it() -> None:
    assert pace.rate_in_force(3_600, factor=1.0, is_held=False, is_slowed=False) == 3_600
    assert pace.rate_in_force(3_600, factor=0.5, is_held=False, is_slowed=True) == 450
    assert pace.rate_in_force(3_600, factor=1.0, is_held=True, is_slowed=False) == 0


@pytest.mark.parametrize(
    "paused,asked,free,expected",
    [
        (True, 5, 9, (0, "paused")),
        (False, 5, 9, (5, "asked")),
        (False, 9, 9, (9, "asked")),
        (False, 9, 5, (5, "capacity")),
        (False, 9, -1, (0, "capacity")),
    ],
)
def test_a_wave_is_bound_by_pause_and_seats_only(
    paused: bool, asked: int, free: int, expected: tuple[int, str]
) -> None:
    assert pace.wave_budget(paused=paused, asked=asked, free=free) == expected
