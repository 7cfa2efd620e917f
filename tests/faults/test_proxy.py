"""The proxy spoils what it is told, and nothing else."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.faults.proxy import Proxies, Proxy, Trouble, proxies


class Echo:
    """A server that answers each line with `got` and the line; `heard` is what it got."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        self.heard: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as lines:
            try:
                for line in lines:
                    self.heard.append(line)
                    lines.write(b"got " + line)
                    lines.flush()
            except OSError:
                return


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.listening.close()


@pytest.fixture
def around() -> Iterator[Proxies]:
    with proxies() as found:
        yield found


@pytest.fixture
def proxy(around: Proxies, echo: Echo) -> Proxy:
    return around.before(echo.port)


def _client(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def _ask(client: socket.socket, line: bytes) -> bytes:
    """What comes back, until the line's end or the connection's."""
    try:
        client.sendall(line)
        found = b""
        while not found.endswith(b"\n") and (piece := client.recv(100)):
            found += piece
    except ConnectionResetError:
        return b"reset"
    return found


def _spoil(around: Proxies, proxy: Proxy, trouble: Trouble | None) -> None:
    around.spoil(proxy, trouble)
    deadline = time.monotonic() + 5
    while proxy.trouble is not trouble and time.monotonic() < deadline:
        time.sleep(0.005)


def test_without_trouble_all_passes(proxy: Proxy) -> None:
    with _client(proxy) as client:
        assert _ask(client, b"one\n") == b"got one\n"
        assert _ask(client, b"two\n") == b"got two\n"
    assert proxy.hits == 0


def test_it_swallows_the_one_reply_that_is_meant_though_the_server_heard(
    around: Proxies, proxy: Proxy, echo: Echo
) -> None:
    _spoil(around, proxy, Trouble(after=b"COMMIT", swallow=True, once=True))
    with _client(proxy) as client:
        assert _ask(client, b"BEGIN\n") == b"got BEGIN\n"
        assert _ask(client, b"COMMIT\n") in (b"reset", b"")
    assert echo.heard == [b"BEGIN\n", b"COMMIT\n"]
    with _client(proxy) as client:
        assert _ask(client, b"COMMIT\n") == b"got COMMIT\n"
    assert proxy.hits == 1


def test_what_is_unheard_never_reaches_the_server(
    around: Proxies, proxy: Proxy, echo: Echo
) -> None:
    _spoil(around, proxy, Trouble(after=b"quit", unheard=True))
    with _client(proxy) as client:
        assert _ask(client, b"quit\n") in (b"reset", b"")
    assert echo.heard == []


def test_it_cuts_after_so_many_bytes_of_answers(around: Proxies, proxy: Proxy) -> None:
    _spoil(around, proxy, Trouble(cut_after=10))
    with _client(proxy) as client:
        assert _ask(client, b"one\n") == b"got one\n"
        assert _ask(client, b"two\n") in (b"go", b"reset")
    assert proxy.hits == 1


def test_it_refuses_those_who_come_and_those_who_are_there(around: Proxies, proxy: Proxy) -> None:
    with _client(proxy) as client:
        assert _ask(client, b"one\n") == b"got one\n"
        _spoil(around, proxy, Trouble(refuse=True))
        assert _ask(client, b"two\n") in (b"reset", b"")
    with suppress(ConnectionResetError), _client(proxy) as client:  # it may be so already
        assert _ask(client, b"three\n") in (b"reset", b"")
    _spoil(around, proxy, None)
    with _client(proxy) as client:
        assert _ask(client, b"four\n") == b"got four\n"


def test_what_it_holds_passes_in_the_end(around: Proxies, proxy: Proxy, echo: Echo) -> None:
    with _client(proxy) as client:
        _spoil(around, proxy, Trouble(hold=True))
        client.sendall(b"one\n")
        time.sleep(0.2)
        assert echo.heard == []
        _spoil(around, proxy, None)
        assert _ask(client, b"") == b"got one\n"


def test_it_passes_a_byte_at_a_time(around: Proxies, proxy: Proxy) -> None:
    _spoil(around, proxy, Trouble(delay=0.02, piece=1))
    with _client(proxy) as client:
        began = time.monotonic()
        assert _ask(client, b"one\n") == b"got one\n"
        assert time.monotonic() - began > 8 * 0.02
