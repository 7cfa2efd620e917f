"""Finds and ends whatever a part left behind.

Each part leads a session of its own (setsid(2)), and what it starts stays in that
session, even in another process group: RQ gives every job one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

PROC = Path("/proc")


def kill_session(leader: int) -> None:
    """End, without asking, everything that still lives in the session of `leader`."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    for pid in members(leader):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def end_leftovers(pids_file: Path, mark: str, *, patience: float) -> None:
    """End what a supervisor that was killed left behind: SIGTERM, then SIGKILL.

    Only what carries `mark` ("INSTANCE=…") in its environment is touched: after a
    restart of the machine the numbers of the file may belong to anybody.
    """
    try:
        noted: dict[str, int] = json.loads(pids_file.read_text())
    except (FileNotFoundError, ValueError):
        return
    ours = [leader for leader in noted.values() if _carries(leader, mark)]
    for leader in ours:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while any(map(members, ours)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for leader in filter(members, ours):
        kill_session(leader)


def members(leader: int) -> list[int]:
    """The processes of a session; none where there is no /proc to read."""
    return [int(entry.name) for entry in PROC.glob("[0-9]*") if _session(entry.name) == leader]


def _session(pid: str) -> int | None:
    try:
        return os.getsid(int(pid))
    except (ProcessLookupError, PermissionError):
        return None


def _carries(leader: int, mark: str) -> bool:
    return any(mark.encode() in _environment(pid) for pid in members(leader))


def _environment(pid: int) -> list[bytes]:
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
