"""How long it takes people, and how many never do it (Kaplan and Meier)."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitlist.policy.survival import (
    NOTHING_KNOWN,
    Coming,
    Share,
    Span,
    coming,
    foreseen,
    shares,
    still_to_come,
)


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


def test_who_was_followed_to_the_end_is_foreseen_as_was_seen() -> None:
    spans = [Span(20, 0), Span(20, 0), Span(10, 50)]
    assert foreseen(spans, 3) == shares(spans)


def test_beyond_what_was_seen_they_go_on_as_of_late_and_anything_more_is_bounded() -> None:
    seen = foreseen([Span(100, 0), Span(90, 0), Span(0, 810)], 6)
    not_yet = [1 - share.of for share in seen]
    assert not_yet[2] == pytest.approx(0.81)
    assert not_yet[5] / not_yet[4] == pytest.approx(not_yet[4] / not_yet[3])
    assert not_yet[4] / not_yet[3] == pytest.approx(math.exp(-90 / (900 + 405)))
    assert seen[5].low == seen[2].low
    assert seen[5].of < seen[5].high < 1


def test_a_pace_that_fell_goes_on_to_fall() -> None:
    falling = [Span(did, 0) for did in (4000, 2000, 500, 400, 100, 100, 80, 70)]
    seen = foreseen([*falling, Span(0, 2750)], 72)
    not_yet = [1 - share.of for share in seen]
    first, last = (1 - not_yet[at + 1] / not_yet[at] for at in (9, 70))
    assert last == pytest.approx(first * 11 / 72, rel=0.02), "as one over time, at the most"


def test_of_few_hours_more_may_follow_than_of_many() -> None:
    few, many = ([Span(10, 0)] * hours + [Span(0, 10_000)] for hours in (2, 24))
    assert foreseen(few, 72)[-1].high > 2 * foreseen(many, 72)[-1].high


def test_of_few_who_havent_come_yet_all_may_still() -> None:
    assert foreseen([], 3) == [NOTHING_KNOWN] * 3
    assert foreseen([Span(0, 2)], 72)[-1].high > 0.99
    assert foreseen([Span(0, 0)] * 72 + [Span(0, 1000)], 72)[-1].high < 0.01


def test_one_who_was_seen_for_longer_doesnt_say_how_all_go_on() -> None:
    seen = foreseen([Span(50, 0), Span(50, 899), *[Span(0, 0)] * 69, Span(0, 1)], 72)
    assert seen[-1].of > 0.9, "the other 899 were last seen coming, and not for long"


@given(
    spans=st.lists(st.builds(Span, st.integers(0, 50), st.integers(0, 50)), max_size=30),
    last=st.integers(1, 40),
)
def test_what_is_foreseen_only_grows_and_stays_within_its_bounds(
    spans: list[Span], last: int
) -> None:
    found = foreseen(spans, last)
    assert len(found) == last
    for now, then in pairwise(found):
        assert now.of <= then.of + 1e-9
        assert now.high <= then.high + 1e-9
    assert all(0 <= one.low <= one.of + 1e-9 <= one.high + 2e-9 <= 1 + 3e-9 for one in found)


def test_what_is_to_come_of_open_invitations_is_told_by_the_hour() -> None:
    hours = coming({0: 100, 2: 50}, [0.1, 0.4, 0.6], 4)
    assert [round(hour.did, 6) for hour in hours] == [
        pytest.approx(10 + 50 * 0.2 / 0.6, abs=1e-5),
        pytest.approx(30),
        pytest.approx(20),
        0,
    ]
    assert [hour.expired for hour in hours] == pytest.approx([50 * 0.4 / 0.6, 0, 40, 0])


def test_an_invitation_whose_time_is_over_gives_its_seat_back_at_once() -> None:
    assert coming({3: 7, 9: 5}, [0.1, 0.4, 0.6], 2) == [Coming(0, 12), Coming(0, 0)]


@given(
    rises=st.lists(st.floats(0, 0.3), min_size=1, max_size=20),
    opened=st.dictionaries(st.integers(0, 25), st.integers(1, 1000), max_size=10),
)
def test_everyone_who_is_invited_does_it_or_runs_out_of_time(
    rises: list[float], opened: dict[int, float]
) -> None:
    by_then = [min(1.0, total) for total in accumulate(rises)]
    hours = coming(opened, by_then, 25)
    whole = sum(hour.did + hour.expired for hour in hours)
    finished = {age for age in opened if age < len(by_then) and age and by_then[age - 1] >= 1}
    assert whole == pytest.approx(sum(n for age, n in opened.items() if age not in finished))
