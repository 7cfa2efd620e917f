"""Requests that go first: who confirms or finishes doesn't wait for those who only join."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

GIVE_WAY = 0.04  # seconds at most that others wait, about what a last step takes alone
LOOK_AGAIN = 0.002  # seconds between two looks at other processes
LATELY = 1.0  # seconds


class Urgent:
    """What is urgent and under way, here or in another web process, and waiting until it is over.

    It belongs to one event loop; `let_pass` is for threads.
    """

    def __init__(self, path: Path) -> None:
        self._under_way = 0
        self._ended = float("-inf")  # when the last was over, by the loop's clock
        self._over = asyncio.Event()
        self._over.set()
        self._sign = _Sign(path)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Something urgent is under way inside."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    def __bool__(self) -> bool:
        """Whether anything urgent is under way in this process."""
        return self._under_way > 0

    @property
    def was_lately(self) -> bool:
        """Whether anything urgent is under way in this process, or was a second ago."""
        return bool(self) or asyncio.get_running_loop().time() - self._ended < LATELY

    async def over(self) -> None:
        """Return once nothing urgent is under way here, or `GIVE_WAY` later: nobody starves."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GIVE_WAY):
                await self._over.wait()

    def let_pass(self) -> None:
        """The same for a thread, which waits for other processes of this host too."""
        until = time.monotonic() + GIVE_WAY
        while self._sign.stands() and time.monotonic() < until:
            time.sleep(LOOK_AGAIN)

    def _begin(self) -> None:
        self._under_way += 1
        self._over.clear()
        self._sign.put_up()

    def _end(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._ended = asyncio.get_running_loop().time()
            self._over.set()
            self._sign.take_down()


class _Sign:
    """A lock on a file, which any number of processes share; the kernel ends it with its holder."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._ours, self._look = self._opened(path), self._opened(path)

    def _opened(self, path: Path) -> int:
        """The file, opened for itself: what is opened twice is locked twice."""
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        weakref.finalize(self, os.close, file)
        return file

    def put_up(self) -> None:
        """Put it up, if it isn't."""
        fcntl.flock(self._ours, fcntl.LOCK_SH)

    def take_down(self) -> None:
        """Take ours down."""
        fcntl.flock(self._ours, fcntl.LOCK_UN)

    def stands(self) -> bool:
        """Whether anybody's stands."""
        try:
            fcntl.flock(self._look, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._look, fcntl.LOCK_UN)
        return False
