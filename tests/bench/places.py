"""The rows of looking: a place, the line's figures, the bytes of the join page."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from tests.bench import wrk
from tests.bench.bars import Row, alone, compared, interleaved
from tests.bench.stand import Stand
from tests.bench.wrk import Load

CONNECTIONS = 256
PARTS = re.compile(r'<(?:link|script|img)[^>]+?(?:href|src)="([^"]+)"')
REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
    "Accept-Encoding: {encoding}\r\nAccept-Language: en-US,en;q=0.9\r\nAccept: */*\r\n\r\n"
)
AS_CHROMIUM = "gzip, deflate, br, zstd"


def place(stand: Stand) -> Row:
    """Status answers a second, each of another place."""
    return _looks("place", stand, stand.big.places())


def line(stand: Stand) -> Row:
    """Answers a second of the public figures."""
    return _looks("line", stand, ["/line"])


def page(stand: Stand) -> Row:
    """Bytes of the join page and all that it loads."""
    url = stand.big.url
    text = _fetch(url, "/", "identity").decode(errors="replace")
    paths = ["/", *sorted({urlsplit(path).path for path in PARTS.findall(text)})]
    sizes = {path: len(_fetch(url, path, AS_CHROMIUM)) for path in paths}
    return alone("page", sum(sizes.values()), size=None, parts=sizes)


def _looks(name: str, stand: Stand, paths: Sequence[str]) -> Row:
    loads: list[Load] = []

    def ask() -> Load:
        seconds = stand.scale.ceiling_seconds
        return wrk.get(stand.big.url, paths, stand.folder, connections=CONNECTIONS, seconds=seconds)

    def run() -> float:
        loads.append(ask())
        return loads[-1].rate(200)

    pairs = interleaved(stand.scale.runs, run, stand.hello)
    wrong = sum(sum(load.others.values()) + load.errors for load in loads)
    more: dict[str, Any] = {
        "connections": CONNECTIONS,
        "p99": max(load.p99 for load in loads),
        "not_200": wrong,
    }
    return compared(name, pairs, size=stand.big.people, **more)


def _fetch(url: str, path: str, encoding: str) -> bytes:
    """One answer as it comes over the wire, head and all."""
    host = urlsplit(url).netloc
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port)), timeout=10) as wire:
        wire.sendall(REQUEST.format(path=path, host=host, encoding=encoding).encode())
        return b"".join(iter(lambda: wire.recv(1 << 16), b""))
