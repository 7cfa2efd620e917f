"""The processes of a stand: each can be started, killed, stopped and ended alone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from waitlist.config import ROOT
from workers.development.sessions import kill_session, members

UP_WITHIN = 60.0  # seconds
END_WITHIN = 30.0  # seconds that SIGTERM may take
KEPT = 300  # lines of what a part said
FIRED = "failpoint "
STARTED: set[int] = set()  # the pids of all programs that parts ever were


@dataclass
class Part:
    """One program with all that it starts. `answers` says whether it serves already."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    answers: Callable[[], bool] = lambda: True
    user: str | None = None
    folder: Path = ROOT
    process: subprocess.Popen[str] | None = None
    said: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT))
    fired: list[str] = field(default_factory=list)  # what failpoints said they do
    wanted: bool = False  # it should run, so whoever keeps the stand starts it again
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def start(self) -> None:
        """Start it if it doesn't run; again and again if it ends at once.

        A lock of the one before may still stand.
        """
        with self._lock:
            self.wanted = True
            if not self.is_alive():
                self._start()

    def keep(self) -> None:
        """Start it again if it should run and doesn't."""
        with self._lock:
            if self.wanted and not self.is_alive():
                self._start()

    def _start(self) -> None:
        deadline = time.monotonic() + UP_WITHIN
        self._spawn()
        while not self.answers():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} doesn't come up: {self.last_words()}")
            if not self.is_alive():
                self._spawn()
            time.sleep(0.05)

    def is_alive(self) -> bool:
        """Whether the program itself runs, or is stopped."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """`kill -9` of all of it; it stays down until it is started."""
        with self._lock:
            self.wanted = False
            if self.process is not None:
                kill_session(self.process.pid)
                self.process.wait(UP_WITHIN)

    def kill_parent(self) -> None:
        """`kill -9` of the program alone: what it started lives on."""
        assert self.process is not None
        self.wanted = False
        self.process.kill()
        self.process.wait(UP_WITHIN)

    def children(self) -> list[int]:
        """What it started and still runs; PostgreSQL's have sessions of their own."""
        assert self.process is not None
        pid = self.process.pid
        own = Path(f"/proc/{pid}/task/{pid}/children")
        born = map(int, own.read_text().split()) if own.exists() else ()
        return sorted({*born, *members(pid)} - {pid})

    def pids(self) -> list[int]:
        """All of its processes, the program first; none if it is gone."""
        return [self.process.pid, *self.children()] if self.process and self.is_alive() else []

    def tell_all(self, signum: int) -> None:
        """Send a signal to all of it."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)

    def end(self) -> None:
        """Ask it to end, as a deploy does, and wait until it has."""
        if self.process is None:
            return
        self.wanted = False
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_WITHIN)
            return
        self.kill()
        raise RuntimeError(f"{self.name} doesn't end when it is asked to: {self.last_words()}")

    def last_words(self) -> str:
        """What it said last, for whoever has to find out."""
        return " | ".join(list(self.said)[-12:])

    def _spawn(self) -> None:
        self.process = subprocess.Popen(
            list(self.command),
            cwd=self.folder,
            env=dict(self.environ),
            user=self.user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            restore_signals=False,  # a write to a full disk is to fail, not to kill
        )
        STARTED.add(self.process.pid)
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(FIRED):
                self.fired.append(line.strip())
            self.said.append(line.rstrip())
        process.stdout.close()


def end_all() -> None:
    """`kill -9` of whatever any part left, for whoever must end in a hurry."""
    for pid in STARTED:
        kill_session(pid)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """What a program needs from the environment, and these settings; nothing else gets in."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "PYTHONUNBUFFERED": "1", **settings}


def in_procfile(name: str) -> list[str]:
    """The command of a process as the Procfile starts it, in place of the shell."""
    for line in (ROOT / "Procfile").read_text().splitlines():
        found, _, command = line.partition(":")
        if found == name:
            return ["sh", "-c", f"exec {command.strip()}"]
    raise RuntimeError(f"the Procfile starts no {name}")


def wait_until(done: Callable[[], bool], *, within: float, pace: float = 0.05) -> bool:
    """Whether it came true within so many seconds."""
    deadline = time.monotonic() + within
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(pace)
    return True


STOP, GO_ON = signal.SIGSTOP, signal.SIGCONT
