"""What an answer to a webhook means, and when the webhook goes again.

The schedule and the meaning of answers are those of Standard Webhooks 1.0.0, "Operational
considerations". What it leaves open: an answer that says that the product itself is away holds
up the endpoint, which is probed, and not each webhook, so that all go as soon as it is back.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

SCHEDULE = tuple(
    timedelta(seconds=wait)
    for wait in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
GIVE_UP_AFTER = sum(SCHEDULE, timedelta())  # three days and some hours, of one that is away
PROBE_EVERY = timedelta(seconds=15)  # between two tries of an endpoint that is away
LONGEST_WAIT = timedelta(days=1)  # that `Retry-After` may ask for
SHORTEST_WAIT = timedelta(seconds=1)
JITTER = 0.1  # of a wait, to either side
MANY = 3  # failures in a row, after which a success says that the product was mended

THROTTLED, GONE_STATUS = 429, 410
UNAVAILABLE = (502, 503, 504)


class Verdict(StrEnum):
    """What an attempt came to."""

    DELIVERED = "delivered"
    REFUSED = "refused"  # it answered, and it may be about this webhook
    AWAY = "away"  # no answer, or one that says that the product can't at the moment
    GONE = "gone"  # it wants no webhook any more


def verdict(status: int | None) -> Verdict:
    """What an answer's status means; None where there was no answer."""
    if status is None or status == THROTTLED or status in UNAVAILABLE:
        return Verdict.AWAY
    if status == GONE_STATUS:
        return Verdict.GONE
    return Verdict.DELIVERED if 200 <= status < 300 else Verdict.REFUSED


def next_try(
    failed: int, *, jitter: float, retry_after: timedelta | None = None
) -> timedelta | None:
    """How long a webhook waits that was refused so often; None if it was tried often enough.

    `jitter`, from 0 to 1, spreads those that were refused together.
    """
    if failed > len(SCHEDULE):
        return None
    wait = SCHEDULE[failed - 1] * (1 + JITTER * (2 * jitter - 1))
    return max(wait, _bounded(retry_after)) if retry_after else wait


def next_probe(retry_after: timedelta | None) -> timedelta:
    """How long an endpoint that is away is left alone."""
    return PROBE_EVERY if retry_after is None else _bounded(retry_after)


def retry_after(header: str | None, *, now: datetime) -> timedelta | None:
    """What `Retry-After` asks for, seconds or a date (RFC 9110, section 10.2.3); None if nothing.

    A date that is past asks for no wait.
    """
    words = (header or "").strip()
    if words.isascii() and words.isdecimal():
        return timedelta(seconds=min(int(words[:9]), LONGEST_WAIT.total_seconds()))
    try:
        at = parsedate_to_datetime(words)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(timedelta(), at - now)


def _bounded(wait: timedelta) -> timedelta:
    return min(max(wait, SHORTEST_WAIT), LONGEST_WAIT)
