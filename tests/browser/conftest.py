"""The app on a real port, and the Chromium that visits it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.conftest import MakeApp
from waitlist import projection

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class _Quiet(WSGIRequestHandler):
    """Keeps the test's output to what the app says."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """The system's Chromium; without it the tests fail in CI and are skipped elsewhere."""
    if not CHROMIUM.exists():
        reason = f"there is no {CHROMIUM}: install chromium to try the pages in a browser"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return {"executable_path": str(CHROMIUM), "args": ARGUMENTS}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens on a free port of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def site(listener: socket.socket) -> str:
    """The public address of the app."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def app(make_app: MakeApp, listener: socket.socket, site: str) -> Iterator[Flask]:
    """The app, which answers at `site` from a thread of its own."""
    app = make_app(public_url=site, product_url=f"{site}/")
    port = listener.getsockname()[1]
    server = make_server(
        "127.0.0.1", port, app, threaded=True, request_handler=_Quiet, fd=listener.fileno()
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with app.app_context():
            projection.require_valid()
            yield app
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
