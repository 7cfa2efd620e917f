"""Calls that arrive together, done together: one commit, or one read, for many of them.

Group commit (Gawlick and Kinkade, "Varieties of concurrency control in IMS/VS Fast Path",
1985): who comes while nothing is under way starts at once and alone; who comes meanwhile
waits for that to end and is in the next group. Nobody ever waits for company.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Together(Generic[Item, Answer]):
    """Has `work` done in a thread, for at most `most` callers at once, in their order.

    It belongs to one event loop, whose thread alone touches it: so it needs no lock, and a
    forked child, which has a loop of its own, nothing of its parent's.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Answer | Exception]],
        threads: Executor,
        *,
        most: int,
    ) -> None:
        self._work, self._threads, self.most = work, threads, most
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._working: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many wait for a group to begin."""
        return len(self._waiting)

    async def do(self, item: Item) -> Answer:
        """What `work` answers for this item, or raises what it answers or raises itself."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._working is None:
            self._working = asyncio.create_task(self._work_off())
        return await answer

    async def _work_off(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[: self.most], self._waiting[self.most :]
            items = [item for item, _ in group]
            loop = asyncio.get_running_loop()
            outcome = loop.run_in_executor(self._threads, self._work, items)
            await asyncio.wait([outcome])
            error = outcome.exception()
            answers = [error] * len(group) if error else outcome.result()
            for (_, waiting), answer in zip(group, answers, strict=True):
                _tell(waiting, answer)
        self._working = None


def _tell(waiting: asyncio.Future[Answer], answer: Answer | BaseException) -> None:
    if waiting.done():  # whoever asked has hung up
        return
    if isinstance(answer, BaseException):
        waiting.set_exception(answer)
    else:
        waiting.set_result(answer)
