"""Waves by hand: what is due of a plan, and whose turn it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitlist.policy import pace, waves
from waitlist.policy.waves import Plan, Share

START = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
PLANS = st.builds(
    Plan,
    asked=st.integers(1, 20_000),
    starts_at=st.just(START),
    over=st.timedeltas(timedelta(0), timedelta(days=2)),
)


def _play(plan: Plan, moments: list[datetime]) -> tuple[Plan, list[int]]:
    """The plan, and how many came in at each of these moments."""
    admitted: list[int] = []
    for now in moments:
        plan = waves.anchored(plan, sum(admitted), now)
        admitted.append(waves.due(plan, sum(admitted), now))
    return plan, admitted


def test_nobody_is_due_before_the_time_and_all_are_at_it_when_nothing_is_spread() -> None:
    plan = Plan(100, START, timedelta(0))
    assert waves.due(plan, 0, START - SECOND) == 0
    assert waves.due(plan, 0, START) == 100
    assert waves.due(plan, 70, START + HOUR) == 30


def test_a_spread_wave_is_due_evenly_and_whole_at_its_end() -> None:
    plan = Plan(100, START, 2 * HOUR)
    assert [waves.due(plan, 0, START + part * HOUR / 2) for part in range(6)] == [
        *(0, 25, 50, 75),
        *(100, 100),
    ]


@given(PLANS)
def test_ticked_every_second_a_plan_is_kept_to_the_person(plan: Plan) -> None:
    moments = [START + SECOND * number for number in range(400)]
    kept, admitted = _play(plan, moments)
    assert kept == plan
    for at, so_far in zip(moments, _sums(admitted), strict=True):
        assert so_far == waves.due(plan, 0, at)


@given(PLANS, st.lists(st.timedeltas(-3 * HOUR, 3 * HOUR), min_size=1, max_size=40))
def test_no_step_of_the_clock_lets_in_more_at_once_than_five_seconds_of_pace(
    plan: Plan, steps: list[timedelta]
) -> None:
    """P18: a clock that steps to and fro doubles nothing and makes no lump."""
    moments = [START + sum(steps[: number + 1], timedelta(0)) for number in range(len(steps))]
    _, admitted = _play(plan, moments)
    assert sum(admitted) <= plan.asked
    if plan.over:
        assert max(admitted) <= 1 + plan.asked * pace.ALLOWANCE_CAP / plan.over + 1e-3


def test_what_was_missed_is_put_off_and_the_wave_ends_later() -> None:
    plan = Plan(3_600, START, HOUR)
    plan, before = _play(plan, [START + SECOND * number for number in range(61)])
    assert sum(before) == 60
    later = START + 31 * MINUTE
    plan = waves.anchored(plan, 60, later)
    assert waves.due(plan, 60, later) == 6
    assert plan.starts_at == START + 30 * MINUTE - 6 * SECOND
    assert waves.due(plan, 60, plan.starts_at + HOUR) == 3_540


def test_a_clock_that_was_set_back_doesnt_stop_a_spread_wave_for_hours() -> None:
    """P18."""
    plan = Plan(3_600, START, HOUR)
    plan, admitted = _play(plan, [START + SECOND * number for number in range(601)])
    back = START - 2 * HOUR
    plan, more = _play_on(plan, sum(admitted), [back + SECOND * number for number in range(11)])
    assert (sum(admitted), sum(more)) == (600, 10)


def test_a_clock_a_little_behind_another_changes_nothing() -> None:
    plan = Plan(3_600, START, HOUR)
    assert waves.anchored(plan, 600, START + 9 * MINUTE + SECOND) == plan


def _play_on(plan: Plan, so_far: int, moments: list[datetime]) -> tuple[Plan, list[int]]:
    admitted: list[int] = []
    for now in moments:
        plan = waves.anchored(plan, so_far + sum(admitted), now)
        admitted.append(waves.due(plan, so_far + sum(admitted), now))
    return plan, admitted


def _sums(numbers: list[int]) -> list[int]:
    return [sum(numbers[: at + 1]) for at in range(len(numbers))]


@pytest.mark.parametrize(
    "room,budget,expected",
    [
        ({1: None, 2: None}, 9, [1, 2, 1, 2, 1]),
        ({1: None, 2: None}, 3, [1, 2, 1]),
        ({1: 1, 2: None}, 9, [1, 2, 2]),
        ({1: 0, 2: -1}, 9, []),
        ({1: 2, 2: 1}, 2, [1, 2]),
    ],
)
def test_named_people_come_in_the_lists_order_and_a_full_quota_holds_up_nobody_else(
    room: dict[int, int | None], budget: int, expected: list[int]
) -> None:
    assert waves.named_turns([1, 2, 1, 2, 1], room, budget) == expected


SHARES = st.dictionaries(
    st.integers(1, 9), st.integers(0, 30).map(lambda of: Share(0, of)), max_size=5
)


@given(SHARES, st.lists(st.integers(0, 40), max_size=9))
def test_turns_taken_in_parts_are_the_same_as_at_once(
    shares: dict[int, Share], parts: list[int]
) -> None:
    """So a wave in rounds is the wave that its dry run foretold, however large the rounds are."""
    whole = waves.turns(shares, sum(parts))
    taken: list[int] = []
    for part in parts:
        turns = waves.turns(shares, part)
        taken += turns
        shares = {
            name: Share(share.taken + turns.count(name), share.of) for name, share in shares.items()
        }
    assert taken == whole


@given(SHARES, st.integers(0, 200))
def test_wherever_a_wave_is_halted_each_cohort_had_its_part_of_it(
    shares: dict[int, Share], most: int
) -> None:
    turns = waves.turns(shares, most)
    in_all = sum(share.of for share in shares.values())
    assert len(turns) == min(most, in_all)
    for name, share in shares.items():
        assert abs(turns.count(name) - share.of * len(turns) / max(1, in_all)) <= len(shares) / 2


@pytest.mark.parametrize(
    "shares,able,wanted,hold",
    [
        ({1: Share(0, 5), 2: Share(2, 4)}, {1: 5, 2: 2}, 7, True),
        ({1: Share(0, 5), 2: Share(2, 4)}, {1: 5, 2: 2}, 8, False),
        ({1: Share(0, 5), 2: Share(2, 4)}, {1: 5, 2: 1}, 1, False),
        ({1: Share(0, 5), 2: Share(2, 4)}, {1: 5}, 1, False),
        ({1: Share(5, 5), 2: Share(0, 1)}, {2: 1}, 1, True),
        ({1: Share(5, 5)}, {1: 9}, 1, False),
        ({}, {1: 9}, 1, False),
    ],
)
def test_shares_hold_while_enough_is_left_of_them_and_all_of_it_can_be_filled(
    shares: dict[int, Share], able: dict[int, int], wanted: int, hold: bool
) -> None:
    assert waves.still_hold(shares, able, wanted) is hold
