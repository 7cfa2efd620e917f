"""What the last hours tell of the next ones."""

from __future__ import annotations

from collections.abc import Iterable

from waitlist.policy.survival import Share

LATELY = 3600.0  # seconds that are looked back
SHORT = 300.0  # seconds of the rate: with fewer seats free, seats are short
A_FEW = 20  # people who count as seen beside those who were
HALFWAY, LEAST_STRAIN = 0.5, 0.02
HOURS_OF_PATIENCE = 1_000.0  # of waiting that count as seen beside those that were
UNSURE, NO_SHOW = 0.5, 0.3  # while the bounds are that wide, so many are taken not to come
MOST_FRONT = 0.9


def busy_since(waits: Iterable[tuple[float, float]], now: float) -> float:
    """Since when at every moment one of these waits was under way; not before `LATELY`."""
    since = now
    for begin, end in sorted(waits, key=lambda wait: -wait[1]):
        if end < since:
            break
        since = min(since, begin)
    return max(since, now - LATELY)


def pace_lately(
    rate: float, free: float, admitted: float, allowed: float, pace_now: float
) -> float:
    """The part of the rate that was kept in the last hour, in which somebody always waited.

    Of little that was seen, and while seats are short, that of now: then not the rate was kept
    back, but there was no seat.
    """
    if free < rate * SHORT / 3600:
        return pace_now
    return min(1.0, (admitted + A_FEW * pace_now) / (allowed + A_FEW))


def front(came_back: float, admitted: float) -> float:
    """Of those let in, the share who came back to the front, when of late so many did."""
    return min(MOST_FRONT, came_back / (admitted + A_FEW))


def pace_limit(pace: float, strain: float | None) -> float:
    """To which pace the gate may grow: until the product carries half of what it should.

    `strain` is what it carries, of what it should at most; None where its health binds nothing.
    """
    return 0.0 if strain is None else min(1.0, pace * HALFWAY / max(strain, LEAST_STRAIN))


def no_show(finish: Share) -> float:
    """Of those still to be invited, the share who won't come, as past invitations tell."""
    return NO_SHOW if finish.high - finish.low > UNSURE else 1 - finish.of
