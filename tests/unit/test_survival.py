"""How long it takes people, and how many never do it (Kaplan and Meier)."""

from __future__ import annotations

import pytest

from waitlist.policy.survival import NOTHING_KNOWN, Share, Span, shares, still_to_come


def test_the_shares_are_those_of_the_textbook() -> None:
    """Remission of 21 leukaemia patients: Freireich et al. (1963), by weeks 1 to 23."""
    did = {6: 3, 7: 1, 10: 1, 13: 1, 16: 1, 22: 1, 23: 1}
    left = {6: 1, 9: 1, 10: 1, 11: 1, 17: 1, 19: 1, 20: 1, 25: 1, 32: 2, 34: 1, 35: 1}
    weeks = shares([Span(did.get(week, 0), left.get(week, 0)) for week in range(36)])
    not_yet = [round(1 - weeks[week].of, 4) for week in (6, 7, 10, 13, 16, 22, 23)]
    assert not_yet == [0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482]
    low, high = 1 - weeks[10].high, 1 - weeks[10].low
    assert (round(low, 3), round(high, 3)) == (0.503, 0.889)


def test_whoever_may_still_come_doesnt_count_as_one_who_never_does() -> None:
    open_ones = shares([Span(10, 80), Span(10, 0)])
    expired_ones = shares([Span(10, 0), Span(10, 80)])
    assert open_ones[-1].of == pytest.approx(0.1 + 0.9)
    assert expired_ones[-1].of == pytest.approx(0.2)


@pytest.mark.parametrize("people", [1, 3, 30, 3000])
def test_nobody_and_everybody_have_bounds_that_narrow_as_more_is_known(people: int) -> None:
    (none,), (everyone,) = shares([Span(0, people)]), shares([Span(people, 0)])
    assert (none.of, none.low) == (0, 0)
    assert (everyone.of, everyone.high) == (1, 1)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / people))
    assert everyone.low == pytest.approx(0.025 ** (1 / people))


def test_where_nothing_is_known_anything_may_be() -> None:
    assert shares([]) == []
    assert shares([Span(0, 0)]) == [NOTHING_KNOWN]


def test_the_bounds_hold_the_share() -> None:
    for share in shares([Span(5, 3), Span(2, 9), Span(0, 1), Span(1, 4)]):
        assert 0 <= share.low < share.of < share.high <= 1


def test_of_those_who_havent_come_some_still_will() -> None:
    by_now, in_the_end = Share(0.5, 0, 1), Share(0.8, 0, 1)
    assert still_to_come(by_now, in_the_end) == pytest.approx(0.6)
    assert still_to_come(in_the_end, in_the_end) == 0
    assert still_to_come(Share(1.0, 0, 1), Share(1.0, 0, 1)) == 0
