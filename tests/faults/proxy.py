"""A TCP proxy before a server, which spoils what passes as it is told.

One loop in a thread of its own serves all proxies of a stand; a trouble may be set and taken
away at any time, and counts for connections that are open already.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PIECE = 64 * 1024  # bytes
RESET = struct.pack("ii", 1, 0)  # closing at once, with RST (SO_LINGER of socket(7))
DONE_WITHIN = 10.0  # seconds

Server = Path | int  # a Unix socket, or a port of 127.0.0.1


@dataclass(frozen=True)
class Trouble:
    """What goes wrong. Each counts from when the client has said `after`; at once if it's empty.

    `refuse`: connections are reset, and new ones too. `hold`: nothing passes, nobody is told.
    `cut_after` so many bytes of answers a connection is reset. `swallow`: the server does what it
    is told, but its next answer is lost with the connection. `unheard`: it never hears what the
    client says there, and the connection is lost. `piece` bytes of an answer at a time, each
    after `delay` seconds. `once`: for one connection only.
    """

    after: bytes = b""
    refuse: bool = False
    hold: bool = False
    cut_after: int | None = None
    swallow: bool = False
    unheard: bool = False
    delay: float = 0.0
    piece: int = PIECE
    once: bool = False


@dataclass(eq=False)
class Link:
    """One connection: to the client, to the server, and what has passed."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    said: bool = False  # the client said what a trouble waits for
    passed: int = 0  # bytes of answers

    def reset(self) -> None:
        """End it at once; both sides see a reset."""
        for side in (self.client, self.server):
            raw = side.get_extra_info("socket")
            if raw is not None and raw.family == socket.AF_INET:
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            side.transport.abort()


@dataclass(eq=False)
class Proxy:
    """A port of 127.0.0.1 before one server. `hits` counts what the trouble spoiled."""

    server: Server
    port: int = 0
    hits: int = 0
    trouble: Trouble | None = None
    links: set[Link] = field(default_factory=set)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        try:
            from_server, to_server = await self._connected()
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, to_server)
        self.links.add(link)
        try:
            if self._has("refuse", link):
                self._hit(link)
                return
            await self._both_ways(link, reader, from_server)
        except asyncio.CancelledError:
            pass  # the proxy ends
        finally:
            self.links.discard(link)
            writer.transport.abort()
            to_server.transport.abort()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.server, Path):
            return await asyncio.open_unix_connection(self.server)
        return await asyncio.open_connection("127.0.0.1", self.server)

    async def _both_ways(
        self, link: Link, reader: asyncio.StreamReader, from_server: asyncio.StreamReader
    ) -> None:
        ways = [
            asyncio.create_task(self._to_server(link, reader)),
            asyncio.create_task(self._to_client(link, from_server)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _to_server(self, link: Link, reader: asyncio.StreamReader) -> None:
        while words := await reader.read(PIECE):
            trouble = self.trouble
            if trouble and trouble.after and trouble.after in words:
                link.said = True
            if self._has("unheard", link):
                self._hit(link)
                return
            await self._while_held(link)
            link.server.write(words)
            await link.server.drain()

    async def _to_client(self, link: Link, reader: asyncio.StreamReader) -> None:
        while words := await reader.read(PIECE):
            await self._while_held(link)
            if self._has("swallow", link):
                self._hit(link)
                return
            if self._is_slow(link):
                await self._trickle(link, words)
            elif not self._is_cut(link, words):
                link.client.write(words)
            else:
                return
            await link.client.drain()
            link.passed += len(words)

    def _is_slow(self, link: Link) -> bool:
        return self._has("delay", link)

    async def _trickle(self, link: Link, words: bytes) -> None:
        self.hits += 1
        at = 0
        while at < len(words):
            trouble = self.trouble
            piece = trouble.piece if trouble and trouble.delay else len(words)
            if trouble and trouble.delay:
                await asyncio.sleep(trouble.delay)
            link.client.write(words[at : at + piece])
            at += piece

    def _is_cut(self, link: Link, words: bytes) -> bool:
        trouble = self.trouble
        if trouble is None or trouble.cut_after is None or not self._counts(trouble, link):
            return False
        left = trouble.cut_after - link.passed
        if left >= len(words):
            return False
        link.client.write(words[: max(0, left)])
        self._hit(link)
        return True

    async def _while_held(self, link: Link) -> None:
        if self._has("hold", link):
            self.hits += 1
        while self._has("hold", link):
            await asyncio.sleep(0.02)

    def _has(self, what: str, link: Link) -> bool:
        trouble = self.trouble
        return bool(trouble and getattr(trouble, what) and self._counts(trouble, link))

    @staticmethod
    def _counts(trouble: Trouble, link: Link) -> bool:
        return link.said or not trouble.after

    def _hit(self, link: Link) -> None:
        """The trouble has struck: this connection is over."""
        self.hits += 1
        if self.trouble and self.trouble.once:
            self.trouble = None
        link.reset()


class Proxies:
    """The proxies of a stand, on a loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._listening: list[asyncio.Server] = []

    def before(self, server: Server) -> Proxy:
        """A new proxy before this server."""
        proxy = Proxy(server)
        serving = asyncio.start_server(proxy.accept, "127.0.0.1", 0)
        listening = asyncio.run_coroutine_threadsafe(serving, self._loop).result(DONE_WITHIN)
        self._listening.append(listening)
        proxy.port = listening.sockets[0].getsockname()[1]
        return proxy

    def spoil(self, proxy: Proxy, trouble: Trouble | None) -> None:
        """Set its trouble, or take it away; `hits` counts anew with a new one."""
        self._loop.call_soon_threadsafe(self._spoil, proxy, trouble)

    @staticmethod
    def _spoil(proxy: Proxy, trouble: Trouble | None) -> None:
        proxy.trouble = trouble
        if trouble is None:
            return
        proxy.hits = 0
        for link in tuple(proxy.links):
            link.said, link.passed = False, 0
            if trouble.refuse and not trouble.after:
                proxy.hits += 1
                link.reset()

    def close(self) -> None:
        """End all of them."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(DONE_WITHIN)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DONE_WITHIN)
        self._loop.close()

    async def _end(self) -> None:
        for listening in self._listening:
            listening.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def proxies() -> Iterator[Proxies]:
    """A loop for proxies, until the end of the block."""
    found = Proxies()
    try:
        yield found
    finally:
        found.close()
