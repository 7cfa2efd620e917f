"""What is owed at the moment when a fault ends, and when all of it is under way again (P16)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from tests.faults import history
from tests.faults.people import People
from tests.faults.stand import Stand
from waitlist.extensions import db, reading
from waitlist.models import LineChange, Message

LOOK_WITHIN = 3.0  # seconds
LOOK = 0.1  # seconds between two looks


class Duties:
    """Mails with the leases that they had, notes for the line, calls without an answer."""

    def __init__(self, stand: Stand, people: People) -> None:
        self._stand, self._people = stand, people
        self._mails: set[tuple[int, int]] = set()
        self._notes: set[int] = set()
        self._calls = set(people.log.asking)
        looking = threading.Thread(target=self._look, daemon=True)
        looking.start()
        looking.join(LOOK_WITHIN)

    def _look(self) -> None:
        """Note what is owed; of SQL that is away or stopped nothing is seen."""
        with suppress(SQLAlchemyError):
            self._mails, self._notes = self._read()

    def are_under_way(self) -> bool:
        """Whether each was taken up again, and no seat is free while people wait in a line."""
        try:
            mails, notes = self._read()
            rest = [what for what in history.unsettled(self._stand) if "mails" not in what]
        except (SQLAlchemyError, RedisError):
            return False
        calls = self._calls & set(self._people.log.asking)
        return not (self._mails & mails or self._notes & notes or calls or rest)

    def _read(self) -> tuple[set[tuple[int, int]], set[int]]:
        unsent = Message.state.in_(("queued", "sending"))
        with self._stand.app.app_context(), reading():
            mails = db.session.execute(select(Message.id, Message.lease).where(unsent))
            leases = {(id_, lease) for id_, lease in mails}
            return leases, set(db.session.scalars(select(LineChange.id)))


def seconds_until(done: Callable[[], bool], *, within: float) -> float | None:
    """After how many seconds it came true; None if it didn't."""
    began = time.monotonic()
    while not done():
        if time.monotonic() - began > within:
            return None
        time.sleep(LOOK)
    return time.monotonic() - began
