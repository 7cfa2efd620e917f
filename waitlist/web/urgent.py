"""Requests that go first: who confirms or finishes doesn't wait for those who only join."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

GIVE_WAY = 0.04  # seconds at most that others wait, about what a last step takes alone
LATELY = 1.0  # seconds


class Urgent:
    """What is urgent and under way, and waiting until it is over.

    It belongs to one event loop; `let_pass` is for threads.
    """

    def __init__(self) -> None:
        self._under_way = 0
        self._ended = float("-inf")  # when the last was over, by the loop's clock
        self._over, self._over_for_threads = asyncio.Event(), threading.Event()
        self._tell()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Something urgent is under way inside."""
        self._under_way += 1
        self._tell()
        try:
            yield
        finally:
            self._under_way -= 1
            self._ended = asyncio.get_running_loop().time()
            self._tell()

    def __bool__(self) -> bool:
        """Whether anything urgent is under way."""
        return self._under_way > 0

    @property
    def was_lately(self) -> bool:
        """Whether anything urgent is under way, or was a second ago."""
        return bool(self) or asyncio.get_running_loop().time() - self._ended < LATELY

    async def over(self) -> None:
        """Return once nothing urgent is under way, or `GIVE_WAY` later: nobody starves."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GIVE_WAY):
                await self._over.wait()

    def let_pass(self) -> None:
        """The same for a thread."""
        self._over_for_threads.wait(GIVE_WAY)

    def _tell(self) -> None:
        for event in (self._over, self._over_for_threads):
            if self._under_way:
                event.clear()
            else:
                event.set()
