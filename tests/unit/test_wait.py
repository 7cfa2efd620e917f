"""The estimated wait: what the numbers of now foretell, and how it is told."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from waitlist.policy import opening, trends, wait
from waitlist.policy.calibration import PRIOR
from waitlist.policy.flow import DAY, HOUR, Contender, Gate
from waitlist.policy.forecast import courses
from waitlist.policy.survival import Share
from waitlist.policy.wait import Range, ShownRange, estimate, shown_range

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
WIDE = 1e9  # seats
OPENS_IN_A_DAY = ((DAY, math.inf),)


def _foretold(ahead: int, gate: Gate, *lines: Contender) -> float | None:
    """Seconds until somebody's turn in the first of these lines, by the numbers alone."""
    found = wait.outlooks(gate, lines or (Contender(10_000),), PRIOR)[0]
    return found.course.when(ahead + 1)


def test_at_3600_an_hour_the_600th_waits_ten_minutes() -> None:
    assert _foretold(599, Gate(3_600, WIDE)) == pytest.approx(600)


@pytest.mark.parametrize(
    "gate", [Gate(0, WIDE), Gate(3_600, WIDE, pace_now=0, pace_lately=0), Gate(3_600, 0)]
)
def test_nobody_can_say_while_nobody_is_let_in(gate: Gate) -> None:
    assert _foretold(0, gate) is None


def test_nobody_can_say_of_a_line_without_a_date() -> None:
    assert _foretold(0, Gate(3_600, WIDE), Contender(10, spans=())) is None


def test_a_line_that_opens_tomorrow_moves_from_then_on() -> None:
    line = Contender(10_000, spans=OPENS_IN_A_DAY)
    assert _foretold(599, Gate(3_600, WIDE), line) == pytest.approx(DAY + 600)


def test_until_a_line_opens_its_range_is_no_wider_than_from_then_on() -> None:
    [now] = wait.outlooks(Gate(3_600, WIDE), [Contender(10_000)], PRIOR)
    [later] = wait.outlooks(Gate(3_600, WIDE), [Contender(10_000, spans=OPENS_IN_A_DAY)], PRIOR)
    at_once, tomorrow = estimate(599, now), estimate(599, later)
    assert at_once is not None
    assert tomorrow is not None
    assert tomorrow.low == pytest.approx(DAY + at_once.low)
    assert tomorrow.high == pytest.approx(DAY + at_once.high)


def test_two_open_lines_share_the_rate_by_weight() -> None:
    mine, other = Contender(10_000, weight=1), Contender(10_000, weight=3)
    assert _foretold(599, Gate(3_600, WIDE), mine, other) == pytest.approx(4 * 600)


def test_once_another_line_is_empty_its_share_is_lent() -> None:
    mine, other = Contender(10_000), Contender(280)  # and those who may have come meanwhile
    took = _foretold(599, Gate(3_600, WIDE), mine, other)
    assert took == pytest.approx(600 + 280 * 1.05 + 20, rel=0.01)


def test_a_line_into_which_people_come_keeps_some_of_its_share() -> None:
    mine, other = Contender(10_000), Contender(0, arriving=900)
    assert _foretold(2_699, Gate(3_600, WIDE), mine, other) == pytest.approx(HOUR, rel=0.02)


def test_empty_lines_into_which_people_come_are_foretold_in_few_steps() -> None:
    empty, long = [Contender(0, arriving=60), Contender(0, arriving=90)], Contender(100_000)
    drawn = courses(Gate(3_600, WIDE, front=0.3), [*empty, long])
    assert len(drawn[-1].times) < 100


def test_a_line_that_opens_meanwhile_takes_its_share_from_then_on() -> None:
    other = Contender(10_000, spans=((300.0, math.inf),))
    took = _foretold(599, Gate(3_600, WIDE), Contender(10_000), other)
    assert took == pytest.approx(300 + 2 * 300)


def test_no_quota_is_exceeded() -> None:
    mine = Contender(10_000, room=100)
    assert _foretold(99, Gate(3_600, WIDE), mine) == pytest.approx(100)
    assert _foretold(100, Gate(3_600, WIDE), mine) is None


def test_who_finds_no_seat_waits_for_those_that_come_back() -> None:
    gate = Gate(3_600, 100, coming_back=(0.0, 0.0, 60.0))
    assert _foretold(99, gate) == pytest.approx(100)
    assert _foretold(129, gate) == pytest.approx(2.5 * HOUR, rel=0.01)
    assert _foretold(170, gate) is None


def test_of_those_let_in_from_now_on_some_give_their_seat_back_too() -> None:
    gate = Gate(3_600, 100, no_show=0.5, back_after=72.5 * HOUR)
    first = _foretold(120, gate)
    assert first is not None
    assert 72 * HOUR < first < 74 * HOUR
    assert _foretold(300, gate) is None, "half of a half of a half is too few"


def test_a_line_is_let_in_by_the_hours_of_its_day() -> None:
    spans = opening.spans(NOW, "09:00-21:00", "UTC", NOW)
    line = Contender(100_000, spans=spans)
    assert _foretold(8_999, Gate(1_000, WIDE), line) == pytest.approx(9 * HOUR)
    assert _foretold(9_999, Gate(1_000, WIDE), line) == pytest.approx(22 * HOUR, rel=0.01)


def test_hours_are_those_of_the_lines_own_clocks_when_they_change_too() -> None:
    friday = datetime(2027, 3, 26, 12, tzinfo=UTC)
    spans = opening.spans(friday, "09:00-21:00", "Europe/Paris", friday)
    begins = [friday + timedelta(seconds=begin) for begin, _ in spans[:4]]
    assert [at.hour for at in begins] == [12, 8, 7, 7]


def test_the_mails_of_a_day_bind_who_can_be_invited_on_it() -> None:
    gate = Gate(3_600, WIDE, mails=(100.0, 500.0, 1_000.0), day_ends=6 * HOUR)
    assert _foretold(99, gate) == pytest.approx(100)
    assert _foretold(150, gate) == pytest.approx(6 * HOUR + 51)
    assert _foretold(699, gate) == pytest.approx(6 * HOUR + DAY + 100)


def test_the_pace_of_the_last_hour_is_believed_in() -> None:
    assert _foretold(1_799, Gate(3_600, WIDE, pace_lately=0.5)) == pytest.approx(HOUR)


def test_a_pace_that_is_slower_now_stays_so_for_half_an_hour() -> None:
    gate = Gate(3_600, WIDE, pace_now=0.5, pace_lately=1.0)
    assert _foretold(899, gate) == pytest.approx(HOUR / 2)
    assert _foretold(2_699, gate) == pytest.approx(HOUR, rel=0.01)


def test_a_pace_that_the_products_health_lets_grow_grows() -> None:
    steady = _foretold(9_999, Gate(3_600, WIDE, 0.1, 0.1), Contender(20_000))
    grows = _foretold(9_999, Gate(3_600, WIDE, 0.1, 0.1, pace_limit=0.8), Contender(20_000))
    assert steady is not None
    assert grows is not None
    assert grows < steady / 2


def test_who_leaves_makes_the_wait_shorter_and_who_comes_back_longer() -> None:
    plain, leaving, back = (
        _foretold(4_999, gate)
        for gate in (
            Gate(1_000, WIDE),
            Gate(1_000, WIDE, leaving=0.05),
            Gate(1_000, WIDE, front=0.1),
        )
    )
    assert plain == pytest.approx(5 * HOUR)
    a_day_of = math.log(1 + 0.05 * 5) / 0.05  # hours in which the rate and those who leave do it
    assert leaving == pytest.approx(a_day_of * HOUR, rel=0.02)
    assert back == pytest.approx(5 * HOUR / 0.9)


def test_the_last_of_a_line_are_told_something_too() -> None:
    gate = Gate(1_000, WIDE, leaving=0.03, front=0.1)
    lines = Contender(5_000), Contender(700)
    assert all(_foretold(last, gate, *lines) for last in (0, 4_000, 4_999))


numbers = {
    "rate": some.floats(1, 1e6),
    "free": some.integers(0, 10**6).map(float),
    "pace_now": some.floats(0.01, 1),
    "pace_lately": some.floats(0.01, 1),
    "pace_limit": some.floats(0, 1),
    "coming_back": some.lists(some.floats(0, 1e4), max_size=73).map(tuple),
    "no_show": some.floats(0, 0.9),
    "leaving": some.floats(0, 0.1),
    "front": some.floats(0, 0.9),
    "mails": some.lists(some.floats(0, 1e5), max_size=5).map(tuple),
}
lines = some.builds(
    Contender,
    waiting=some.integers(0, 10**6).map(float),
    weight=some.integers(1, 9),
    spans=some.sampled_from(
        [(), ((0.0, math.inf),), OPENS_IN_A_DAY, ((0.0, HOUR), (DAY, 2 * DAY))]
    ),
    room=some.sampled_from([math.inf, 0.0, 10.0, 1e4]),
    part=some.floats(0, 1),
    arriving=some.floats(0, 1e4),
)


@settings(deadline=None)
@given(some.builds(Gate, **numbers), some.lists(lines, min_size=1, max_size=4), some.data())
def test_whoever_stands_further_back_waits_no_shorter(
    gate: Gate, contenders: list[Contender], data: some.DataObject
) -> None:
    outlook = wait.outlooks(gate, contenders, PRIOR)[0]
    places = sorted(data.draw(some.lists(some.integers(0, 10**6), min_size=2, max_size=6)))
    told = [estimate(ahead, outlook) for ahead in places]
    known = [one for one in told if one is not None]
    assert told[: len(known)] == known, "where somebody is told nothing, nobody behind is"
    assert [one.foretold for one in known] == sorted(one.foretold for one in known)
    for one in known:
        assert 0 <= one.low <= one.middle <= one.high


@given(some.floats(0, 1e8), some.floats(0, 1e8))
def test_a_range_is_rounded_outward(one: float, other: float) -> None:
    low, high = sorted((one, other))
    shown_low, shown_high = shown_range(Range(low, low, high, low)).seconds
    assert shown_low <= low
    assert high <= shown_high
    assert shown_low <= shown_high


@pytest.mark.parametrize(
    "low, high, shown",
    [
        (3, 40, ShownRange(0, "minute", 1, "minute")),
        (130, 500, ShownRange(2, "minute", 9, "minute")),
        (13 * 60, 41 * 60, ShownRange(10, "minute", 45, "minute")),
        (52 * 60, 3.2 * HOUR, ShownRange(50, "minute", 4, "hour")),
        (2.2 * HOUR, 3.9 * HOUR, ShownRange(2, "hour", 4, "hour")),
        (16 * HOUR, 46 * HOUR, ShownRange(15, "hour", 48, "hour")),
        (16 * HOUR, 60 * HOUR, ShownRange(15, "hour", 3, "day")),
        (1.5 * DAY, 2.5 * DAY, ShownRange(1, "day", 3, "day")),
        (24 * DAY, 34 * DAY, ShownRange(3, "week", 5, "week")),
        (80 * DAY, 140 * DAY, ShownRange(2, "month", 5, "month")),
    ],
)
def test_a_range_is_told_in_units_that_people_use(
    low: float, high: float, shown: ShownRange
) -> None:
    assert shown_range(Range(low, low, high, low)) == shown


def test_the_last_hour_counts_while_somebody_waited_in_it_all_along() -> None:
    waits = [(0.0, 100.0), (80.0, 1_000.0), (90.0, 1_000.0)]
    assert trends.busy_since(waits, 1_000.0) == 0.0
    assert trends.busy_since(waits[1:], 1_000.0) == 80.0
    assert trends.busy_since([(0.0, 900.0)], 1_000.0) == 1_000.0, "nobody waited at the end"
    assert trends.busy_since([(0.0, 9_000.0)], 9_000.0) == 9_000.0 - trends.LATELY


def test_a_rate_that_isnt_kept_is_noticed_unless_seats_are_short() -> None:
    assert trends.pace_lately(3_600, 1e5, 2_000, 3_600, 1.0) == pytest.approx(0.56, abs=0.01)
    assert trends.pace_lately(3_600, 100, 2_000, 3_600, 1.0) == 1.0
    assert trends.pace_lately(3_600, 1e5, 0, 0.0, 0.7) == pytest.approx(0.7)


def test_no_shows_of_which_little_is_known_arent_believed_in() -> None:
    assert trends.no_show(Share(0.0, 0.0, 1.0)) == trends.NO_SHOW
    assert trends.no_show(Share(0.8, 0.7, 0.9)) == pytest.approx(0.2)
