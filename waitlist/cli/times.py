"""Times as operators read and write them: in their own zone, the setting `TIMEZONE`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from waitlist.errors import ValueRefused
from waitlist.extensions import settings

FORM = "such as 2027-02-21T15:00, in the operators' zone (TIMEZONE) unless it ends in Z or +01:00"

WHILE = re.compile(r"(\d{1,6})([mhd])")
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def read(words: str, *, named: str = "a time") -> datetime:
    """The moment, in UTC, that an ISO 8601 time names; `ValueRefused` for what names none."""
    try:
        at = datetime.fromisoformat(words)
        if at.tzinfo is None:
            at = _in_our_zone(at)
        return at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueRefused(f"{named} is {FORM}, not {words!r}") from error


def read_coming(words: str, *, now: datetime, named: str = "a time") -> datetime:
    """The same, but `ValueRefused` for a moment that isn't after `now`."""
    at = read(words, named=named)
    if at <= now:
        raise ValueRefused(f"{words} is past: now it is {shown(now)}")
    return at


def shown(at: datetime | None) -> str | None:
    """A moment in the operators' zone, with its name; None for none."""
    return (
        None if at is None else f"{at.astimezone(settings().timezone):%Y-%m-%d %H:%M:%S} {zone()}"
    )


def zone() -> str:
    """The name of the operators' zone."""
    return str(settings().timezone)


def _in_our_zone(wall: datetime) -> datetime:
    at = wall.replace(tzinfo=settings().timezone)
    if at.utcoffset() != at.replace(fold=1).utcoffset():
        raise ValueRefused(
            f"the clocks of {zone()} are changed around {wall:%Y-%m-%d %H:%M}: say which moment "
            "is meant, by an offset such as +01:00 at its end, or Z"
        )
    return at


def read_while(words: str) -> timedelta:
    """How long 30m, 2h or 1d is; `ValueRefused` for other words."""
    found = WHILE.fullmatch(words.strip())
    if not found or not int(found[1]):
        raise ValueRefused(f"a while is such as 30m, 2h or 1d, not {words!r}")
    return int(found[1]) * UNITS[found[2]]


def shown_while(duration: timedelta) -> str:
    """A while in the same words, such as 2h."""
    for unit, length in reversed(UNITS.items()):
        if duration % length == timedelta(0):
            return f"{duration // length}{unit}"
    return f"{duration.total_seconds():.0f}s"
