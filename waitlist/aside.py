"""Records that SQL couldn't take, set aside until it can: in Redis, or else in a file.

Whoever brings them into SQL lets go of them only after the commit, so each must carry an id by
which a second time changes nothing. Both places are bounded: what doesn't fit is told by the log.
"""

from __future__ import annotations

import fcntl
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple

import structlog
from redis.exceptions import RedisError

from waitlist import extensions
from waitlist.extensions import settings

log = structlog.get_logger()
MOST = 100_000  # records in Redis
LARGEST = 32 * 2**20  # bytes of the file
BATCH = 500


class Batch(NamedTuple):
    """Some records, a line of text each; `let_go` once SQL has them."""

    records: list[str]
    let_go: Callable[[], None]


def put(what: str, record: str) -> None:
    """Keep a record, a line of text, under a name. It never fails; at worst it only logs."""
    try:
        pipe = extensions.redis().pipeline()
        pipe.rpush(_key(what), record)
        pipe.ltrim(_key(what), 0, MOST - 1)
        length, _ = pipe.execute()
        if length > MOST:
            log.error("too much is set aside, so this is lost", what=what)
    except RedisError:
        _put_in_file(what, record)


def batches(what: str) -> Iterator[Batch]:
    """All that is set aside under this name, the oldest first; and what comes meanwhile."""
    yield from _batches_of_redis(what)
    yield from _batches_of_files(what)


def _batches_of_redis(what: str) -> Iterator[Batch]:
    try:
        while records := _first(what):
            yield Batch(records, functools.partial(_remove, what, records))
    except RedisError:
        return


def _first(what: str) -> list[str]:
    return [str(one) for one in extensions.redis().lrange(_key(what), 0, BATCH - 1)]


def _remove(what: str, records: list[str]) -> None:
    """By value: somebody else may have brought the same ones in meanwhile."""
    pipe = extensions.redis().pipeline()
    for record in records:
        pipe.lrem(_key(what), 1, record)
    pipe.execute()


def _put_in_file(what: str, record: str) -> None:
    try:
        with _locked(_path(what)) as file:
            if file.tell() > LARGEST:
                log.error("too much is set aside, so this is lost", what=what)
                return
            file.write(f"{record}\n".encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        log.error("nothing could keep this, so it is lost", what=what, why=str(error))


def _locked(path: Path) -> Any:
    """The file, open at its end and locked; never one that was moved away the moment before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = path.open("ab")
        fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            return file
        file.close()


def _batches_of_files(what: str) -> Iterator[Batch]:
    """Moved away first, under the lock of those who write: so nobody waits while SQL is asked."""
    path = _path(what)
    if path.exists():
        with _locked(path):
            path.rename(path.with_name(f"{path.name}.{token_hex(8)}"))
    for moved in sorted(path.parent.glob(f"{path.name}.*")):
        try:
            records = moved.read_text(errors="replace").splitlines()
        except FileNotFoundError:  # another brought it in
            continue
        for begin in range(0, len(records), BATCH):
            yield Batch(records[begin : begin + BATCH], lambda: None)
        moved.unlink(missing_ok=True)


def _key(what: str) -> str:
    return f"waitlist:aside:{what}"


def _path(what: str) -> Path:
    return settings().instance / "aside" / f"{what}.jsonl"
