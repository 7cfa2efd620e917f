"""A flood of joins: `python -m tests.faults.flood PORT CONNECTIONS`, until it is killed.

Two thousand people join again and again, so that the flood leaves no more mail than that.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from itertools import count
from typing import NoReturn

PEOPLE = 2_000
SAID_EVERY = 0.5  # seconds
AGAIN_AFTER = 0.05  # seconds


async def main(port: int, connections: int) -> NoReturn:
    """Join by so many connections, and say each half second how many were answered."""
    answered, numbers = [0], count()
    calls = [asyncio.create_task(_join(port, numbers, answered)) for _ in range(connections)]
    while all(not call.done() for call in calls):
        await asyncio.sleep(SAID_EVERY)
        print(f"answered {answered[0]}", flush=True)
    raise RuntimeError("a connection gave up")


async def _join(port: int, numbers: count[int], answered: list[int]) -> NoReturn:
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while True:
                writer.write(_request(next(numbers) % PEOPLE))
                await _answer(reader)
                answered[0] += 1
        await asyncio.sleep(AGAIN_AFTER)


def _request(number: int) -> bytes:
    body = f"address=flood-{number}%40example.org".encode()
    head = (
        "POST /join HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _answer(reader: asyncio.StreamReader) -> None:
    """Read one answer to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length or 0))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
