"""The wait as people see it."""

from __future__ import annotations

import math

EXACT_BELOW = 100  # positions that are shown as they are


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
