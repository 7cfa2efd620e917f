"""Whether so many meet an error of ours at the last step that the gate must slow down.

People are counted, not tries: a page tries again by itself and somebody may press a button a
hundred times, so only what happened to different people says anything of the others. A share
is believed to be over the limit as with bounces (`policy.bounces`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from waitlist.policy import bounces

WINDOW = timedelta(minutes=10)
OURS = frozenset(
    {"busy", "in-progress", "no-answer", "too-many", "too-many-tries", "unavailable", "unexpected"}
)


class Tries(NamedTuple):
    """How many people tried the last step lately, and how many of them met an error of ours."""

    people: int = 0
    failed: int = 0

    @property
    def share(self) -> float | None:
        """The share of those who met one; None where nobody tried."""
        return self.failed / self.people if self.people else None


def is_ours(kind: str) -> bool:
    """Whether a failed try of this kind is our fault, not a mistake in what was typed."""
    return kind in OURS


def alarms(tries: Tries, limit: float, *, alarmed: bool) -> bool:
    """Whether the last step fails too often: from when that is sure until it isn't so any more.

    Between the two it stays as it was, so that it doesn't begin and end every other second.
    """
    if alarmed:
        return (tries.share or 0.0) > limit
    return bounces.is_over(tries.failed, tries.people, limit)
