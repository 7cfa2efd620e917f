"""Records that SQL couldn't take, set aside until it can: in Redis, or else in a file.

Whoever brings them into SQL lets go of them after the commit only, so each must carry an id by
which a second time changes nothing. Both places are bounded: what doesn't fit is told by the log.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

import structlog
from redis.exceptions import RedisError

from waitlist import extensions
from waitlist.extensions import settings

log = structlog.get_logger()
MOST = 100_000  # records in Redis
LARGEST = 32 * 2**20  # bytes of the file
BATCH = 500


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


def batches(what: str) -> Iterator[list[str]]:
    """All that is set aside under this name, some at a time, the oldest first.

    Some are let go of when the next are asked for: so commit before. Who doesn't come back for
    more, or is killed, finds them again the next time.
    """
    yield from _batches_of_redis(what)
    yield from _batches_of_files(what)


def _batches_of_redis(what: str) -> Iterator[list[str]]:
    try:
        while records := _first(what):
            yield records
            pipe = extensions.redis().pipeline()
            for record in records:  # by value: somebody else may bring the same ones in
                pipe.lrem(_key(what), 1, record)
            pipe.execute()
    except RedisError:
        return


def _first(what: str) -> list[str]:
    return [str(one) for one in extensions.redis().lrange(_key(what), 0, BATCH - 1)]


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


def _locked(path: Path) -> BinaryIO:
    """The file, open at its end and locked; never one that was moved away the moment before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = path.open("ab")
        fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
        file.close()


def _batches_of_files(what: str) -> Iterator[list[str]]:
    """Moved away first, under the lock of those who write: so nobody waits while SQL is asked."""
    path = _path(what)
    try:
        if path.exists():
            with _locked(path):
                path.rename(path.with_name(f"{path.name}.{token_hex(8)}"))
        for moved in sorted(path.parent.glob(f"{path.name}.*")):
            with suppress(FileNotFoundError):  # another brought it in
                records = moved.read_text(errors="replace").splitlines()
                yield from (records[at : at + BATCH] for at in range(0, len(records), BATCH))
                moved.unlink()
    except OSError as error:
        log.error("what is set aside can't be brought in", what=what, why=str(error))


def _key(what: str) -> str:
    return f"waitlist:aside:{what}"


def _path(what: str) -> Path:
    return settings().instance / "aside" / f"{what}.jsonl"
