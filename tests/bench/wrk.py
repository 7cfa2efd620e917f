"""Load over HTTP, by wrk, and what it saw."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.bench.bars import Unmeasured

SCRIPTS = Path(__file__).parent
THREADS = 2  # of wrk, or as many as there are connections
PATIENCE = 30  # seconds that wrk waits for an answer
LONGEST = 600  # seconds
RUN = secrets.randbelow(36**5)
_runs = itertools.count()


@dataclass(frozen=True)
class Load:
    """What one run saw. `p50` and `p99` are milliseconds, of all answers whatever they say."""

    statuses: dict[int, int]
    seconds: float
    p50: float
    p99: float
    errors: int
    timeouts: int
    cpu: float  # cores that wrk itself used

    def rate(self, status: int) -> float:
        """Answers of this status a second."""
        return self.statuses.get(status, 0) / self.seconds

    @property
    def others(self) -> dict[int, int]:
        """How many answers were of another status than the commonest."""
        commonest = max(self.statuses, key=self.statuses.__getitem__, default=0)
        return {status: count for status, count in self.statuses.items() if status != commonest}


def join(
    url: str, *, connections: int, seconds: float, rate: float = 0.0, wants: str = "page"
) -> Load:
    """New people who join, as many as are answered or `rate` a second."""
    return _finish(_start_joins(url, connections, seconds, rate, wants))


@contextlib.contextmanager
def joining(url: str, *, connections: int) -> Iterator[None]:
    """New people join all the while, as many as are answered."""
    flood = _start_joins(url, connections, 0, 0, "page")
    try:
        yield
    finally:
        _finish(flood)


def ask(
    url: str,
    lines: Sequence[str],
    folder: Path,
    *,
    connections: int,
    seconds: float,
    rate: float = 0.0,
) -> Load:
    """Send these requests (`METHOD\\tpath\\tbody`): GETs again and again, all else once each."""
    path = folder / f"requests-{next(_runs)}.tsv"
    path.write_text("".join(f"{line}\n" for line in lines))
    words = [str(path), str(_threads(connections))]
    return _finish(_start(url, "requests.lua", words, connections, seconds, rate))


def get(
    url: str,
    paths: Sequence[str],
    folder: Path,
    *,
    connections: int,
    seconds: float,
    rate: float = 0,
) -> Load:
    """Ask for these pages in turn."""
    lines = [f"GET\t{path}" for path in paths]
    whole = lines * (THREADS if len(lines) < THREADS else 1)
    return ask(url, whole, folder, connections=connections, seconds=seconds, rate=rate)


@dataclass(frozen=True)
class _Run:
    """A run of wrk that is under way."""

    program: subprocess.Popen[str]
    began: float
    cpu_before: float
    seconds: float  # 0: it ends when it is asked for
    url: str


def _start_joins(url: str, connections: int, seconds: float, rate: float, wants: str) -> _Run:
    word = _base36(RUN * 1000 + next(_runs))
    return _start(url, "join.lua", [word, wants], connections, seconds, rate)


def _finish(run: _Run) -> Load:
    """End a run when its time is over; what it saw."""
    try:
        time.sleep(max(0.0, run.began + run.seconds - time.monotonic()))
        run.program.send_signal(signal.SIGINT)  # wrk counts whole seconds, and ends well by it
        said, _ = run.program.communicate()
    except BaseException:
        run.program.kill()
        run.program.wait()
        raise
    if run.program.returncode:
        raise Unmeasured(f"wrk ended with status {run.program.returncode}: {said[-300:]}")
    took = time.monotonic() - run.began
    _calm(run.url)
    seen = json.loads(said.strip().splitlines()[-1])
    return Load(
        statuses={int(status): count for status, count in seen["statuses"].items()},
        seconds=seen["seconds"],
        p50=seen["p50"] / 1000,
        p99=seen["p99"] / 1000,
        errors=seen["errors"],
        timeouts=seen["timeouts"],
        cpu=(_cpu_of_ended() - run.cpu_before) / took,
    )


def _calm(url: str) -> None:
    """Wait for what wrk left behind: a request that comes last is answered last."""
    with contextlib.suppress(httpx.HTTPError):
        httpx.get(f"{url}/healthz", timeout=PATIENCE)


def _start(
    url: str, script: str, words: list[str], connections: int, seconds: float, rate: float
) -> _Run:
    if shutil.which("wrk") is None:
        raise Unmeasured("wrk is missing: apt install wrk")
    threads = _threads(connections)
    options = f"-t{threads} -c{connections} -d{LONGEST}s --timeout {PATIENCE}s".split()
    interval = 1000 * threads / rate if rate else 0
    command = ["wrk", *options, "-s", str(SCRIPTS / script), url, "--", str(interval), url, *words]
    program = subprocess.Popen(
        command,
        env={**os.environ, "SCRIPTS": str(SCRIPTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return _Run(program, time.monotonic(), _cpu_of_ended(), seconds, url)


def _threads(connections: int) -> int:
    return min(THREADS, connections)


def _cpu_of_ended() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return (_base36(number // 36) if number >= 36 else "") + digits[number % 36]
