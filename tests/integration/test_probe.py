"""The probe: what the clock makes of the product's answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import select

from tests.conftest import MakeApp
from waitlist.admission.health import Said
from waitlist.extensions import db
from waitlist.models import Health
from workers import probe

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def _product(answer: Answer) -> Iterator[str]:
    """A product that answers so; its address."""

    class Asked(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Asked)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/health/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answers(status: int, body: str = "", **headers: str) -> Answer:
    def answer(asked: BaseHTTPRequestHandler) -> None:
        asked.send_response(status)
        for name, value in headers.items():
            asked.send_header(name, value)
        asked.end_headers()
        asked.wfile.write(body.encode())

    return answer


@pytest.mark.parametrize(
    "status,body,said",
    [
        (200, "ok", Said(True)),
        (204, "", Said(True)),
        (200, '{"healthy": true, "load": 0.5, "p95_ms": 90, "version": 3}', Said(True, 0.5, 90)),
        (200, '{"load": 0.5}', Said(True, 0.5)),
        (200, '{"healthy": false, "load": 0.5}', Said(False, 0.5)),
        (200, '"fine"', Said(True)),
        (200, '{"healthy": "fine"}', Said(False)),
        (200, '{"load": -3}', Said(False)),
        (200, "[" * 50_000, Said(True)),
        (200, "x" * 100_000, Said(False)),
        (503, '{"healthy": true}', Said(False)),
        (404, "", Said(False)),
    ],
)
def test_2xx_is_healthy_unless_it_says_otherwise(status: int, body: str, said: Said) -> None:
    with _product(_answers(status, body)) as url:
        found, why = probe.ask(url, wait=5)
    assert found == said
    assert bool(why) == (not found.healthy and said.load is None)


def test_a_redirect_isnt_followed() -> None:
    with _product(_answers(200)) as elsewhere, _product(_answers(302, Location=elsewhere)) as url:
        assert probe.ask(url, wait=5) == (Said(False), "answered 302")


def test_who_doesnt_answer_or_answers_too_slowly_is_unhealthy() -> None:
    def drip(asked: BaseHTTPRequestHandler) -> None:
        asked.send_response(200)
        asked.end_headers()
        for _ in range(40):
            asked.wfile.write(b"x")
            asked.wfile.flush()
            time.sleep(0.05)

    def nonsense(asked: BaseHTTPRequestHandler) -> None:
        asked.wfile.write(b"not http at all\r\n\r\n")

    begun = time.monotonic()
    with _product(lambda _asked: time.sleep(1)) as url:
        assert probe.ask(url, wait=0.2) == (Said(False), "TimeoutError")
    with _product(drip) as url:
        assert not probe.ask(url, wait=0.2)[0].healthy
    assert time.monotonic() - begun < 3
    assert probe.ask("http://127.0.0.1:1/", wait=1) == (Said(False), "ConnectionRefusedError")
    with _product(nonsense) as url:
        assert not probe.ask(url, wait=1)[0].healthy


def test_the_clock_asks_in_a_thread_of_its_own_until_it_is_told_to_stop(make_app: MakeApp) -> None:
    stop = threading.Event()
    with _product(_answers(200, '{"load": 0.25}')) as url:
        app = make_app(health_url=url, health_every=timedelta(milliseconds=50))
        thread = probe.start(app, stop)
        assert thread is not None
        with app.app_context():
            for _ in range(100):
                db.session.rollback()
                row = db.session.execute(select(Health.load, Health.source)).one()
                if row.source:
                    break
                time.sleep(0.05)
        stop.set()
        thread.join(10)
    assert tuple(row) == (0.25, "probe")
    assert not thread.is_alive()


def test_where_no_address_is_set_nobody_is_asked(make_app: MakeApp) -> None:
    assert probe.start(make_app(), threading.Event()) is None
