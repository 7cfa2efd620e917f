"""Keeps parts running: starts them, restarts what dies, ends them all.

One thread, so that a part can be started with `preexec_fn` safely. Every part leads a
session of its own: the terminal's Ctrl-C reaches the supervisor only.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workers.development.sessions import kill_session

PATIENCE = 10.0  # seconds: a part may take as long to end, and counts as healthy after as long
LONGEST_PAUSE = 5.0  # seconds between two starts of a part that keeps dying
SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass
class Part:
    """One program that should run. `since` and `due` are seconds of the monotonic clock."""

    name: str
    command: list[str]
    child: subprocess.Popen[bytes] | None = None
    since: float = 0.0
    due: float = 0.0
    deaths: int = 0


@dataclass
class Crew:
    """The parts in the order of their start, and what they share.

    `say` prints a line of a part; `pids_file` always tells which pid a part has now.
    """

    folder: Path
    environ: Mapping[str, str]
    pids_file: Path
    say: Callable[[str, str], None]
    parts: list[Part] = field(default_factory=list)
    outputs: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    unfinished: dict[int, bytes] = field(default_factory=dict)


def add(crew: Crew, name: str, command: list[str]) -> Part:
    """Start one more part, and keep it running from now on."""
    part = Part(name, command)
    crew.parts.append(part)
    _start(crew, part)
    return part


def tend(crew: Crew, *, seconds: float = 0.2) -> None:
    """One round: pass on what the parts say, bury the dead, start what is due."""
    relay(crew, seconds)
    for part in crew.parts:
        if part.child is not None and part.child.poll() is not None:
            _bury(crew, part, part.child)
        if part.child is None and time.monotonic() >= part.due:
            _start(crew, part)


def tend_until(crew: Crew, done: Callable[[], bool], *, patience: float) -> bool:
    """Tend the parts until `done` says so; False when `patience` seconds didn't suffice."""
    deadline = time.monotonic() + patience
    while not done():
        if time.monotonic() >= deadline:
            return False
        tend(crew, seconds=0.05)
    return True


def dismiss(crew: Crew, hurry: Callable[[], bool]) -> None:
    """End all parts, the latest first; the first one, on which they stand, when they are gone.

    What outlives `PATIENCE`, or the moment when `hurry` turns true, is killed.
    """
    for batch in (crew.parts[:0:-1], crew.parts[:1]):
        _end(crew, batch, hurry)
    relay(crew, 0)
    crew.pids_file.unlink(missing_ok=True)


def relay(crew: Crew, seconds: float) -> None:
    """Pass on the whole lines that parts wrote; wait up to `seconds` for some."""
    for key, _ in crew.outputs.select(seconds):
        chunk = os.read(key.fd, 65536)
        *lines, rest = (crew.unfinished.pop(key.fd, b"") + chunk).split(b"\n")
        if chunk:
            crew.unfinished[key.fd] = rest
        else:
            lines += [rest] if rest else []
            crew.outputs.unregister(key.fileobj)
            os.close(key.fd)
        for line in lines:
            crew.say(key.data, line.decode(errors="replace"))


def pause_before_start(deaths: int) -> float:
    """Seconds to wait after a part died for the `deaths`-th time in a row."""
    return 0.0 if deaths <= 1 else min(LONGEST_PAUSE, 0.5 * 2.0 ** (deaths - 2))


def _start(crew: Crew, part: Part) -> None:
    reading, writing = os.pipe()
    try:
        part.child = subprocess.Popen(
            part.command,
            cwd=crew.folder,
            env=crew.environ,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 (this is the only thread)
        )
    finally:
        os.close(writing)
    part.since = time.monotonic()
    crew.outputs.register(reading, selectors.EVENT_READ, part.name)
    _note_pids(crew)


def _die_with_parent() -> None:
    """In the child: end when the supervisor ends, even if it is killed."""
    if LIBC is not None:
        LIBC.prctl(SET_DEATH_SIGNAL, signal.SIGTERM)


def _bury(crew: Crew, part: Part, child: subprocess.Popen[bytes]) -> None:
    kill_session(child.pid)
    now = time.monotonic()
    part.deaths = 1 if now - part.since >= PATIENCE else part.deaths + 1
    pause = pause_before_start(part.deaths)
    part.child, part.due = None, now + pause
    again = f"again in {pause:g} s" if pause else "again at once"
    crew.say(part.name, f"ended ({_cause(child.returncode)}); {again}")


def _cause(returncode: int) -> str:
    return f"status {returncode}" if returncode >= 0 else signal.Signals(-returncode).name


def _note_pids(crew: Crew) -> None:
    """Replace the file of pids in one step, so that a reader never sees half of it."""
    pids = {part.name: part.child.pid for part in crew.parts if part.child is not None}
    draft = crew.pids_file.with_suffix(".new")
    draft.write_text(json.dumps(pids, indent=2) + "\n")
    draft.replace(crew.pids_file)


def _end(crew: Crew, parts: Iterable[Part], hurry: Callable[[], bool]) -> None:
    children = [part.child for part in parts if part.child is not None]
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while any(child.poll() is None for child in children):
        if hurry() or time.monotonic() >= deadline:
            break
        relay(crew, 0.05)
    for child in children:
        kill_session(child.pid)
        child.wait()
