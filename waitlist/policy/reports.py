"""What delivery reports make of a mail: the same, in whatever order and however often they come.

A mail that was sent is, in this order, at most delivered, complained of, or bounced; a report
only ever moves it on. So a bounce that comes after the delivery counts, as some servers take a
mail first and refuse it later, and a delivery that is told after the bounce doesn't.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a report says became of a mail."""

    DELIVERED = "delivered"
    COMPLAINED = "complained"  # whoever got it calls it spam, or wants no more
    BOUNCED = "bounced"  # for good: the address can't be mailed
    DEFERRED = "deferred"  # not yet, or not this time: only noted


SENT = "sent"
ORDER = (SENT, Kind.DELIVERED, Kind.COMPLAINED, Kind.BOUNCED)
TAKEN = ORDER[:-1]  # states of a mail that the server took, and that didn't come back
# states of a mail that the server may have taken without our knowing: our own mark is yet to
# come, or the answer was cut off
UNTOLD = ("queued", "sending", "cancelled", "dead")


def moved_by(kind: Kind) -> tuple[str, ...]:
    """The states of a sent mail that a report of this kind changes."""
    return () if kind is Kind.DEFERRED else ORDER[: ORDER.index(kind)]


def after(state: str, kind: Kind) -> str:
    """The state of a sent mail after a report of this kind."""
    return kind if state in moved_by(kind) else state
