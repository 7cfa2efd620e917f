"""When so many invitations bounce that the gate slows, and when it stops."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitlist.policy import bounces
from waitlist.policy.bounces import Limits, Outcomes

NOON = datetime(2027, 2, 21, 12, 0, tzinfo=UTC)
LIMITS = Limits(slow=0.02, stop=0.05)
SOME = st.integers(0, 400)


def _seen(sent: int, bounced: int = 0, later: int = 0) -> Outcomes:
    return Outcomes(sent, bounced, later, NOON)


def _verdict(outcomes: Outcomes) -> str:
    if bounces.too_many(outcomes, LIMITS):
        return "stop"
    return "slow" if bounces.many(outcomes, LIMITS) else "well"


def test_the_least_share_is_that_of_the_textbook() -> None:
    """Wilson's own bounds for 10 of 100, and what is left of nothing seen."""
    assert bounces.least_share(10, 100) == pytest.approx(0.0607, abs=5e-4)
    assert bounces.least_share(0, 100) == 0
    assert bounces.least_share(0, 0) == 0


@pytest.mark.parametrize(
    "outcomes,verdict",
    [
        (_seen(0), "well"),
        (_seen(2, bounced=1), "well"),
        (_seen(0, bounced=19), "well"),
        (_seen(0, bounced=20), "stop"),
        (_seen(17, bounced=3), "stop"),
        (_seen(90, bounced=10), "stop"),
        (_seen(97, bounced=3), "well"),
        (_seen(94, bounced=6), "slow"),
        (_seen(990, bounced=10), "well"),
        (_seen(960, bounced=40), "slow"),
        (_seen(930, bounced=70), "stop"),
        (_seen(50, later=50), "slow"),
        (_seen(0, later=500), "slow"),
    ],
)
def test_it_slows_and_stops_when_the_share_is_surely_over_its_limit(
    outcomes: Outcomes, verdict: str
) -> None:
    assert _verdict(outcomes) == verdict


@given(SOME, SOME, SOME, st.integers(1, 50))
def test_another_bounce_never_makes_it_look_better(
    sent: int, bounced: int, later: int, more: int
) -> None:
    before, after = _seen(sent, bounced, later), _seen(sent, bounced + more, later)
    order = ["well", "slow", "stop"]
    assert order.index(_verdict(after)) >= order.index(_verdict(before))


@given(SOME, SOME)
def test_what_is_refused_for_now_never_stops(sent: int, later: int) -> None:
    assert _verdict(_seen(sent, later=later)) != "stop"


def test_a_bad_wave_after_a_million_good_mails_is_noticed_soon() -> None:
    seen = Outcomes()
    for _ in range(50_000):
        seen = bounces.noted(seen, sent=20, now=NOON)
    groups = 0
    while _verdict(seen) != "stop":
        seen, groups = bounces.noted(seen, sent=10, bounced=10, now=NOON), groups + 1
    assert groups * 20 <= 200


def test_what_was_long_ago_counts_for_little() -> None:
    bad = _seen(0, bounced=100)
    tomorrow = bounces.noted(bad, sent=30, now=NOON + timedelta(days=1))
    assert _verdict(tomorrow) == "well"
    assert tomorrow.total == pytest.approx(30, abs=0.1)


def test_a_clock_that_steps_back_forgets_nothing() -> None:
    """P18."""
    back = bounces.noted(_seen(50, 50), now=NOON - timedelta(hours=2))
    assert (back.sent, back.bounced) == (50, 50)
