"""Connecting to an endpoint: only to addresses that may be reached, and never for too long.

A name is looked up once a connection, and the connection goes to the very address that was
checked: who answers for the name can't give another one in between. Names and certificates are
checked as ever, since only the address is ours.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore
from httpcore import SOCKET_OPTION, NetworkBackend, NetworkStream, SyncBackend

from waitlist.errors import AddressRefused
from waitlist.policy import reach
from waitlist.policy.reach import Allowed

CONNECT_WITHIN = 5.0  # seconds
ANSWER_WITHIN = 15.0  # seconds, for all of an attempt

Resolve = Callable[..., Any]


class Deadline(threading.local):
    """When the request that this thread makes must be over, by the monotonic clock."""

    at = float("inf")

    def begin(self) -> None:
        """A request begins."""
        self.at = time.monotonic() + ANSWER_WITHIN

    def left(self, most: float | None, error: type[Exception]) -> float:
        """How long one wait may last; `error` if there is no time left."""
        left = min(self.at - time.monotonic(), ANSWER_WITHIN if most is None else most)
        if left <= 0:
            raise error("the time is over")
        return left


class Careful(NetworkBackend):
    """Connects as the policy allows it; `plain` says that it is for plain HTTP."""

    def __init__(self, allowed: Allowed, *, plain: bool, resolve: Resolve) -> None:
        self.deadline = Deadline()
        self._allowed, self._plain, self._resolve = allowed, plain, resolve
        self._backend = SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        """A connection to the first address that answers; `AddressRefused` if one is wrong."""
        addresses = self._look_up(host, port)
        why = reach.refused(host, addresses, self._allowed, plain=self._plain)
        if why is not None:
            raise AddressRefused(why)
        until = time.monotonic() + CONNECT_WITHIN
        for last, address in enumerate(addresses, 1 - len(addresses)):
            left = min(self.deadline.left(timeout, httpcore.ConnectTimeout), CONNECT_WITHIN)
            try:
                share = max(until - time.monotonic(), 0.1) / (1 - last)  # or one takes all
                stream = self._backend.connect_tcp(address, port, min(left, share))
                return _Timed(stream, self.deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if last == 0:
                    raise
        raise httpcore.ConnectError("it has no address")

    def _look_up(self, host: str, port: int) -> list[str]:
        try:
            found = self._resolve(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError("its name can't be found") from error
        return list(dict.fromkeys(address[0].partition("%")[0] for *_, address in found))


class _Timed(NetworkStream):
    """A stream of which no wait is longer than its request has left."""

    def __init__(self, stream: NetworkStream, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = self._deadline.left(timeout, httpcore.ReadTimeout)
        return self._stream.read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> NetworkStream:
        left = self._deadline.left(timeout, httpcore.ConnectTimeout)
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
