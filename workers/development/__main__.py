"""`make run`: brings up every part, says where they are, keeps them running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from waitlist.config import ROOT, load, redis_socket
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
STARTS = 3  # times that Redis may die before it first answers


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
    load(crew.environ)  # wrong settings are refused before anything starts
    try:
        _start_redis(crew, folder, found, signals)
        if not signals:
            _migrate(crew, signals)
        if not signals:
            _start_rest(crew, port, environ)
            _watch(crew, folder, port, found, signals)
    finally:
        dismiss(crew, hurry=lambda: len(signals) > 1)
    return 0


def _start_redis(crew: Crew, folder: Path, found: Mapping[str, str], signals: list[int]) -> None:
    if "REDIS_URL" in found:
        return
    socket = redis_socket(folder)
    redis = add(crew, "redis", parts.redis_command(folder / "redis", socket, keep=True))

    def decided() -> bool:
        return bool(signals) or redis.deaths >= STARTS or parts.redis_answers(socket)

    if not tend_until(crew, decided, patience=START_WITHIN) or redis.deaths >= STARTS:
        raise SettingInvalid(f"Redis doesn't start from {folder}/redis; its lines above say why.")


def _migrate(crew: Crew, signals: list[int]) -> None:
    """Bring the database up to date, or print what stands against it and refuse."""
    done = subprocess.run(
        parts.MIGRATION,
        cwd=crew.folder,
        env=crew.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode and not signals:
        for line in done.stdout.splitlines():
            crew.say("migrate", line)
        raise SettingInvalid("The database can't be brought up to date; its lines above say why.")


def _start_rest(crew: Crew, port: int, environ: Mapping[str, str]) -> None:
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
