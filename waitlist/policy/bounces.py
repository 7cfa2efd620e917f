"""Whether invitations bounce so often that the gate must slow down, or stop.

A share is believed to be over a threshold when the lower bound of its interval is (Wilson,
"Probable inference, the law of succession, and statistical inference", 1927): one bounce of
three mails says little, thirty of three hundred say enough. What came lately counts most.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import NamedTuple

NORMAL = 1.644854  # standard deviations under which the mean lies at 95%
ENOUGH = 20  # outcomes, below which nothing is decided
MEMORY = 1_000  # outcomes at most, so that a bad wave after many good ones is noticed soon
FADES = timedelta(hours=3)  # after which an outcome counts for a third
SLOWED = 4  # the gate's rate is divided by it, and an invitation costs as much of its minute


class Outcomes(NamedTuple):
    """What became of the last invitations' mails: taken, bounced, refused for now."""

    sent: float = 0.0
    bounced: float = 0.0
    later: float = 0.0
    noted_at: datetime | None = None

    @property
    def total(self) -> float:
        """How many were tried."""
        return self.sent + self.bounced + self.later


class Limits(NamedTuple):
    """The shares of bounces past which the gate slows, and past which it stops."""

    slow: float
    stop: float


def noted(
    outcomes: Outcomes,
    *,
    sent: int = 0,
    bounced: int = 0,
    later: int = 0,
    came_back: int = 0,
    now: datetime,
) -> Outcomes:
    """The same with these beside it; what was there before counts for less, in time and number.

    Those that `came_back` were counted as sent once, so they aren't any more.
    """
    elapsed = max(timedelta(), now - (outcomes.noted_at or now))
    room = max(0, MEMORY - sent - bounced - later - came_back) / max(outcomes.total, 1)
    kept = min(math.exp(-elapsed / FADES), room)
    return Outcomes(
        max(0.0, outcomes.sent * kept + sent - came_back),
        outcomes.bounced * kept + bounced + came_back,
        outcomes.later * kept + later,
        now,
    )


def too_many(outcomes: Outcomes, limits: Limits) -> bool:
    """Whether so many bounce that no more mail may go until somebody has looked."""
    return is_over(outcomes.bounced, outcomes.total, limits.stop)


def many(outcomes: Outcomes, limits: Limits) -> bool:
    """Whether so many bounce, or are refused for now, that the gate should be slower."""
    return is_over(outcomes.bounced + outcomes.later, outcomes.total, limits.slow)


def least_share(some: float, of: float) -> float:
    """The least that a share can be, at 95%, of which `some` of so many were seen."""
    if of <= 0:
        return 0.0
    share, squared = some / of, NORMAL**2
    width = NORMAL * math.sqrt(share * (1 - share) / of + squared / (4 * of * of))
    return max(0.0, (share + squared / (2 * of) - width) / (1 + squared / of))


def is_over(some: float, of: float, limit: float) -> bool:
    """Whether a share, of which `some` of so many were seen, is surely over the limit."""
    return round(of) >= ENOUGH and least_share(some, of) > limit
