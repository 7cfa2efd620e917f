"""Whole launches: what the loop makes of products that it knows by their signals only.

The margins are those of docs/architecture.md, "The loop".
"""

from __future__ import annotations

import pytest

from tests.launches import Launch, play

MARGIN = 1.10  # of the limit: the load is never beyond it
USED = 0.6  # of the limit: what is used at least, once the launch has got going
DAY = 24
MEDIANS = (1.0, 6.0, 24.0)
SHARES = (0.3, 0.9)


def _going(launch: Launch) -> int:
    """The hour from which on the launch has got going: it learns as fast as people come."""
    return (6 if launch.median < DAY else 8) * DAY


def _holds(launch: Launch, seed: int) -> None:
    played = play(launch, seed)
    assert played.peak() <= MARGIN
    assert played.use(since=_going(launch)) >= USED


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("median", MEDIANS)
@pytest.mark.parametrize("limit", [100, 800, 20_000])
def test_a_product_is_used_and_never_driven_past_its_limit(
    limit: int, median: float, share: float
) -> None:
    _holds(Launch(limit=limit, median=median, share=share), seed=limit)


@pytest.mark.parametrize("busy_for", [0.25, 4.0, 8.0])
@pytest.mark.parametrize("median", MEDIANS)
def test_however_long_people_stay_active(median: float, busy_for: float) -> None:
    _holds(Launch(median=median, busy_for=busy_for), seed=2)


@pytest.mark.parametrize("times_over", [1.2, 5.0, 10.0])
@pytest.mark.parametrize("median", MEDIANS)
def test_however_far_the_rate_is_beyond_what_it_takes(median: float, times_over: float) -> None:
    _holds(Launch(median=median, times_over=times_over), seed=3)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("median", MEDIANS)
def test_where_other_load_comes_in_bursts_of_a_fifth(median: float, share: float) -> None:
    _holds(Launch(median=median, share=share, bursts=0.2), seed=4)


@pytest.mark.parametrize("median", MEDIANS)
def test_where_a_third_of_it_is_used_by_others(median: float) -> None:
    _holds(Launch(median=median, always=0.3), seed=5)


@pytest.mark.parametrize("median", MEDIANS)
def test_where_the_load_grows_with_the_square_of_the_people(median: float) -> None:
    _holds(Launch(median=median, power=2.0), seed=6)


@pytest.mark.parametrize("says", [("p95_ms",), ("p95_ms", "load")])
@pytest.mark.parametrize("median", [1.0, 6.0])
def test_where_it_tells_how_slow_it_is(median: float, says: tuple[str, ...]) -> None:
    _holds(Launch(median=median, says=says), seed=7)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("median", MEDIANS)
def test_where_it_loses_half_of_what_it_takes(median: float, share: float) -> None:
    """Excused is what those bring who were invited before; meanwhile nobody is."""
    launch = Launch(median=median, share=share, days=14, halved_at=9.0 * DAY)
    played, lost = play(launch, seed=8), 9 * DAY
    assert played.peak(until=lost) <= MARGIN
    over = [step for step, load in enumerate(played.load) if load >= 1]
    assert not any(played.ticked[step] for step in over)
    under = next(
        hour for hour in range(lost, 14 * DAY) if played.peak(since=hour, until=hour + 1) < 1
    )
    assert under - lost <= DAY
    assert played.peak(since=under) <= MARGIN
    assert played.use(since=under + DAY) >= 0.5, "and it is used again"


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("median", MEDIANS)
def test_where_it_says_nothing_for_some_hours(median: float, share: float) -> None:
    begin, end = 8.0 * DAY, 8.0 * DAY + 6
    played = play(Launch(median=median, share=share, days=14, silent=(begin, end)), seed=9)
    silent = slice(int(begin * 2) + 1, int(end * 2))
    assert set(played.held[silent]) == {"stale"}
    assert not any(played.ticked[silent])
    assert played.peak() <= MARGIN
    assert played.use(since=11 * DAY) >= USED


@pytest.mark.parametrize("median", [6.0, 24.0])
def test_after_a_large_wave_by_hand_the_ticks_wait_for_those_who_are_invited(median: float) -> None:
    """It is of five hours of what the product takes, and isn't bound by it."""
    hour = 8 * DAY
    played = play(Launch(median=median, days=14, wave=(hour, 5)), seed=3)
    assert played.peak(until=hour) <= MARGIN
    soon, later = hour * 2 + 2, hour * 2 + 12  # steps; what is open is learned once an hour
    assert played.held[soon] == "full"
    assert not any(played.ticked[soon:later])
    assert played.use(since=hour + DAY) >= USED


@pytest.mark.parametrize("median", MEDIANS)
def test_one_that_only_says_whether_it_is_healthy_is_led_up_to_where_it_isnt(median: float) -> None:
    """It is healthy up to a load of 1.25, so nobody could know of its limit."""
    played = play(Launch(median=median, says=()), seed=10)
    assert played.peak() <= 1.25 * 1.25
    assert played.use(since=_going(Launch(median=median))) >= USED
