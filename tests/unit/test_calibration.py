"""The range around what was foretold, as it is learned from how it came out."""

from __future__ import annotations

import math
import random

import pytest

from waitlist.policy.calibration import PRIOR, Sample, learn

HOUR = 3600.0
OFF = {0: -1, 5: 1}


def _samples(
    how_many: int, *, seed: int = 1, foretold: float = HOUR, bias: float = 1.0, width: float = 0.3
) -> list[Sample]:
    """Samples of which one in ten was off on either side of its range."""
    dice = random.Random(seed)
    return [
        Sample(
            foretold, foretold * bias * math.exp(dice.gauss(0, width)), True, OFF.get(nth % 10, 0)
        )
        for nth in range(how_many)
    ]


def test_where_nothing_is_known_a_range_of_a_prior_is_told() -> None:
    low, middle, high = PRIOR.around(HOUR)
    assert low < middle < high
    assert middle == pytest.approx(HOUR, rel=0.05)
    assert high / low == pytest.approx(math.exp(2 * 1.28 * 0.5), rel=0.2)


def test_the_range_becomes_that_of_what_came_out() -> None:
    low, middle, high = learn(_samples(500, bias=2.0, width=0.1)).around(HOUR)
    assert middle == pytest.approx(2 * HOUR, rel=0.05)
    assert 1.4 * HOUR < low < 1.85 * HOUR
    assert 2.15 * HOUR < high < 2.8 * HOUR


def test_of_what_was_learned_of_minutes_days_take_little() -> None:
    spread = learn(_samples(500, foretold=60.0, bias=4.0))
    assert spread.around(60.0)[1] == pytest.approx(4 * 60, rel=0.4)
    assert spread.around(5 * 24 * HOUR)[1] == pytest.approx(5 * 24 * HOUR, rel=0.15)


def test_what_came_out_lately_counts_most() -> None:
    before, lately = _samples(400, bias=1.0), _samples(400, bias=3.0)
    assert learn(before + lately).around(HOUR)[1] > 2 * HOUR
    assert learn(lately + before).around(HOUR)[1] < 1.6 * HOUR


def test_whoever_still_waits_counts_as_one_who_waits_long() -> None:
    """Else in the first hour of a launch only the quick would count."""
    quick = _samples(20, bias=0.5, width=0.05)
    still = [Sample(HOUR, HOUR, is_over=False)] * 60
    assert learn(quick).around(HOUR)[1] < 0.7 * HOUR
    assert learn(quick + still).around(HOUR)[1] > HOUR


@pytest.mark.parametrize("off", [-1, 1])
def test_a_side_on_which_ranges_were_wrong_is_widened(off: int) -> None:
    right = _samples(100)
    wrong = [sample._replace(off=off) for sample in right]
    (low, _, high), (wide_low, _, wide_high) = (
        learn(samples).around(HOUR) for samples in (right, wrong)
    )
    assert (wide_low < low) == (off < 0)
    assert (wide_high > high) == (off > 0)


def test_however_much_is_seen_a_little_doubt_stays() -> None:
    same = [sample._replace(waited=HOUR) for sample in _samples(5_000)]
    low, _, high = learn(same).around(HOUR)
    assert low < HOUR < high


def test_a_few_seconds_more_or_less_are_nothing() -> None:
    low, _, high = PRIOR.around(1.0)
    assert low == 0
    assert high < 30
