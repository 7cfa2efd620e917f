"""What the mail server took and SQL doesn't know yet, noted in Redis.

Marks go to SQL in groups, so that they leave the database to those who join. A worker that is
killed between would have its whole group mailed again; with this note, only the one mail that
was under way. It costs a round trip to Redis instead of a commit, and lives as long as a
lease can matter.
"""

from __future__ import annotations

from collections.abc import Sequence

from redis.exceptions import RedisError

from waitlist import extensions
from waitlist.outbox import LEASE, Leased

KEPT = 20 * LEASE


def note(message: Leased) -> bool:
    """Note that the server took this mail; False if Redis can't, and SQL must be told at once."""
    try:
        return bool(extensions.redis().set(_key(message), "1", ex=KEPT))
    except RedisError:
        return False


def noted(messages: Sequence[Leased]) -> set[Leased]:
    """Which of these were taken by the server, as far as Redis knows."""
    if not messages:
        return set()
    try:
        found = extensions.redis().mget([_key(message) for message in messages])
    except RedisError:
        return set()
    return {message for message, value in zip(messages, found, strict=True) if value}


def _key(message: Leased) -> str:
    return f"waitlist:accepted:{message.id}:{message.lease}"
