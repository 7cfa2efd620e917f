"""The mail probe: while the second route is in force by itself, whether the first is well again."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from waitlist import postage, routing, switches
from waitlist.config import Settings
from waitlist.extensions import db
from waitlist.policy.routes import AUTO, FIRST, SECOND

log = structlog.get_logger()


def start(app: Flask, stop: threading.Event) -> threading.Thread | None:
    """Begin to look every quarter of a minute, in a thread of its own; None without a second."""
    of: Settings = app.config["SETTINGS"]
    if of.mail2 is None:
        return None

    def look_again_and_again() -> None:
        while not stop.wait(routing.PROBE_EVERY.total_seconds()):
            with app.app_context():
                look(now=datetime.now(UTC))

    thread = threading.Thread(target=look_again_and_again, name="mail probe", daemon=True)
    thread.start()
    return thread


def look(*, now: datetime) -> None:
    """Ask the first server, if the second stands in for it; SQL away: logged."""
    try:
        switches.forget()
        live = switches.current()
        if (live.mail_route, live.mail_route_by_itself) != (AUTO, SECOND):
            return
        why_not = routing.why_not(FIRST)
        log.info("the first mail server was asked", answer=why_not or "well")
        if not why_not:
            postage.found_well(now=now)
    except SQLAlchemyError as error:
        db.session.rollback()
        log.error("sql away", error=type(error).__name__)
