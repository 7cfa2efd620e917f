"""Programs that run beside the bench, each started for a block and ended with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.bench.bars import Unmeasured
from waitlist.config import ROOT

START_WITHIN = 60.0  # seconds
STOP_WITHIN = 15.0  # seconds until what was asked to end is killed


@contextlib.contextmanager
def running(
    command: Sequence[str], environ: Mapping[str, str], log: Path, *, patience: float = STOP_WITHIN
) -> Iterator[subprocess.Popen[bytes]]:
    """A program and all that it starts; what it says goes to `log`."""
    with log.open("ab") as output:
        program = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(environ),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield program
    finally:
        _end(program, patience)


def wait_for(ready: Callable[[], bool], program: subprocess.Popen[bytes], log: Path) -> None:
    """Return once it is ready; `Unmeasured`, with the log's end, if it doesn't come up."""
    deadline = time.monotonic() + START_WITHIN
    while not ready():
        if program.poll() is not None or time.monotonic() > deadline:
            end = " ".join(log.read_text()[-400:].split())
            raise Unmeasured(f"{program.args!r} doesn't come up: {end}")
        time.sleep(0.05)


def in_procfile(name: str) -> list[str]:
    """The command of a process as the Procfile starts it, in place of the shell."""
    for line in (ROOT / "Procfile").read_text().splitlines():
        found, _, command = line.partition(":")
        if found == name:
            return ["sh", "-c", f"exec {command.strip()}"]
    raise Unmeasured(f"the Procfile starts no {name}")


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """What a program needs from the environment, and these settings; nothing else gets in."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "PYTHONUNBUFFERED": "1", **settings}


def _end(program: subprocess.Popen[bytes], patience: float) -> None:
    if patience:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(program.pid, signal.SIGTERM)
            program.wait(patience)
    for pid in _of_session(program.pid):  # RQ's jobs have process groups of their own
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    program.wait()


def _of_session(session: int) -> list[int]:
    """Every process that a program of ours started, and it."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(int(path.name)) == session:
                found.append(int(path.name))
    return found
