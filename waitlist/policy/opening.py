"""When a cohort is open, as far ahead as anybody is told of."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from functools import lru_cache

from waitlist.policy import hours as clocks
from waitlist.policy.flow import Span

TOLD = timedelta(days=120)  # for which hours of the day are told one by one


def spans(
    opens_at: datetime | None, hours: str | None, zone: str, since: datetime
) -> tuple[Span, ...]:
    """When it is open from `since` on, in seconds from there; nothing if it has no date."""
    if opens_at is None:
        return ()
    begin = max(opens_at, since)
    if hours is None:
        return (((begin - since).total_seconds(), math.inf),)
    at = since.timestamp()
    day = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    found = [(max(a, begin.timestamp()) - at, b - at) for a, b in _daily(hours, zone, day)]
    return tuple(span for span in found if span[1] > max(0.0, span[0]))


@lru_cache(maxsize=256)
def _daily(hours: str, zone: str, since: datetime) -> list[Span]:
    """The hours of many days, in unix time."""
    begin, end = hours.split("-")
    others = f"{end.replace('24:00', '00:00')}-{begin}"
    found, at = [], since
    while at < since + TOLD:
        opens = clocks.next_moment(hours, zone, at)
        at = clocks.next_moment(others, zone, opens)
        found.append((opens.timestamp(), at.timestamp()))
    return found
