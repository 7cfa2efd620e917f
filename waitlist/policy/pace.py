"""The pace: what accrues by the rate, and how many a tick or a wave may admit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

ALLOWANCE_CAP = timedelta(seconds=5)


def accrue(allowance: float, rate: float, elapsed: timedelta) -> float:
    """The allowance after `elapsed` at `rate` people an hour, in people and fractions.

    It holds at most 5 seconds of rate (or one person and a second, where that is more: so that a
    tick each second loses no fraction), and of a longer absence counts 5 seconds: time missed
    beyond that is lost, never made up for.
    """
    if rate == 0:
        return 0.0
    counted = min(max(elapsed, timedelta()), ALLOWANCE_CAP)
    a_second = rate / 3600
    cap = max(1.0 + a_second, a_second * ALLOWANCE_CAP.total_seconds())
    return min(allowance + a_second * counted.total_seconds(), cap)


class Budget(NamedTuple):
    """How many may be admitted, and the word for what limits it."""

    people: int
    limit: str


def tick_budget(*, paused: bool, bounds: Mapping[str, int]) -> Budget:
    """What one tick may admit: the least of these bounds, of equal ones the first named.

    Each is told by the word for what bounds: free seats, the rate's allowance, mails.
    """
    if paused:
        return Budget(0, "paused")
    limit = min(bounds, key=lambda name: bounds[name])
    return Budget(max(0, bounds[limit]), limit)


def allowed(allowance: float) -> int:
    """How many whole people an allowance lets in."""
    return math.floor(allowance + 1e-9)


def wave_budget(*, paused: bool, asked: int, free: int) -> Budget:
    """What an operator's wave may admit: the rate doesn't bind it, the seats do."""
    if paused:
        return Budget(0, "paused")
    return Budget(max(0, min(asked, free)), "asked" if asked <= free else "capacity")
