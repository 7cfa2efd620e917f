"""When the last step fails so often that the gate slows down, and when that is over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitlist.policy import laststep
from waitlist.policy.bounces import ENOUGH
from waitlist.policy.laststep import Tries

LIMIT = 0.05
people = st.integers(0, 5_000)
limits = st.floats(0.001, 1.0)


def _tries() -> st.SearchStrategy[Tries]:
    return people.flatmap(lambda of: st.integers(0, of).map(lambda some: Tries(of, some)))


@pytest.mark.parametrize(
    "failed,of,alarms",
    [
        *((1, 3, False), (19, 19, False), (20, 20, True), (2, 20, False), (4, 20, True)),
        *((5, 100, False), (8, 100, False), (9, 100, True)),
        *((50, 1_000, False), (63, 1_000, True), (0, 5_000, False)),
    ],
)
def test_it_begins_when_the_share_is_surely_over_the_limit(
    failed: int, of: int, alarms: bool
) -> None:
    assert laststep.alarms(Tries(of, failed), LIMIT, alarmed=False) is alarms


@pytest.mark.parametrize(
    "failed,of,alarms",
    [(6, 100, True), (5, 100, False), (1, 3, True), (0, 3, False), (0, 0, False)],
)
def test_it_ends_when_what_is_seen_is_no_longer_over_it(failed: int, of: int, alarms: bool) -> None:
    assert laststep.alarms(Tries(of, failed), LIMIT, alarmed=True) is alarms


@given(_tries(), limits, st.booleans())
def test_with_none_who_failed_there_is_no_alarm(tries: Tries, limit: float, alarmed: bool) -> None:
    assert not laststep.alarms(tries._replace(failed=0), limit, alarmed=alarmed)


@given(_tries(), limits)
def test_few_never_begin_it(tries: Tries, limit: float) -> None:
    few = Tries(min(tries.people, ENOUGH - 1), min(tries.failed, ENOUGH - 1))
    assert not laststep.alarms(few, limit, alarmed=False)


@given(_tries(), limits)
def test_what_begins_it_also_keeps_it(tries: Tries, limit: float) -> None:
    """Else it would end in the second in which it began."""
    if laststep.alarms(tries, limit, alarmed=False):
        assert laststep.alarms(tries, limit, alarmed=True)


@given(_tries(), limits, st.booleans())
def test_one_more_who_fails_never_ends_it(tries: Tries, limit: float, alarmed: bool) -> None:
    more = Tries(tries.people, min(tries.people, tries.failed + 1))
    if laststep.alarms(tries, limit, alarmed=alarmed):
        assert laststep.alarms(more, limit, alarmed=alarmed)


def test_a_mistake_in_what_was_typed_isnt_ours() -> None:
    assert not laststep.is_ours("fields-invalid:password")
    assert not laststep.is_ours("handle-taken")
    assert laststep.is_ours("unavailable")
