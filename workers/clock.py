"""The clock: every second it sweeps SQL for what is due and wakes the workers.

It decides nothing, so a second clock is harmless, and none only costs time.
"""

from __future__ import annotations

import signal
import sys
import threading
from datetime import UTC, datetime
from types import FrameType

import structlog
from sqlalchemy.exc import SQLAlchemyError

from waitlist import create_app, estimates, leasing, patience
from waitlist.errors import SettingInvalid
from waitlist.extensions import db, reading
from waitlist.failpoints import failpoint
from waitlist.handover import leasing as webhooks
from waitlist.onboarding import failures, invitations
from waitlist.wake import wake
from workers import mailprobe, probe

log = structlog.get_logger()
TICK = 1.0  # seconds
ANSWER_WAIT = 30.0  # seconds after which SQL counts as away


def main() -> None:
    """Tick until told to stop."""
    try:
        app = create_app()
    except SettingInvalid as error:
        sys.exit(str(error))
    stop = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    probe.start(app, stop)
    mailprobe.start(app, stop)
    while not stop.wait(TICK):
        with app.app_context(), patience.at_most(answer=ANSWER_WAIT):
            tick(now=datetime.now(UTC))


def tick(*, now: datetime) -> None:
    """One sweep. SQL away: logged, and tried again the next second."""
    try:
        gap = invitations.beat(now=now)
        if gap:
            log.warning("the clock was away; deadlines shifted", seconds=gap.total_seconds())
        failpoint("clock.before-wake")
        wake("admission")
        with reading():
            mail_is_due = leasing.is_due(now=now)
        if mail_is_due:
            wake("mail")
        with reading():
            handover_is_due = webhooks.is_due(now=now)
        if handover_is_due:
            wake("handover")
        failures.tend(now=now)
        estimates.sweep_if_due(now=now)
    except SQLAlchemyError as error:
        db.session.rollback()
        log.error("sql away", error=type(error).__name__)


if __name__ == "__main__":
    main()
