"""By which of two mail servers mail goes: the first, unless it fails too long or refuses too much.

A share of refusals is believed to be over its threshold when the lower bound of its interval is
(see `policy.bounces`). What is remembered is of the server in force, so that the second is left
by the same rules once the first is well.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import NamedTuple

from waitlist.policy.bounces import ENOUGH, least_share

FIRST, SECOND, AUTO = "first", "second", "auto"
WORDS = (FIRST, SECOND, AUTO)
MEMORY = 200  # answers at most, so that a server that turns bad is noticed soon
FADES = timedelta(minutes=30)  # after which an answer counts for a third
STAY = timedelta(minutes=10)  # by the second at least, or one that wavers sends mail to and fro


class Limits(NamedTuple):
    """How long the first may fail, and the share it may refuse, before the second takes over."""

    failing: timedelta
    refused: float


class Seen(NamedTuple):
    """What is known of the server in force; `why` tells in words why it is."""

    route: str = FIRST
    since: datetime | None = None
    why: str = ""
    failing_since: datetime | None = None  # no mail could go by it since
    taken: float = 0.0
    refused: float = 0.0
    noted_at: datetime | None = None


class Tried(NamedTuple):
    """What a server answered to a few mails: took, refused (for now, or of us), or was away."""

    route: str = FIRST
    taken: int = 0
    refused: int = 0
    away: int = 0


def in_force(setting: str, by_itself: str, *, has_second: bool) -> str:
    """By which server mail goes, as operators set it and as it came about."""
    if not has_second:
        return FIRST
    return by_itself if setting == AUTO else setting


def after(seen: Seen, tried: Tried, limits: Limits, *, now: datetime) -> Seen:
    """The same when these answers are known; the second is in force if the first is past limits."""
    if tried.route != seen.route or not any(tried[1:]):
        return seen
    noted = _noted(seen, tried, now=now)
    if noted.route == FIRST and (why := _why_not(noted, limits, now=now)):
        return Seen(SECOND, now, why)
    return noted


def found_well(seen: Seen, *, now: datetime) -> Seen:
    """The same when a probe found that the first would take mail: in time, the first again."""
    if seen.route == FIRST:
        return seen
    is_settled = seen.since is None or now - seen.since >= STAY
    if is_settled or seen.failing_since is not None:
        return Seen(FIRST, now, "it is well again")
    return seen


def _noted(seen: Seen, tried: Tried, *, now: datetime) -> Seen:
    elapsed = max(timedelta(), now - (seen.noted_at or now))
    total = max(seen.taken + seen.refused, 1)
    room = max(0, MEMORY - sum(tried[1:])) / total
    kept = min(math.exp(-elapsed / FADES), room)
    failing_since = None if tried.taken or tried.refused else seen.failing_since
    return seen._replace(
        failing_since=(failing_since or now) if tried.away else failing_since,
        taken=seen.taken * kept + tried.taken,
        refused=seen.refused * kept + tried.refused + tried.away,
        noted_at=now,
    )


def _why_not(seen: Seen, limits: Limits, *, now: datetime) -> str:
    """Why no more mail should go by this server; "" if it may."""
    if seen.failing_since is not None and now - seen.failing_since >= limits.failing:
        minutes = (now - seen.failing_since) // timedelta(minutes=1)
        return f"no mail could go by the first for {minutes} min"
    total = seen.taken + seen.refused
    if round(total) >= ENOUGH and least_share(seen.refused, total) > limits.refused:
        return f"the first refused {seen.refused:.0f} of {total:.0f}"
    return ""
