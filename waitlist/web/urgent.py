"""Requests that go first: who confirms or finishes doesn't wait for those who only join."""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

log = structlog.get_logger()
GIVE_WAY = 0.04  # seconds at most that others wait, about what a last step takes alone
LOOK_AGAIN = 0.002  # seconds between two looks at other processes
LATELY = 1.0  # seconds


class Urgent:
    """What is urgent and under way, in any web process of this host, and waiting until it is over.

    It belongs to one event loop; `let_pass` is for threads.
    """

    def __init__(self, path: Path) -> None:
        self._under_way = 0
        self._ended = float("-inf")  # when the last of ours was over, by the loop's clock
        self._sign = _Sign(path)
        self._looked = float("-inf")
        self._held_until: float | None = None
        self._go_on = asyncio.Event()  # one for the thousands who wait, and one timer:
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Something urgent is under way inside."""
        self._under_way += 1
        self._sign.put_up()
        self._hold()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._ended = _now()
                self._sign.take_down()
                self._look()

    @property
    def was_lately(self) -> bool:
        """Whether anything urgent is under way in this process, or was a second ago."""
        return self._under_way > 0 or _now() - self._ended < LATELY

    @property
    def holds(self) -> bool:
        """Whether others are to wait now, until it is `over`."""
        if self._held_until is None and _now() - self._looked >= LOOK_AGAIN:
            self._looked = _now()
            if self._sign.stands():
                self._hold()
        return self._held_until is not None

    async def over(self) -> None:
        """Return once nothing urgent is under way, or `GIVE_WAY` later: nobody starves."""
        if self.holds:
            await self._go_on.wait()

    def let_pass(self) -> None:
        """The same for a thread."""
        until = time.monotonic() + GIVE_WAY
        while self._sign.stands() and time.monotonic() < until:
            time.sleep(LOOK_AGAIN)

    def _hold(self) -> None:
        if self._held_until is None:
            self._held_until = _now() + GIVE_WAY
            self._go_on.clear()
            self._look_later()

    def _look(self) -> None:
        """Let go who waits, if they waited for long enough or nothing is urgent any more."""
        if self._held_until is None:
            return
        if _now() >= self._held_until or not self._sign.stands():
            self._held_until = None
            self._go_on.set()
        else:
            self._look_later()

    def _look_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(LOOK_AGAIN, self._look)


def _now() -> float:
    return asyncio.get_running_loop().time()


class _Sign:
    """A lock on a file, which any number of processes share; the kernel ends it with its holder."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._ours, self._look = self._opened(path), self._opened(path)
        except OSError as error:
            log.warning("who finishes goes first in its own process only", why=str(error))
            with tempfile.NamedTemporaryFile() as file:
                own = Path(file.name)
                self._ours, self._look = self._opened(own), self._opened(own)

    def _opened(self, path: Path) -> int:
        """The file, opened for itself: what is opened twice is locked twice."""
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        weakref.finalize(self, os.close, file)
        return file

    def put_up(self) -> None:
        """Put it up; or not, in the moment in which another looks: nobody waits for a courtesy."""
        with suppress(BlockingIOError):
            fcntl.flock(self._ours, fcntl.LOCK_SH | fcntl.LOCK_NB)

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
