"""What RQ calls by name: nothing in, nothing out. A job reads SQL and does nothing twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

import structlog
from flask import Flask

from waitlist import create_app, delivery
from waitlist.admission import health, laststep, plans, waves
from waitlist.errors import LineUnavailable
from waitlist.handover import delivering
from waitlist.onboarding import invitations, mending, reminding
from waitlist.signup import joining
from waitlist.wake import answered, wake

log = structlog.get_logger()
MAIL_SHIFT = timedelta(seconds=10)
HANDOVER_SHIFT = timedelta(seconds=10)


@cache
def app() -> Flask:
    """This process's app. Made before RQ forks, connected after."""
    return create_app()


def run_admission() -> None:
    """One tick: people whose time is over go out, people whose turn it is come in.

    By the pace first, then by the waves whose time has come.
    """
    with app().app_context():
        answered("admission")
        now = _now()
        invitations.beat(now=now)  # before anything lapses: an outage may have just ended
        mending.keep_open(now=now)
        invitations.lapse(now=now)
        reminding.remind(now=now)
        joining.expire_unconfirmed(now=now)
        health.watch(now=now)
        laststep.watch(now=now)
        try:
            outcomes = [waves.tick(now=now), *plans.carry_on_due(now=now)]
        except LineUnavailable as error:
            log.warning("admission waits", why=str(error))
            return
        for outcome in outcomes:
            if outcome.admitted:
                log.info("admitted", wave=outcome.wave_id, people=outcome.admitted)


def run_mail() -> None:
    """Send what is due for some seconds; then let another job go on, so that this one can end."""
    with app().app_context():
        answered("mail")
        if not delivery.server_is_away() and delivery.deliver(_now, until=_now() + MAIL_SHIFT):
            wake("mail")


def run_handover() -> None:
    """Tell the product what is due for some seconds; then let another job go on."""
    with app().app_context():
        answered("handover")
        if delivering.deliver(_now, until=_now() + HANDOVER_SHIFT):
            wake("handover")


def _now() -> datetime:
    return datetime.now(UTC)
