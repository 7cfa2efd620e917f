"""Hours of the day in a time zone, beside a walk that looks at every minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitlist.errors import ValueRefused
from waitlist.policy import hours

MINUTE = timedelta(minutes=1)
PARIS = "Europe/Paris"
ZONES = (PARIS, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca")
CHANGES = [  # the last minute before the clocks of each zone are changed, forward and back
    datetime(2027, 3, 28, 0, 59, tzinfo=UTC),
    datetime(2027, 10, 31, 0, 59, tzinfo=UTC),
    datetime(2027, 3, 14, 6, 59, tzinfo=UTC),
    datetime(2027, 11, 7, 5, 59, tzinfo=UTC),
    datetime(2027, 10, 2, 15, 29, tzinfo=UTC),
    datetime(2027, 4, 3, 14, 59, tzinfo=UTC),
    datetime(2027, 3, 14, 1, 59, tzinfo=UTC),
]
clocks = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 59]))
spans = st.tuples(clocks, clocks).filter(lambda two: two[0] != two[1]).map("-".join)
moments = st.builds(
    lambda change, seconds: change + timedelta(seconds=seconds),
    st.sampled_from(CHANGES),
    st.integers(-30 * 3600, 6 * 3600),
)


def paris(*wall: int, fold: int = 0) -> datetime:
    return datetime(2027, *wall, tzinfo=ZoneInfo(PARIS), fold=fold)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    "words,zone,at,within",
    [
        (None, PARIS, paris(7, 1, 3), True),
        ("09:00-21:00", PARIS, paris(7, 1, 9), True),
        ("09:00-21:00", PARIS, paris(7, 1, 20, 59, 59), True),
        ("09:00-21:00", PARIS, paris(7, 1, 21), False),
        ("09:00-21:00", PARIS, paris(7, 1, 8, 59, 59), False),
        ("09:00-21:00", "UTC", paris(7, 1, 22, 30), True),
        ("22:00-02:00", PARIS, paris(7, 1, 23), True),
        ("22:00-02:00", PARIS, paris(7, 1, 1, 59), True),
        ("22:00-02:00", PARIS, paris(7, 1, 2), False),
        ("18:00-24:00", PARIS, paris(7, 1, 23, 59), True),
        ("18:00-24:00", PARIS, paris(7, 2, 0), False),
    ],
)
def test_a_moment_is_within_by_the_clocks_of_the_zone(
    words: str | None, zone: str, at: datetime, within: bool
) -> None:
    assert hours.is_within(words, zone, at) is within


@pytest.mark.parametrize(
    "words,at,expected",
    [
        ("09:00-21:00", paris(7, 1, 7), paris(7, 1, 9)),
        ("09:00-21:00", paris(7, 1, 12, 30), paris(7, 1, 12, 30)),
        ("09:00-21:00", paris(7, 1, 21), paris(7, 2, 9)),
        ("09:00-21:00", paris(3, 27, 22), paris(3, 28, 9)),
        ("02:30-05:00", paris(3, 28, 1), paris(3, 28, 3)),  # 02:30 doesn't come that night
        ("02:30-02:45", paris(3, 28, 1), paris(3, 29, 2, 30)),  # nor any of these hours
        ("02:30-02:45", paris(10, 31, 2, 45), paris(10, 31, 2, 30, fold=1)),
        ("01:00-02:15", paris(10, 31, 2, 30), paris(10, 31, 2, fold=1)),
    ],
)
def test_the_next_moment_is_right_when_the_clocks_are_changed_too(
    words: str, at: datetime, expected: datetime
) -> None:
    found = hours.next_moment(words, PARIS, at)
    assert found.astimezone(UTC) == expected.astimezone(UTC)


def test_any_hour_is_now() -> None:
    assert hours.next_moment(None, PARIS, paris(7, 1, 3)) == paris(7, 1, 3)


@given(spans, st.sampled_from(ZONES), moments)
def test_the_next_moment_is_the_first_that_a_walk_by_minutes_finds(
    words: str, zone: str, at: datetime
) -> None:
    walked = at
    while not hours.is_within(words, zone, walked):
        walked = walked.replace(second=0) + MINUTE
    assert hours.next_moment(words, zone, at) == walked


@pytest.mark.parametrize(
    "words", ["", "9-21", "9:00-21:00", "09:00", "09:00-25:00", "09:00-21:60", "24:00-09:00"]
)
def test_hours_of_another_form_are_refused_with_an_example(words: str) -> None:
    with pytest.raises(ValueRefused, match="such as 09:00-21:00"):
        hours.parsed(words)


@pytest.mark.parametrize("words", ["09:00-09:00", "00:00-24:00"])
def test_hours_that_are_all_or_none_are_refused(words: str) -> None:
    with pytest.raises(ValueRefused, match="--any-hour"):
        hours.parsed(words)


@pytest.mark.parametrize(
    "name,nearest",
    [
        ("Europe/Pariss", "Europe/Paris"),
        ("europe/paris", "Europe/Paris"),
        ("Paris", "Europe/Paris"),
        ("new york", "America/New_York"),
        ("utc", "UTC"),
        ("Europe", ""),
        ("../../etc/passwd", ""),
        ("", ""),
    ],
)
def test_an_unknown_time_zone_is_told_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ValueRefused, match=f"not {name!r}.*{nearest}"):
        hours.zone(name)


def test_a_zone_is_found_by_its_name() -> None:
    assert hours.zone(PARIS).key == PARIS
