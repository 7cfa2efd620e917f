"""The probe: where `HEALTH_URL` is set, the clock asks the product how it is."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from http.client import HTTPException, HTTPMessage
from typing import IO, Any

import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from waitlist.admission import health
from waitlist.admission.health import Said
from waitlist.config import Settings
from waitlist.errors import FieldsInvalid
from waitlist.extensions import db

log = structlog.get_logger()
MOST_WAIT = 5.0  # seconds; and no longer than until the next time
MOST_READ = 64 * 1024  # bytes


def start(app: Flask, stop: threading.Event) -> threading.Thread | None:
    """Begin to ask, in a thread of its own; None where no address is set."""
    of: Settings = app.config["SETTINGS"]
    if of.health_url is None:
        return None
    url, every = of.health_url, of.health_every.total_seconds()

    def ask_again_and_again() -> None:
        while not stop.wait(every):
            what, why = ask(url, wait=min(every, MOST_WAIT))
            with app.app_context():
                _report(what, why)

    thread = threading.Thread(target=ask_again_and_again, name="probe", daemon=True)
    thread.start()
    return thread


def ask(url: str, *, wait: float) -> tuple[Said, str]:
    """What the product says at this address, and where it failed why, in a few words.

    2xx is healthy, anything else isn't; a JSON object in the answer may say more.
    """
    until = time.monotonic() + wait
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310  checked by config
    try:
        with _opener().open(request, timeout=wait) as response:
            return _read(response, until)
    except urllib.error.HTTPError as error:
        return Said(False), f"answered {error.code}"
    except (OSError, HTTPException) as error:
        return Said(False), type(getattr(error, "reason", error)).__name__


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Where it leads is another page, which nobody set."""

    def redirect_request(
        self, req: Any, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))


def _read(response: Any, until: float) -> tuple[Said, str]:
    body = b""
    while chunk := response.read1(MOST_READ):
        body += chunk
        if len(body) > MOST_READ or time.monotonic() > until:
            return Said(False), "its answer is too long, or too slow"
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return Said(True), ""
    if not isinstance(fields, dict):
        return Said(True), ""
    try:
        return health.said({"healthy": True, **fields}), ""
    except FieldsInvalid as error:
        return Said(False), f"said what can't be ({error})"


def _report(what: Said, why: str) -> None:
    try:
        health.report(what, source=f"probe: {why}" if why else "probe", now=datetime.now(UTC))
    except SQLAlchemyError as error:
        db.session.rollback()
        log.error("sql away", error=type(error).__name__)
