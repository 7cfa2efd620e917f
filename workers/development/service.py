"""Starting the whole service as `make run` does, from a program: the demo and the tests."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from waitlist.config import ROOT
from workers.development.parts import web_answers

START_WITHIN = 60.0  # seconds for the service to come up
STOP_WITHIN = 60.0  # seconds for all of it to end
PACE = 0.25  # seconds between two looks


@contextlib.contextmanager
def service(environ: Mapping[str, str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The whole service, as `make run` starts it, until the end of the block."""
    log = Path(environ["INSTANCE"]) / "service.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "workers.development"]
    with log.open("ab") as output:
        supervisor = subprocess.Popen(
            command, cwd=ROOT, env=dict(environ), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait_for_web(supervisor, port, log)
        yield supervisor
    finally:
        supervisor.send_signal(signal.SIGINT)
        supervisor.wait(timeout=STOP_WITHIN)


def _wait_for_web(supervisor: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN
    while time.monotonic() < deadline and supervisor.poll() is None:
        if web_answers(port):
            return
        time.sleep(PACE)
    raise RuntimeError(f"the service didn't come up; it said:\n{log.read_text()[-2000:]}")


def free_port() -> int:
    """A port that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
