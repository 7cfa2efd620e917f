"""The wait as people see it: a number that is rounded, and a range of time.

The middle is what the numbers of now foretell (`forecast`), the range around it what was learned
from those who were told one before (`calibration`). Both count only the time in which the cohort
is open: until its date, and at night, a line stands still for sure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from waitlist.policy.calibration import PRIOR, Spread
from waitlist.policy.flow import Contender, Gate
from waitlist.policy.forecast import Course, OpenTime, courses

EXACT_BELOW = 100  # positions that are shown as they are
MINUTE, HOUR, DAY = 60, 3_600, 86_400
UNITS = {"minute": MINUTE, "hour": HOUR, "day": DAY, "week": 7 * DAY, "month": 30 * DAY}
LONGEST = {"minute": 90 * MINUTE, "hour": 2 * DAY, "day": 14 * DAY, "week": 70 * DAY}  # told in it
COARSELY = {"minute": (10, 5), "hour": (12, 3)}  # told one by one up to ten, then by five


class Range(NamedTuple):
    """Seconds from now: one in ten waits less than `low`, half `middle`, one in ten over `high`.

    `foretold` is what the numbers alone say, in seconds of open time; the spread is learned by it.
    """

    low: float
    middle: float
    high: float
    foretold: float


class ShownRange(NamedTuple):
    """A range as people are told it: from so many minutes, hours, … (0: up to) to so many."""

    low: int
    low_unit: str
    high: int
    unit: str

    @property
    def seconds(self) -> tuple[int, int]:
        """The same in seconds."""
        return self.low * UNITS[self.low_unit], self.high * UNITS[self.unit]


@dataclass(frozen=True)
class Outlook:
    """What is known of a cohort's future at a moment: by it every estimate of it is made.

    See `forecast.Gate` and `forecast.Contender` for the numbers that it is made of.
    """

    course: Course
    open_time: OpenTime
    spread: Spread = PRIOR


def outlooks(gate: Gate, contenders: Sequence[Contender], spread: Spread) -> list[Outlook]:
    """The outlook of each of these cohorts, which share the gate."""
    return [
        Outlook(course, OpenTime(one.spans), spread)
        for course, one in zip(courses(gate, contenders), contenders, strict=True)
    ]


def estimate(ahead: int, outlook: Outlook) -> Range | None:
    """How long somebody with so many people ahead will wait; None where nobody can say.

    That is: paused, at a rate of 0, closed without a date, or where the seats that are free and
    those that are expected back are too few.
    """
    at = outlook.course.when(ahead + 1)
    if at is None:
        return None
    foretold = outlook.open_time.until(at)
    low, middle, high = map(outlook.open_time.after, outlook.spread.around(foretold))
    return Range(low, middle, high, foretold)


def shown_range(told: Range) -> ShownRange:
    """The range that people see: rounded outward, to units in which they would say it."""
    unit = _unit(told.high)
    low_unit = unit if told.low >= UNITS[unit] else _unit(told.low)
    low = math.floor(told.low / _step(told.low, low_unit)) * _step(told.low, low_unit)
    high = math.ceil(told.high / _step(told.high, unit)) * _step(told.high, unit)
    return ShownRange(low // UNITS[low_unit], low_unit, max(high, UNITS[unit]) // UNITS[unit], unit)


def _unit(seconds: float) -> str:
    return next((name for name, longest in LONGEST.items() if seconds <= longest), "month")


def _step(seconds: float, unit: str) -> int:
    """To how many seconds it is rounded."""
    fine_up_to, coarse = COARSELY.get(unit, (math.inf, 1))
    return UNITS[unit] * (coarse if seconds > fine_up_to * UNITS[unit] else 1)


def shown_position(position: int) -> int:
    """The number that people see: exact below 100, then rounded up to 10, 100, 1,000."""
    step = (
        1
        if position < EXACT_BELOW
        else 10
        if position < 1_000
        else 100
        if position < 10_000
        else 1_000
    )
    return math.ceil(position / step) * step
