"""Structured logs: one JSON object a line, with the route, never the URL; no token, no address."""

from __future__ import annotations

import asyncio
import logging
import sys
import time

import flask
import structlog
from flask import Flask, Response, g

TALLIED = 1.0  # seconds
QUIET = ("rq.worker", "werkzeug")


def init_app(app: Flask) -> None:
    """Log every request of the app by its route."""
    configure()
    app.before_request(_start)
    app.after_request(_log_request)


def configure() -> None:
    """One JSON object a line on standard error."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _start() -> None:
    g.started_at = time.perf_counter()


class Tally:
    """Requests too many to log each: a line a second for each route and status.

    It belongs to one event loop.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, int], tuple[int, float]] = {}

    def note(self, method: str, route: str, status: int, begun: float) -> None:
        """Count a request that began at `begun` (of `time.perf_counter`)."""
        if not self._seen:
            asyncio.get_running_loop().call_later(TALLIED, self._tell)
        key = (method, route, status)
        count, slowest = self._seen.get(key, (0, 0.0))
        self._seen[key] = (count + 1, max(slowest, time.perf_counter() - begun))

    def _tell(self) -> None:
        seen, self._seen = self._seen, {}
        for (method, route, status), (count, slowest) in seen.items():
            structlog.get_logger().info(
                "requests",
                method=method,
                route=route,
                status=status,
                count=count,
                slowest_ms=round(slowest * 1000, 1),
            )


def request(method: str, route: str, status: int, begun: float) -> None:
    """Log a request that began at `begun` (of `time.perf_counter`) by its route."""
    milliseconds = round((time.perf_counter() - begun) * 1000, 1)
    structlog.get_logger().info(
        "request", method=method, route=route, status=status, ms=milliseconds
    )


def _log_request(response: Response) -> Response:
    route = flask.request.url_rule.rule if flask.request.url_rule else "(none)"
    begun = g.get("started_at", time.perf_counter())
    request(flask.request.method, route, response.status_code, begun)
    return response
