"""Reports come in any order and any number: a mail ends the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitlist.policy.reports import ORDER, SENT, UNTOLD, Kind, after, moved_by

KINDS = st.lists(st.sampled_from(Kind), max_size=8)


def _end(kinds: list[Kind], state: str = SENT) -> str:
    for kind in kinds:
        state = after(state, kind)
    return state


@given(KINDS, st.randoms(use_true_random=False))
def test_any_order_of_the_same_reports_ends_the_same(kinds: list[Kind], chance: object) -> None:
    shuffled = kinds.copy()
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert _end(shuffled) == _end(kinds)


@given(KINDS, KINDS)
def test_reports_that_come_again_change_nothing(kinds: list[Kind], more: list[Kind]) -> None:
    assert _end([*kinds, *more, *kinds]) == _end([*kinds, *more])


@given(st.sampled_from(ORDER), KINDS)
def test_a_mail_never_goes_back(state: str, kinds: list[Kind]) -> None:
    assert ORDER.index(_end(kinds, state)) >= ORDER.index(state)


@pytest.mark.parametrize(
    "reports, end",
    [
        ("delivered", "delivered"),
        ("delivered bounced", "bounced"),
        ("bounced delivered", "bounced"),
        ("complained delivered", "complained"),
        ("deferred", "sent"),
        ("delivered deferred", "delivered"),
    ],
)
def test_what_counts_is_the_worst_that_was_said(reports: str, end: str) -> None:
    assert _end([Kind(word) for word in reports.split()]) == end


def test_only_what_is_later_in_the_order_moves_a_mail() -> None:
    assert moved_by(Kind.DEFERRED) == ()
    assert moved_by(Kind.DELIVERED) == ("sent",)
    assert not set(UNTOLD) & set(ORDER)
