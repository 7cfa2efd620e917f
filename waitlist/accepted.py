"""What the mail server took and SQL doesn't know yet, noted in Redis.

Marks go to SQL in groups, so that they leave the database to those who join. A worker that is
killed between would have its whole group mailed again; with these notes, only the one mail
that was under way. A note costs less than a commit, and lives as long as a lease can matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from redis.exceptions import RedisError

from waitlist import extensions
from waitlist.outbox import LEASE, Leased

KEPT = int((20 * LEASE).total_seconds())


class Notes:
    """One worker's notes: each is sent at once, and its answer read when the next one is due.

    What was sent reaches Redis even if we are killed the moment after, so the next mail needn't
    wait for Redis to say so.
    """

    def __init__(self) -> None:
        self._pool = extensions.redis().connection_pool
        self._asked: Any = None  # the connection that owes an answer

    def __enter__(self) -> Notes:
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._hang_up()

    def add(self, message: Leased) -> bool:
        """Note that the server took this mail.

        False if Redis took this note or the one before it not: then SQL must be told at once.
        """
        try:
            if self._asked is None:
                self._asked = self._pool.get_connection()
            else:
                self._asked.read_response()
            self._asked.send_command("SET", _key(message), "1", "EX", KEPT)
        except RedisError:
            self._hang_up()
            return False
        return True

    def _hang_up(self) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.disconnect()
            self._pool.release(asked)


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
