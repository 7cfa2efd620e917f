"""By which of two mail servers mail goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitlist.policy import routes
from waitlist.policy.routes import AUTO, FIRST, SECOND, STAY, Limits, Seen, Tried

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
MINUTE, SECONDS_15 = timedelta(minutes=1), timedelta(seconds=15)
LIMITS = Limits(failing=5 * MINUTE, refused=0.5)
AWAY = Tried(FIRST, away=1)
AS_EVER = Seen()


def _after(*tried: Tried, every: timedelta = SECONDS_15, seen: Seen = AS_EVER) -> Seen:
    for nth, one in enumerate(tried):
        seen = routes.after(seen, one, LIMITS, now=NOW + nth * every)
    return seen


@pytest.mark.parametrize(
    "setting,by_itself,has_second,found",
    [
        (AUTO, FIRST, True, FIRST),
        (AUTO, SECOND, True, SECOND),
        (FIRST, SECOND, True, FIRST),
        (SECOND, FIRST, True, SECOND),
        (SECOND, SECOND, False, FIRST),
    ],
)
def test_operators_choose_or_it_chooses_itself_and_without_a_second_there_is_the_first(
    setting: str, by_itself: str, has_second: bool, found: str
) -> None:
    assert routes.in_force(setting, by_itself, has_second=has_second) == found


def test_the_second_takes_over_once_no_mail_could_go_for_so_long_and_not_before() -> None:
    assert _after(*[AWAY] * 20).route == FIRST
    seen = _after(*[AWAY] * 21)
    assert (seen.route, seen.since) == (SECOND, NOW + 5 * MINUTE)
    assert seen.why == "no mail could go by the first for 5 min"


def test_a_mail_that_went_between_begins_the_time_anew() -> None:
    went = Tried(FIRST, taken=1)
    half_a_minute = 2 * SECONDS_15
    assert _after(*[AWAY] * 9, went, *[AWAY] * 9, every=half_a_minute).route == FIRST
    began_anew = _after(*[AWAY] * 9, Tried(FIRST, taken=3, away=1), every=half_a_minute)
    assert began_anew.failing_since == NOW + 9 * half_a_minute


def test_a_share_of_refusals_makes_the_second_take_over_and_few_mails_dont() -> None:
    refuses = Tried(FIRST, refused=1)
    assert _after(*[refuses] * 19, every=timedelta()).route == FIRST
    seen = _after(*[refuses] * 20, every=timedelta())
    assert (seen.route, seen.why) == (SECOND, "the first refused 20 of 20")
    half = [refuses, Tried(FIRST, taken=1)] * 100
    assert _after(*half, every=timedelta()).route == FIRST


def test_what_the_other_server_answered_isnt_held_against_this_one() -> None:
    stands_in = Seen(SECOND, NOW)
    assert _after(AWAY, Tried(FIRST, taken=5, refused=9), seen=stands_in) == stands_in


def test_the_first_is_in_force_again_once_it_is_well_and_some_time_has_passed() -> None:
    stands_in = Seen(SECOND, NOW)
    early = routes.found_well(stands_in, now=NOW + STAY - MINUTE)
    assert early == stands_in
    assert routes.found_well(stands_in, now=NOW + STAY).route == FIRST


def test_the_first_is_in_force_again_at_once_where_the_second_fails_too() -> None:
    """P16: else mail would wait though a server would take it."""
    both = _after(Tried(SECOND, away=1), seen=Seen(SECOND, NOW))
    assert both.route == SECOND
    assert routes.found_well(both, now=NOW + MINUTE).route == FIRST


ANSWERS = st.builds(
    Tried,
    st.sampled_from([FIRST, SECOND]),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(0, 1),
)


@given(st.lists(st.tuples(ANSWERS, st.timedeltas(timedelta(), 20 * MINUTE)), max_size=40))
def test_it_remembers_a_bounded_past_and_only_a_probe_leads_back(
    story: list[tuple[Tried, timedelta]],
) -> None:
    seen, now = Seen(), NOW
    for tried, later in story:
        now += later
        found = routes.after(seen, tried, LIMITS, now=now)
        assert found.taken + found.refused <= routes.MEMORY + 1e-6
        assert found.failing_since is None or found.failing_since <= now
        assert (seen.route, found.route) != (SECOND, FIRST)
        seen = found
