"""Hours of the day, on the clocks of a time zone: whether a moment is within them, and when."""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from waitlist.errors import ValueRefused

CLOCK = r"([01]\d|2[0-3]):[0-5]\d"
HOURS = re.compile(rf"({CLOCK})-({CLOCK}|24:00)")
MINUTE = timedelta(minutes=1)
DAY = 24 * 60  # minutes


class Hours(NamedTuple):
    """From one time of the day until before another; past midnight if that one is earlier."""

    begin: time
    end: time

    def hold(self, clock: time) -> bool:
        """Whether they hold what a clock shows."""
        if self.begin < self.end:
            return self.begin <= clock < self.end
        return clock >= self.begin or clock < self.end


@lru_cache(maxsize=256)
def parsed(words: str) -> Hours:
    """The hours that words such as `09:00-21:00` name; `ValueRefused` for others."""
    if not HOURS.fullmatch(words):
        raise ValueRefused(f"hours are such as 09:00-21:00 (or 21:00-09:00), not {words!r}")
    begin, end = (time.fromisoformat(word) for word in words.replace("24:00", "00:00").split("-"))
    if begin == end:
        raise ValueRefused(f"{words} are all hours or none: give others, or --any-hour")
    return Hours(begin, end)


def zone(name: str) -> ZoneInfo:
    """The time zone of that name; `ValueRefused` with the nearest one."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        known = {one.lower(): one for one in sorted(available_timezones())}
        cities = {one.rpartition("/")[2]: one for one in known}
        named = name.strip().lower().replace(" ", "_")
        nearest = [cities[one] for one in difflib.get_close_matches(named, cities, n=1)]
        nearest = difflib.get_close_matches(named, known, n=1) or nearest
        meant = f". Did you mean {known[nearest[0]]}?" if nearest else ""
        raise ValueRefused(f"a time zone is such as Europe/Paris, not {name!r}{meant}") from error


def is_within(hours: str | None, zone: str, at: datetime) -> bool:
    """Whether the clocks of that zone show one of these hours at `at`; None are all hours."""
    return hours is None or parsed(hours).hold(at.astimezone(ZoneInfo(zone)).time())


def next_moment(hours: str | None, zone: str, at: datetime) -> datetime:
    """The first moment from `at` on that is within these hours, of the time zone of `at`.

    While a zone keeps its offset, its clocks show where they are going. So this goes to where
    they show the beginning, or to where they are changed before, and looks again.
    """
    if is_within(hours, zone, at):
        return at
    assert hours is not None
    begin = parsed(hours).begin
    moment = at.astimezone(UTC).replace(second=0, microsecond=0)
    while not is_within(hours, zone, moment):
        clock = moment.astimezone(ZoneInfo(zone))
        ahead = (begin.hour * 60 + begin.minute - clock.hour * 60 - clock.minute) % DAY
        moment += MINUTE * _until_change(ZoneInfo(zone), moment, ahead)
    return moment.astimezone(at.tzinfo)


def _until_change(zone: ZoneInfo, at: datetime, most: int) -> int:
    """The minutes until the zone changes its offset, or `most` if it doesn't before."""

    def offset(minutes: int) -> timedelta | None:
        return (at + MINUTE * minutes).astimezone(zone).utcoffset()

    now = offset(0)
    return bisect_left(range(most), True, key=lambda minutes: offset(minutes) != now)
