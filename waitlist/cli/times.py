"""Times as operators read and write them: in their own zone, the setting `TIMEZONE`."""

from __future__ import annotations

from datetime import UTC, datetime

from waitlist.errors import ValueRefused
from waitlist.extensions import settings

FORM = "such as 2027-02-21T15:00, in the operators' zone (TIMEZONE) unless it ends in Z or +01:00"


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
