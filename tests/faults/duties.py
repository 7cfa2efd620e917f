"""What is owed at the moment when a fault ends, and when all of it is under way again (P16)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from redis.exceptions import RedisError
from sqlalchemy import literal, select, union_all
from sqlalchemy.exc import SQLAlchemyError

from tests.faults import history
from tests.faults.people import People
from tests.faults.stand import Stand
from waitlist.extensions import db, reading
from waitlist.models import LineChange, Message, Webhook

Duty = tuple[str, int, int]  # what, its id, and the lease that it had
LOOK_WITHIN = 3.0  # seconds
LOOK = 0.1  # seconds between two looks


class Duties:
    """Mails and webhooks with the leases that they had, notes for the line, calls unanswered."""

    def __init__(self, stand: Stand, people: People) -> None:
        self._stand, self._people = stand, people
        self._owed: set[Duty] = set()
        self._calls = set(people.log.asking)
        looking = threading.Thread(target=self._look, daemon=True)
        looking.start()
        looking.join(LOOK_WITHIN)

    def _look(self) -> None:
        """Note what is owed; of SQL that is away or stopped nothing is seen."""
        with suppress(SQLAlchemyError):
            self._owed = self._read()

    def are_under_way(self) -> bool:
        """Whether each was taken up again, and no seat is free while people wait in a line."""
        try:
            still = self._owed & self._read()
            rest = [what for what in history.unsettled(self._stand) if not _is_counted(what)]
        except (SQLAlchemyError, RedisError):
            return False
        return not (still or rest or self._calls & set(self._people.log.asking))

    def _read(self) -> set[Duty]:
        mails = select(literal("mail"), Message.id, Message.lease).where(
            Message.state.in_(("queued", "sending"))
        )
        webhooks = select(literal("webhook"), Webhook.id, Webhook.lease).where(
            Webhook.state.in_(("pending", "sending"))
        )
        notes = select(literal("note"), LineChange.id, literal(0))
        with self._stand.app.app_context(), reading():
            found = union_all(mails, webhooks, notes)
            return {(what, id_, lease) for what, id_, lease in db.session.execute(found)}


def _is_counted(what: str) -> bool:
    """Whether these duties are looked at one by one: later ones are no concern of the fault's."""
    return any(counted in what for counted in ("mails", "webhooks", "notes"))


def seconds_until(done: Callable[[], bool], *, within: float) -> float | None:
    """After how many seconds it came true; None if it didn't."""
    began = time.monotonic()
    while not done():
        if time.monotonic() - began > within:
            return None
        time.sleep(LOOK)
    return time.monotonic() - began
