"""The pace: what accrues by the rate, and how many a tick or a wave may admit."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import NamedTuple

from waitlist.policy import bounces

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


def part_in_force(*, factor: float, is_slowed: bool) -> float:
    """The part of the rate that the product's health leaves, and what else slows the gate."""
    return factor / (bounces.SLOWED if is_slowed else 1)


def rate_in_force(rate: float, *, factor: float, is_held: bool, is_slowed: bool) -> float:
    """People an hour at which the allowance grows: those set, slowed by what slows the gate."""
    return 0.0 if is_held else rate * part_in_force(factor=factor, is_slowed=is_slowed)


def tick_budget(
    *,
    paused: bool,
    is_stopped: bool,
    is_held: bool,
    free: int,
    mails: int,
    by_rate: int,
    is_alarmed: bool = False,
) -> Budget:
    """What one tick may admit: the least of free seats, mails, and what the rate lets in.

    Nobody while too many invitations bounce (`is_stopped`), or by the product's health. While
    the last step fails (`is_alarmed`) it is told as what slows the rate.
    """
    if paused:
        return Budget(0, "paused")
    pace = "last-step" if is_alarmed else "rate"
    bounds = {"capacity": free, "mail": mails, pace: by_rate}  # of equal ones the first is told
    if is_held:
        bounds = {"health": 0, **bounds}
    if is_stopped:
        bounds = {"bounces": 0, **bounds}
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
