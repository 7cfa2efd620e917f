"""Reading a file of people beside storing it: in a process of its own, a batch at a time.

Reading and storing cost about as much as each other, and Python does one thing at a time in a
process. Few batches are ever under way, so memory doesn't grow with the file.
"""

from __future__ import annotations

import gc
import marshal
import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

from waitlist.errors import FileRefused
from waitlist.signup import people_file

# By fork, as a fresh Python takes longer to start than most files to be read. What it inherits,
# such as connections, it never touches.
_FORK = multiprocessing.get_context("fork")


# A row as it was read: its number, the reason why it is rejected or '', the address as typed, its
# key and the form that is mailed, name, locale, joined_at and the other columns by name. joined_at
# is UTC as text that sorts as times do, and '' if nothing is known of it.
Read = tuple[int, str, str, str, str, str, str, str, dict[str, str]]


def batches(path: Path, size: int) -> Iterator[list[Read]]:
    """The file's rows, so many at once; `FileRefused` as soon as it turns out to be wrong."""
    here, there = _FORK.Pipe(duplex=False)
    reader = _FORK.Process(target=_read, args=(path, size, here, there), daemon=True)
    reader.start()
    there.close()
    try:
        while batch := _receive(here, path):
            yield batch
    finally:
        here.close()  # a reader that isn't done ends by this
        reader.join()


def _receive(here: Connection, path: Path) -> list[Read]:
    """The next batch, empty at the end of the file."""
    try:
        said: list[Read] | str = marshal.loads(here.recv_bytes())  # noqa: S302
    except (EOFError, OSError) as error:
        raise FileRefused(f"reading {path.name} broke off: import it again") from error
    if isinstance(said, str):
        raise FileRefused(said)
    return said


def _read(path: Path, size: int, here: Connection, there: Connection) -> None:
    """What the process does: send batch by batch, then an empty one, or why it is refused."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to both: one ends both
    gc.disable()  # rows hold no cycles, and looking for some would take longer than reading them
    here.close()  # else it would wait for ever for a parent that was killed
    with suppress(BrokenPipeError):  # nobody listens any more
        for said in _said(path, size):
            there.send_bytes(marshal.dumps(said))


def _said(path: Path, size: int) -> Iterator[list[Read] | str]:
    """Each batch, then an empty one; or why the file is refused."""
    rows = map(_as_read, people_file.rows(path))
    try:
        while batch := list(islice(rows, size)):
            yield batch
        yield []
    except FileRefused as refused:
        yield str(refused)


def _as_read(row: people_file.Row) -> Read:
    typed, key, mail_to = row.address
    at = "" if row.joined_at is None else _text(row.joined_at)
    return row.number, row.reason, typed, key, mail_to, row.name, row.locale, at, row.attributes


def _text(at: datetime) -> str:
    return at.isoformat(" ", "microseconds")[:26]  # without its zone, which is UTC
