"""Calls that arrive together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.visitors import in_a_loop
from waitlist.together import Together


class Work:
    """Doubles numbers, in groups that it remembers; while `held`, it doesn't come to an end."""

    def __init__(self, error: Exception | None = None) -> None:
        self.groups: list[list[int]] = []
        self.free = threading.Event()
        self.begun = threading.Event()
        self.free.set()
        self.error = error

    def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.groups.append(list(numbers))
        self.begun.set()
        assert self.free.wait(10)
        if self.error:
            raise self.error
        return [ValueError("odd") if number % 2 else number * 2 for number in numbers]


def _play(
    work: Work, scene: Callable[[Together[int, int]], Awaitable[None]], most: int = 10
) -> None:
    async def play() -> None:
        with ThreadPoolExecutor(1) as threads:
            await scene(Together(work, threads, most=most))

    in_a_loop(play())


def test_who_comes_alone_doesnt_wait_for_company() -> None:
    work = Work()

    async def scene(together: Together[int, int]) -> None:
        assert await together.do(2) == 4
        assert await together.do(4) == 8

    _play(work, scene)
    assert work.groups == [[2], [4]]


def test_who_comes_meanwhile_is_in_the_next_group_in_order() -> None:
    work = Work()
    work.free.clear()

    async def scene(together: Together[int, int]) -> None:
        calls = [asyncio.create_task(together.do(2))]
        await asyncio.to_thread(work.begun.wait, 10)
        calls += [asyncio.create_task(together.do(number)) for number in (4, 6, 8, 10)]
        await asyncio.sleep(0)
        assert len(together) == 4
        work.free.set()
        assert await asyncio.gather(*calls) == [4, 8, 12, 16, 20]

    _play(work, scene, most=3)
    assert work.groups == [[2], [4, 6, 8], [10]]


def test_a_refusal_is_raised_to_the_one_whom_it_concerns() -> None:
    async def scene(together: Together[int, int]) -> None:
        answers = await asyncio.gather(
            *(together.do(number) for number in (2, 3, 4)), return_exceptions=True
        )
        assert [str(answer) for answer in answers] == ["4", "odd", "8"]

    _play(Work(), scene)


def test_when_the_work_fails_everybody_of_the_group_hears_it_and_the_next_goes_on() -> None:
    work = Work(error=OSError("away"))

    async def scene(together: Together[int, int]) -> None:
        answers = await asyncio.gather(
            *(together.do(number) for number in (2, 4, 6)), return_exceptions=True
        )
        assert [str(answer) for answer in answers] == ["away"] * 3
        work.error = None
        assert await together.do(2) == 4

    _play(work, scene)


def test_who_hangs_up_disturbs_nobody() -> None:
    work = Work()
    work.free.clear()

    async def scene(together: Together[int, int]) -> None:
        calls = [asyncio.create_task(together.do(2))]
        await asyncio.to_thread(work.begun.wait, 10)
        calls += [asyncio.create_task(together.do(number)) for number in (4, 6)]
        await asyncio.sleep(0)
        calls[0].cancel()
        calls[1].cancel()
        work.free.set()
        with pytest.raises(asyncio.CancelledError):
            await calls[1]
        assert await calls[2] == 12
        assert await together.do(8) == 16

    _play(work, scene)
