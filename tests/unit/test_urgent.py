"""Who goes first, and who waits for it, but never for long."""

from __future__ import annotations

import asyncio
import fcntl
import threading
import time
from pathlib import Path

import pytest

from tests.visitors import in_a_loop
from waitlist.web import urgent
from waitlist.web.urgent import GIVE_WAY, Urgent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "urgent.lock"


def test_nobody_waits_where_nothing_is_urgent(path: Path) -> None:
    async def scene() -> float:
        began = time.monotonic()
        await Urgent(path).over()
        Urgent(path).let_pass()
        return time.monotonic() - began

    assert in_a_loop(scene()) < GIVE_WAY


def test_who_waits_goes_on_as_soon_as_all_that_is_urgent_is_over(path: Path) -> None:
    async def scene() -> list[str]:
        first, seen = Urgent(path), list[str]()

        async def wait() -> None:
            await first.over()
            seen.append("went on")

        with first.under_way():
            with first.under_way():
                waiting = asyncio.create_task(wait())
                await asyncio.sleep(0)
            seen.append("one is over")
            await asyncio.sleep(0)
        seen.append("all are over")
        await waiting
        return seen

    assert in_a_loop(scene()) == ["one is over", "all are over", "went on"]


def test_nobody_starves_while_something_urgent_is_always_under_way(path: Path) -> None:
    async def scene() -> None:
        first = Urgent(path)
        with first.under_way():
            await first.over()
            await asyncio.to_thread(first.let_pass)

    in_a_loop(asyncio.wait_for(scene(), 5))


def test_a_thread_waits_too_until_it_is_over(path: Path) -> None:
    async def scene() -> bool:
        first = Urgent(path)
        with first.under_way():
            passing = asyncio.create_task(asyncio.to_thread(first.let_pass))
            await asyncio.sleep(GIVE_WAY / 4)
            return not passing.done()

    assert in_a_loop(scene())


def test_what_was_urgent_a_moment_ago_was_lately(path: Path) -> None:
    async def scene() -> list[bool]:
        first = Urgent(path)
        seen = [first.was_lately]
        with first.under_way():
            seen.append(first.was_lately)
        seen.append(first.was_lately)
        first._ended -= urgent.LATELY
        return [*seen, first.was_lately]

    assert in_a_loop(scene()) == [False, True, True, False]


def test_a_thread_waits_for_what_is_urgent_in_another_process(path: Path) -> None:
    async def scene() -> list[bool]:
        elsewhere, here = Urgent(path), Urgent(path)  # each opens the file for itself
        with elsewhere.under_way():
            passing = asyncio.create_task(asyncio.to_thread(here.let_pass))
            await asyncio.sleep(GIVE_WAY / 4)
            seen = [passing.done()]
        await asyncio.sleep(GIVE_WAY / 4)
        return [*seen, passing.done()]

    assert in_a_loop(scene()) == [False, True]


def test_a_request_waits_for_what_is_urgent_in_another_process(path: Path) -> None:
    async def scene() -> list[bool]:
        elsewhere, here = Urgent(path), Urgent(path)
        with elsewhere.under_way():
            waiting = asyncio.create_task(here.over())
            await asyncio.sleep(GIVE_WAY / 4)
            seen = [waiting.done()]
        await asyncio.sleep(GIVE_WAY / 4)
        return [*seen, waiting.done()]

    assert in_a_loop(scene()) == [False, True]


def test_putting_up_the_sign_waits_for_nobody(path: Path) -> None:
    """A process that is stopped while it looks mustn't stop the others."""

    async def scene() -> float:
        here = Urgent(path)
        with path.open() as looking:
            fcntl.flock(looking, fcntl.LOCK_EX)
            threading.Timer(1, fcntl.flock, (looking.fileno(), fcntl.LOCK_UN)).start()
            began = time.monotonic()
            with here.under_way():
                took = time.monotonic() - began
            await asyncio.sleep(1)
        return took

    assert in_a_loop(scene()) < 0.5


def test_where_no_file_can_be_written_each_process_knows_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def scene() -> bool:
        first = Urgent(tmp_path / "file" / "urgent.lock")
        with first.under_way():
            passing = asyncio.create_task(asyncio.to_thread(first.let_pass))
            await asyncio.sleep(GIVE_WAY / 4)
            return not passing.done()

    assert in_a_loop(scene())
