"""Failpoints: off unless told, and then at the very passing that was named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from waitlist import failpoints
from waitlist.config import ROOT
from waitlist.failpoints import failpoint


@pytest.fixture(autouse=True)
def _nothing_passed() -> None:
    failpoints._passed.clear()


def test_nothing_happens_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAILPOINT", raising=False)
    failpoint("here")
    assert not failpoints._passed


def test_it_raises_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILPOINT", "here:raise")
    failpoint("elsewhere")
    with pytest.raises(RuntimeError, match="failpoint here"):
        failpoint("here")
    failpoint("here")  # once only


def test_it_waits_for_the_passing_that_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILPOINT", "here:raise@3")
    failpoint("here")
    failpoint("here")
    with pytest.raises(RuntimeError):
        failpoint("here")


def test_it_refuses_an_unknown_action(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILPOINT", "here:explode")
    with pytest.raises(ValueError, match="explode"):
        failpoint("here")


def test_a_file_breaks_a_running_process_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "failpoint"
    monkeypatch.setenv("FAILPOINT", f"@{file}")
    failpoint("here")
    for when in ("first", "second"):
        file.write_text(f"here:raise@2\nthe {when} time\n")
        failpoint("here")
        failpoint("elsewhere")
        with pytest.raises(RuntimeError):
            failpoint("here")
        assert not file.exists()
        failpoint("here")


def test_of_two_processes_that_look_into_a_file_one_acts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "failpoint"
    file.write_text("here:raise\n")
    monkeypatch.setenv("FAILPOINT", f"@{file}")
    monkeypatch.setattr(failpoints, "_read", lambda read: (read.read_text(), read.unlink())[0])
    failpoint("here")  # another took it between our reading and our acting


def test_kill_ends_the_process_and_says_so() -> None:
    with _broken("kill") as process:
        _, told = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL
    assert b"failpoint here: kill" in told


def test_stop_pauses_the_process_until_it_is_continued() -> None:
    with _broken("stop") as process:
        deadline = time.monotonic() + 20
        while "T (stopped)" not in _status(process.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGCONT)
        out, _ = process.communicate(timeout=20)
    assert out.strip() == b"went on"


def _broken(action: str) -> subprocess.Popen[bytes]:
    code = "from waitlist.failpoints import failpoint; failpoint('here'); print('went on')"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "FAILPOINT": f"here:{action}", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )


def _status(pid: int) -> str:
    with open(f"/proc/{pid}/status") as file:  # noqa: PTH123
        return file.read()
