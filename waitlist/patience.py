"""How long anybody waits for SQL: for another's lock, and for an answer at all.

A server that is frozen, or whose answer was lost on the way, says nothing for ever. Whoever
has waited for long enough hangs up, so that nobody's thread is held for longer.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.errors import _WaitTimeout
from sqlalchemy.exc import DBAPIError

CONNECT_WAIT = 3  # seconds for a connection; psycopg takes whole ones, and two at least
LONGEST = 600.0  # seconds for an answer, unless told: statements of an import take minutes
PAGE_WAIT = 10.0  # seconds for an answer that somebody waits for
GO_AGAIN = ("40001", "40P01")  # PostgreSQL's codes: serialization failure, deadlock
LOCK_NOT_AVAILABLE = "55P03"  # the same, of a lock that wasn't given in time

_lock: ContextVar[float] = ContextVar("lock", default=math.inf)
_answer: ContextVar[float] = ContextVar("answer", default=LONGEST)


@contextmanager
def at_most(*, answer: float, lock: float = math.inf) -> Iterator[None]:
    """Inside, no statement waits longer for an answer, and no transaction for a lock (seconds)."""
    before = _lock.set(min(lock, _lock.get())), _answer.set(min(answer, _answer.get()))
    try:
        yield
    finally:
        _lock.reset(before[0])
        _answer.reset(before[1])


def for_lock(usual: float) -> float:
    """How many seconds a transaction that begins now waits for a lock: as usual, or less."""
    return min(usual, _lock.get())


def may_go_again(error: DBAPIError) -> bool:
    """Whether nothing was changed, and the same transaction may well succeed at once."""
    code = getattr(error.orig, "sqlite_errorcode", 0)  # the rest of it says busy with what
    is_busy = code & 0xFF == sqlite3.SQLITE_BUSY
    return is_busy or getattr(error.orig, "sqlstate", None) in GO_AGAIN


def was_locked(error: DBAPIError) -> bool:
    """Whether PostgreSQL gave up waiting for a lock that another holds."""
    return getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE


def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> psycopg.Connection:
    """A connection that hangs up on a server which doesn't answer (SQLAlchemy's `do_connect`)."""
    waits = {"connect_timeout": CONNECT_WAIT, **options}
    return _Impatient.connect(*arguments, **waits)


class _Impatient(psycopg.Connection):
    """A connection whose every wait ends."""

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """What the server answers; `OperationalError` if it doesn't in time."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, _answer.get())
        except _WaitTimeout as error:
            self.close()  # what it says later is no answer to anything
            raise psycopg.OperationalError("the server didn't answer in time") from error
