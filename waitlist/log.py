"""Structured logs: one JSON object a line, with the route, never the URL; no token, no address."""

from __future__ import annotations

import logging
import sys
import time

import structlog
from flask import Flask, Response, g, request

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


def _log_request(response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule else "(none)"
    milliseconds = (time.perf_counter() - g.get("started_at", time.perf_counter())) * 1000
    structlog.get_logger().info(
        "request",
        method=request.method,
        route=route,
        status=response.status_code,
        ms=round(milliseconds, 1),
    )
    return response
