"""The extensions, each of which wires itself into the app in its own `init_app`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import redis as redis_py
from flask import Flask, current_app
from flask_mail import Mail
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import Connection, CursorResult, Engine, Executable, Row, event
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import DeclarativeBase, configure_mappers

from waitlist import patience
from waitlist.config import ROOT, Settings
from waitlist.policy.routes import FIRST

Result = TypeVar("Result")

LOCK_WAIT = 5  # seconds that a transaction waits for another's lock
IDLE_WAIT = 30  # seconds that PostgreSQL waits for the next statement of one that may write
LOOK_AGAIN = 0.0001  # seconds between two looks at SQLite's
REDIS_WAIT = 1.0  # seconds that anyone waits for Redis before going on without it


class Base(DeclarativeBase):
    """The base of all models."""


db = SQLAlchemy(
    model_class=Base,
    engine_options={"hide_parameters": True},
    session_options={"expire_on_commit": False},
)
migrate = Migrate(directory=str(ROOT / "waitlist" / "migrations"), render_as_batch=True)
mail = Mail()

SEEK = "SET LOCAL enable_seqscan = off"

_read_only: ContextVar[bool] = ContextVar("read_only", default=False)


@contextmanager
def reading() -> Iterator[None]:
    """Transactions begun inside can't write: the database itself refuses.

    The outermost block ends its transaction, so begin it outside of one.
    """
    if _read_only.get():
        yield
        return
    token = _read_only.set(True)
    try:
        yield
    finally:
        db.session.rollback()
        _read_only.reset(token)


def glance(statement: Executable) -> Row[Any] | None:
    """The first row as it is committed now, read beside the caller's own transaction."""
    token = _read_only.set(True)
    try:
        with db.engine.connect() as connection:
            return connection.execute(statement).first()
    finally:
        _read_only.reset(token)


def redis() -> redis_py.Redis:
    """This app's Redis client: short time-outs, no silent retries."""
    client: redis_py.Redis = current_app.extensions["redis"]
    return client


def redis_for_rq() -> redis_py.Redis:
    """A client as RQ wants it: answers in bytes."""
    client: redis_py.Redis = current_app.extensions["redis_for_rq"]
    return client


def worker_redis() -> redis_py.Redis:
    """A client for an RQ worker, which blocks for long and sets its own time-outs."""
    client: redis_py.Redis = redis_py.Redis.from_url(settings().redis_url)
    return client


def mail_server(name: str) -> Mail:
    """The mail server of that route, as Flask-Mail knows it."""
    found: Mail = current_app.extensions["mail" if name == FIRST else "mail2"]
    return found


def elsewhere(call: Callable[[], Result]) -> Callable[[], Result]:
    """The call as another thread may make it: on this app, with a session of its own."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]

    def called() -> Result:
        with app.app_context():
            return call()

    return called


def settings() -> Settings:
    """This app's settings."""
    found: Settings = current_app.config["SETTINGS"]
    return found


def init_app(app: Flask) -> None:
    """Wire every extension into the app; nothing connects yet."""
    db.init_app(app)
    configure_mappers()  # or each job that RQ forks does it with its first question
    with app.app_context():
        _init_engine(db.engine)
    migrate.init_app(app, db)
    mail.init_app(app)
    app.extensions["mail2"] = mail.init_mail(app.config["MAIL2"])
    url = app.config["SETTINGS"].redis_url
    app.extensions["redis"] = connect_redis(url, decode_responses=True)
    app.extensions["redis_for_rq"] = connect_redis(url, decode_responses=False)


class _Once(Retry):
    """No second try; and after a time-out, none at all for a while.

    Else each who needs a Redis that is frozen waits for it, one after the other.
    """

    def __init__(self) -> None:
        super().__init__(NoBackoff(), 0)
        self._frozen_until = 0.0

    def __deepcopy__(self, _memo: Any) -> _Once:
        return self  # every connection has a copy, and all are to know

    def call_with_retry(self, *args: Any, **more: Any) -> Any:
        """What the call gives, unless the server timed out a moment ago."""
        if time.monotonic() < self._frozen_until:
            raise redis_py.TimeoutError("Redis was frozen a moment ago")
        try:
            return super().call_with_retry(*args, **more)
        except (redis_py.TimeoutError, TimeoutError):
            self._frozen_until = time.monotonic() + REDIS_WAIT
            raise


def connect_redis(url: str, *, decode_responses: bool) -> redis_py.Redis:
    """A client for `url` that gives up after `REDIS_WAIT` seconds."""
    client: redis_py.Redis = redis_py.Redis.from_url(
        url,
        decode_responses=decode_responses,
        socket_timeout=REDIS_WAIT,
        socket_connect_timeout=REDIS_WAIT,
        retry=_Once(),
    )
    return client


def insert_unless_known(model: Any, *key: Any) -> Any:
    """An INSERT into the model's table that passes over rows whose `key` is there already."""
    return insert_into(model).on_conflict_do_nothing(index_elements=list(key))


def insert_into(model: Any) -> Any:
    """An INSERT into the model's table that can say what is to be done with what is there."""
    dialect = db.engine.dialect.name
    insert = sqlite_insert if dialect == "sqlite" else postgresql_insert
    return insert(model)


def seek(connection: Connection) -> None:
    """Have this transaction's statements find rows by index, however small their tables seemed.

    PostgreSQL plans by statistics that are a minute old, and keeps a plan: of a launch's first
    minute it believes that nobody is there, and looks through all who are, for each who joins.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(SEEK)


def rows_changed(statement: Executable, given: Mapping[str, Any] | None = None) -> int:
    """Run a guarded UPDATE or DELETE in the caller's transaction: how many rows it changed."""
    result = db.session.execute(statement, given)
    return result.rowcount if isinstance(result, CursorResult) else 0


def forget_for_good() -> bool:
    """Have SQLite's log hold nothing that was deleted; False while somebody still reads in it.

    Its file holds nothing of it anyway (`secure_delete`). Call it outside of a transaction.
    PostgreSQL writes over what was deleted by itself (autovacuum).
    """
    if db.engine.dialect.name != "sqlite":
        return True
    raw: Any = db.engine.raw_connection()
    try:
        raw.execute(f"PRAGMA busy_timeout = {LOCK_WAIT * 1000}")
        is_busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        raw.close()
    return not is_busy


def _init_engine(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _open_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "do_connect", patience.connect)
        event.listen(engine, "begin", _begin_postgres)


def _open_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours: see _begin_sqlite
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Begin so that a reader can't write; a writer takes the lock at once, not halfway.

    Told to the driver itself: by way of SQLAlchemy these few words take a tenth of a millisecond.
    """
    raw: Any = connection.connection.dbapi_connection
    read_only = _read_only.get()
    if connection.info.get("read_only") is not read_only:  # it has every statement prepared anew
        raw.execute(f"PRAGMA query_only = {int(read_only)}")
        raw.execute(f"PRAGMA busy_timeout = {LOCK_WAIT * 1000 if read_only else 0}")
        connection.info["read_only"] = read_only
    if read_only:
        raw.execute("BEGIN")
    elif not _took_write_lock(raw):
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # once more, for SQLAlchemy's own error


def _took_write_lock(raw: sqlite3.Connection) -> bool:
    """Wait for the write lock, looking ten times a millisecond.

    SQLite itself looks ever more rarely, in the end ten times a second: beside a process that
    takes the lock a hundred times a second, nobody else would get it. So two web processes
    that commit joins in turn would wait for each other most of the time.
    """
    until = time.monotonic() + patience.for_lock(LOCK_WAIT)
    while time.monotonic() < until:
        try:
            raw.execute("BEGIN IMMEDIATE")
            return True
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:  # the rest says busy with what
                break
        time.sleep(LOOK_AGAIN)
    return False


def _begin_postgres(connection: Connection) -> None:
    """Begin so that nobody waits for ever for a lock, nor for one whose process was stopped."""
    waits = f"SET LOCAL lock_timeout = {round(1000 * patience.for_lock(LOCK_WAIT))}"
    idle = f"SET LOCAL idle_in_transaction_session_timeout = {IDLE_WAIT * 1000}"
    ends = "SET TRANSACTION READ ONLY" if _read_only.get() else idle
    connection.exec_driver_sql(f"{waits}; {ends}")
