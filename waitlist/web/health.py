"""Whether this process lives, and whether every part that it needs answers."""

from __future__ import annotations

import smtplib
from collections.abc import Callable

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from waitlist import extensions, switches
from waitlist.extensions import db, reading, settings
from waitlist.policy.routes import FIRST

bp = Blueprint("health", __name__)
SMTP_WAIT = 2.0  # seconds


@bp.get("/healthz")
def alive() -> ResponseReturnValue:
    """This process answers."""
    return jsonify(status="ok")


@bp.get("/readyz")
def ready() -> ResponseReturnValue:
    """Every part answers; else 503, saying which doesn't and what to look at."""
    parts = {name: check() for name, check in PARTS.items()}
    missing = {name: why for name, why in parts.items() if why}
    status = "ready" if not missing else "not ready"
    told = {name: why or "ok" for name, why in parts.items()}
    return jsonify(status=status, parts=told), 503 if missing else 200


def _sql() -> str:
    try:
        with reading():
            db.session.execute(text("SELECT id FROM gate"))
    except SQLAlchemyError as error:
        return f"{type(error).__name__}: check DATABASE_URL, and run `flask db upgrade`"
    return ""


def _redis() -> str:
    try:
        extensions.redis().ping()
    except RedisError as error:
        return f"{type(error).__name__}: check REDIS_URL; joins and completions go on without it"
    return ""


def _mail() -> str:
    """The server by which mail goes; it doesn't matter how the other one is."""
    route = _route()
    server, of = extensions.mail_server(route), "MAIL" if route == FIRST else "MAIL2"
    try:
        with smtplib.SMTP(server.server, server.port, timeout=SMTP_WAIT):
            return ""
    except (OSError, smtplib.SMTPException) as error:
        name = type(error).__name__
        return f"{name}: check {of}_SERVER and {of}_PORT; mail waits in the outbox"


def _route() -> str:
    try:
        return switches.current().route_in_force
    except SQLAlchemyError:
        return FIRST


def _forwarding() -> str:
    if "X-Forwarded-For" in request.headers and settings().proxy_hops == 0:
        return "a forwarding header came: set PROXY_HOPS to the number of your proxies"
    return ""


PARTS: dict[str, Callable[[], str]] = {
    "sql": _sql,
    "redis": _redis,
    "mail": _mail,
    "proxy": _forwarding,
}
