"""`make run`: brings up every part, says where they are, keeps them running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from waitlist.config import ROOT, redis_socket
from waitlist.errors import SettingInvalid
from workers.development import parts, screen
from workers.development.instance import (
    instance_folder,
    keep_secrets,
    note_parts,
    occupied,
    web_port,
)
from workers.development.sessions import end_leftovers
from workers.development.supervisor import PATIENCE, Crew, add, dismiss, tend, tend_until

START_WITHIN = 60.0  # seconds for Redis to read its files


def main() -> int:
    """Run until a signal ends it. Status 1, and one sentence, if it can't start."""
    signals = _noted_signals()
    try:
        folder = instance_folder(os.environ)
        with occupied(folder):
            return _run(folder, os.environ, signals)
    except SettingInvalid as refusal:
        print(f"Not started: {refusal}", file=sys.stderr)
        return 1


def _run(folder: Path, environ: Mapping[str, str], signals: list[int]) -> int:
    pids_file = folder / "pids.json"
    end_leftovers(pids_file, f"INSTANCE={folder}", patience=PATIENCE)
    port = web_port(environ)
    keep_secrets(folder)
    found = note_parts(folder, environ, port)
    own = {"INSTANCE": str(folder), "PYTHONUNBUFFERED": "1"}
    crew = Crew(ROOT, {**environ, **found, **own}, pids_file, screen.say)
    try:
        _start_redis(crew, folder, found, signals)
        if signals or not _migrate(crew):
            return 0 if signals else 1
        _start_rest(crew, port, found, environ)
        _watch(crew, folder, port, found, signals)
    finally:
        dismiss(crew, hurry=lambda: len(signals) > 1)
    return 0


def _start_redis(crew: Crew, folder: Path, found: Mapping[str, str], signals: list[int]) -> None:
    if "REDIS_URL" in found:
        return
    socket = redis_socket(folder)
    add(crew, "redis", parts.redis_command(folder / "redis", socket, keep=True))
    if not tend_until(
        crew, lambda: bool(signals) or parts.redis_answers(socket), patience=START_WITHIN
    ):
        raise SettingInvalid(f"Redis didn't come up; its lines above say why ({folder}/redis).")


def _migrate(crew: Crew) -> bool:
    """Bring the database up to date; False, and what it said, if that failed."""
    done = subprocess.run(
        parts.MIGRATION,
        cwd=crew.folder,
        env=crew.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        for line in done.stdout.splitlines():
            crew.say("migrate", line)
    return done.returncode == 0


def _start_rest(
    crew: Crew, port: int, found: Mapping[str, str], environ: Mapping[str, str]
) -> None:
    if not environ.get("MAIL_SERVER"):
        add(crew, "mailbox", parts.MAILBOX)
    add(crew, "web", parts.web_command(port))
    for name, command in parts.worker_commands().items():
        add(crew, name, command)


def _watch(
    crew: Crew, folder: Path, port: int, found: Mapping[str, str], signals: list[int]
) -> None:
    greeted = False
    while not signals:
        tend(crew)
        if not greeted and parts.web_answers(port):
            greeted = True
            own_mailbox = any(part.name == "mailbox" for part in crew.parts)
            mailbox = folder / "mail" if own_mailbox else None
            print(screen.welcome(folder, found["PUBLIC_URL"], mailbox), flush=True)
    print("\nStopping …", flush=True)


def _noted_signals() -> list[int]:
    """A list that grows with every request to stop; a hang-up that is ignored stays so."""
    received: list[int] = []
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:
            signal.signal(signum, lambda number, _frame: received.append(number))
    return received


if __name__ == "__main__":
    sys.exit(main())
