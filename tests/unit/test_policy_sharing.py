"""How a budget is shared among cohorts, at once and over many ticks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waitlist.policy import sharing
from waitlist.policy.sharing import Claim

MANY = 10**6
COHORTS = st.dictionaries(
    st.integers(1, 9),
    st.builds(
        Claim,
        weight=st.integers(1, 20),
        waiting=st.integers(0, 40),
        credit=st.floats(-1, 1),
        room=st.none() | st.integers(-5, 40),
    ),
    max_size=9,
)
BUDGETS = st.lists(st.integers(0, 12), min_size=1, max_size=60)


def weights(most: int, heaviest: int = 100) -> st.SearchStrategy[dict[int, int]]:
    return st.dictionaries(st.integers(1, 9), st.integers(1, heaviest), min_size=1, max_size=most)


def over_time(
    budgets: Sequence[int], claims: dict[int, Claim]
) -> Iterator[tuple[dict[int, int], Mapping[int, float]]]:
    """What each has got so far, and the credits, after each of these budgets."""
    so_far = dict.fromkeys(claims, 0)
    for budget in budgets:
        shares = sharing.shares(budget, claims)
        claims = {name: replace(one, credit=shares.credit[name]) for name, one in claims.items()}
        so_far = {name: so_far[name] + people for name, people in shares.people.items()}
        yield so_far, shares.credit


def ahead(so_far: Mapping[int, int], weights: Mapping[int, int]) -> list[float]:
    """By how many seats each has got more than its part."""
    part = sum(so_far.values()) / sum(weights.values())
    return [so_far[name] - weight * part for name, weight in weights.items()]


def everybody(weights: Mapping[int, int]) -> dict[int, Claim]:
    """Cohorts that can use any budget."""
    return {name: Claim(weight=weight, waiting=MANY) for name, weight in weights.items()}


@pytest.mark.parametrize(
    "budget,weights,expected",
    [
        (10, {1: 1, 2: 1}, {1: 5, 2: 5}),
        (10, {1: 6, 2: 3, 3: 1}, {1: 6, 2: 3, 3: 1}),
        (10, {1: 1, 2: 1, 3: 1}, {1: 4, 2: 3, 3: 3}),
        (10, {1: 11, 2: 5, 3: 4}, {1: 6, 2: 2, 3: 2}),  # parts of 5.5, 2.5 and 2
        (7, {1: 10, 2: 10, 3: 1}, {1: 4, 2: 3, 3: 0}),  # of 3.33, 3.33 and 0.33
        (1_000_000, {1: 2, 2: 1}, {1: 666_667, 2: 333_333}),
        (0, {1: 1}, {1: 0}),
        (3, {}, {}),
    ],
)
def test_seats_that_are_left_go_to_the_largest_remainders(
    budget: int, weights: dict[int, int], expected: dict[int, int]
) -> None:
    assert sharing.shares(budget, everybody(weights)).people == expected


def test_what_a_cohort_cant_use_is_lent_to_the_others_by_their_weights() -> None:
    claims = {
        1: Claim(weight=5, waiting=MANY, room=2),
        2: Claim(weight=2, waiting=MANY),
        3: Claim(weight=1, waiting=MANY),
        4: Claim(weight=9, waiting=0),
    }
    assert sharing.shares(11, claims).people == {1: 2, 2: 6, 3: 3, 4: 0}


@given(st.integers(0, 200), COHORTS)
def test_nobody_gets_more_than_they_can_use_and_all_is_used_while_somebody_can(
    budget: int, claims: dict[int, Claim]
) -> None:
    people = sharing.shares(budget, claims).people
    assert all(0 <= people[name] <= claim.most for name, claim in claims.items())
    assert sum(people.values()) == min(budget, sum(claim.most for claim in claims.values()))


@given(st.integers(0, 300), weights(9))
def test_once_and_without_credit_each_gets_their_part_rounded_up_or_down(
    budget: int, weights: dict[int, int]
) -> None:
    people = sharing.shares(budget, everybody(weights)).people
    assert all(abs(by) < 1 for by in ahead(people, weights))


@settings(deadline=None)
@given(BUDGETS, weights(4))
def test_up_to_four_cohorts_are_within_a_seat_of_their_parts_after_every_tick(
    budgets: list[int], weights: dict[int, int]
) -> None:
    for so_far, _ in over_time(budgets, everybody(weights)):
        assert all(abs(by) < 1 for by in ahead(so_far, weights))


@settings(deadline=None)
@given(BUDGETS, weights(9))
def test_of_many_cohorts_none_is_a_seat_ahead_or_more_than_one_and_a_half_behind(
    budgets: list[int], weights: dict[int, int]
) -> None:
    for so_far, _ in over_time(budgets, everybody(weights)):
        assert all(-1.5 < by < 1 for by in ahead(so_far, weights))


@settings(deadline=None)
@given(BUDGETS, weights(9))
def test_one_large_budget_is_shared_as_the_same_in_parts_to_within_two_seats(
    budgets: list[int], weights: dict[int, int]
) -> None:
    [(at_once, _)] = over_time([sum(budgets)], everybody(weights))
    *_, (in_parts, _) = over_time(budgets, everybody(weights))
    assert all(abs(at_once[name] - in_parts[name]) <= 2 for name in weights)


@settings(deadline=None)
@given(weights(9, heaviest=20))
def test_nobody_starves_when_every_budget_is_a_single_seat(weights: dict[int, int]) -> None:
    total = sum(weights.values())
    waits = dict.fromkeys(weights, 0)
    got = dict.fromkeys(weights, 0)
    for so_far, _ in over_time([1] * (2 * total), everybody(weights)):
        for name, weight in weights.items():
            waits[name] = 0 if so_far[name] > got[name] else waits[name] + 1
            assert waits[name] < 2.5 * total / weight
        got = so_far


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), max_size=40), st.data())
def test_no_credit_grows_while_cohorts_come_go_and_are_full(
    budgets: list[int], data: st.DataObject
) -> None:
    weights = {1: 1, 2: 3, 3: 20, 4: 7}
    credit = dict.fromkeys(weights, 0.0)
    for budget in budgets:
        open_ones = data.draw(st.lists(st.sampled_from(list(weights)), unique=True))
        claims = {
            name: Claim(weights[name], data.draw(st.sampled_from([0, 1, MANY])), credit[name])
            for name in open_ones
        }
        shares = sharing.shares(budget, claims)
        for name, claim in claims.items():
            assert shares.credit[name] <= 0 or shares.people[name] < claim.most
        credit |= shares.credit
        assert all(-3 < one < 2 for one in credit.values())


def test_a_cohort_alone_keeps_its_credit_for_when_it_isnt() -> None:
    claims = {1: Claim(weight=1, waiting=MANY, credit=0.5)}
    assert sharing.shares(1, claims) == ({1: 1}, {1: 0.5})


def test_a_cohort_whose_people_come_one_by_one_gets_no_more_than_its_part() -> None:
    """Though it is full each time that it gets a seat."""
    claims = {1: Claim(weight=1, waiting=1), 2: Claim(weight=9, waiting=MANY)}
    *_, (so_far, _) = over_time([1] * 1_000, claims)
    assert so_far == {1: 100, 2: 900}


@pytest.mark.timeout(5)
def test_sharing_takes_no_longer_for_more_seats() -> None:
    billion = 10**9
    claims = {name: Claim(weight=name, waiting=billion) for name in range(1, 200)}
    assert sum(sharing.shares(billion, claims).people.values()) == billion
