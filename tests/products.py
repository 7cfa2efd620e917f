"""A product that listens to webhooks: a real HTTP server, in threads."""

from __future__ import annotations

import ssl
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Told:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def webhook_id(self) -> str:
        """By which the product knows it again."""
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """What it says, once the library has verified that it is signed with this secret."""
        return Webhook(secret).verify(self.body, dict(self.headers))


@dataclass
class Answered:
    """How it answers: a status, and more if need be."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    wait: threading.Event | None = None  # no answer before it is set


@dataclass
class Product:
    """What it was told, and what it answers: each of `answers` once, then `answer` for ever."""

    url: str = ""
    told: list[Told] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)
    answer: Answered = field(default_factory=Answered)

    def ids(self) -> list[str]:
        """The webhook-ids that came, in their order."""
        return [one.webhook_id for one in self.told]


@contextmanager
def listening(
    host: str = "127.0.0.1", port: int = 0, *, certificate: Path | None = None
) -> Iterator[Product]:
    """A product that listens until the end of the block; by https where it has a certificate."""
    product = Product()

    class Listener(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            product.told.append(Told(self.path, headers, body))
            _answer(self, product.answers.pop(0) if product.answers else product.answer)

        def log_message(self, *_words: Any) -> None:
            pass

    server = _Quiet((host, port), Listener)
    server.daemon_threads = True
    if certificate is not None:
        speaking = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        speaking.load_cert_chain(certificate)
        server.socket = speaking.wrap_socket(server.socket, True)
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    product.url = f"http{'s' if certificate else ''}://{host}:{server.server_port}/hooks"
    try:
        yield product
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(ThreadingHTTPServer):
    """A server to which a connection that is reset is nothing to talk about."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _answer(asked: BaseHTTPRequestHandler, answered: Answered) -> None:
    if answered.wait is not None:
        answered.wait.wait(30)
    asked.send_response(answered.status)
    for name, value in {"Content-Length": str(len(answered.body)), **answered.headers}.items():
        asked.send_header(name, value)
    with suppress(OSError):  # it was hung up
        asked.end_headers()
        asked.wfile.write(answered.body)
