"""What an answer to a webhook means, and when it goes again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitlist.policy import retrying
from waitlist.policy.retrying import Verdict

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    "status,meant",
    [
        (None, Verdict.AWAY),
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (299, Verdict.DELIVERED),
        (302, Verdict.REFUSED),
        (400, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (410, Verdict.GONE),
        (429, Verdict.AWAY),
        (500, Verdict.REFUSED),
        (502, Verdict.AWAY),
        (503, Verdict.AWAY),
        (504, Verdict.AWAY),
    ],
)
def test_only_2xx_is_delivered_and_only_what_says_so_is_away(
    status: int | None, meant: Verdict
) -> None:
    assert retrying.verdict(status) is meant


@given(st.integers(1, 9), st.floats(0, 1))
def test_the_waits_are_those_of_the_schedule_give_or_take_a_tenth(
    failed: int, jitter: float
) -> None:
    wait = retrying.next_try(failed, jitter=jitter)
    assert wait is not None
    assert 0.9 <= wait / retrying.SCHEDULE[failed - 1] <= 1.1


def test_after_the_tenth_failure_it_is_given_up() -> None:
    assert retrying.next_try(10, jitter=0.5) is None
    assert timedelta(days=3) < retrying.GIVE_UP_AFTER < timedelta(days=4)


def test_retry_after_is_honoured_but_for_a_day_at_most() -> None:
    assert retrying.next_try(1, jitter=0, retry_after=HOUR) == HOUR
    assert retrying.next_try(1, jitter=0, retry_after=30 * DAY) == DAY
    assert retrying.next_try(4, jitter=0.5, retry_after=SECOND) == 2 * HOUR
    assert retrying.next_probe(HOUR) == HOUR
    assert retrying.next_probe(30 * DAY) == DAY
    assert retrying.next_probe(timedelta()) == SECOND
    assert retrying.next_probe(None) == 15 * SECOND


@pytest.mark.parametrize(
    "header,wait",
    [
        ("120", 120 * SECOND),
        (" 0 ", timedelta()),
        ("99999999999999999999", DAY),
        ("Mon, 01 Mar 2027 13:00:00 GMT", HOUR),
        ("Mon, 01 Mar 2027 11:00:00 GMT", timedelta()),
        ("Mon, 01 Mar 2027 13:00:00 +99999999999999", None),
        ("-5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("²", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_all_else_is_nothing(
    header: str | None, wait: timedelta | None
) -> None:
    assert retrying.retry_after(header, now=NOW) == wait


@given(st.text())
def test_whatever_a_product_sends_as_retry_after_is_read_or_passed_over(header: str) -> None:
    wait = retrying.retry_after(header, now=NOW)
    assert wait is None or wait >= timedelta()
