"""The instance folder: what one running copy of the service owns.

`secrets.env` is written once, `run.env` at every start; `waitlist.config` reads both, so
a command run beside `make run` finds the same parts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from dotenv import dotenv_values

from waitlist.config import ROOT
from waitlist.errors import SettingInvalid

HOST = "127.0.0.1"
REPLACEABLE = (  # given in the environment, these are noted for the commands run beside
    "DATABASE_URL",
    "REDIS_URL",
    "MAIL_SERVER",
    "MAIL_PORT",
    "MAIL_USERNAME",
    "MAIL_PASSWORD",
    "MAIL_USE_TLS",
    "MAIL_FROM",
    "PUBLIC_URL",
    "LAUNCH_NAME",
    "PRODUCT_URL",
    "MAIL_PER_MINUTE",
    "MAIL_PER_DAY",
    "MAIL_WARM_UP",
    "MAIL_BOUNCES_SLOW",
    "MAIL_BOUNCES_STOP",
    "MAIL2_SERVER",
    "MAIL2_PORT",
    "MAIL2_USERNAME",
    "MAIL2_PASSWORD",
    "MAIL2_USE_TLS",
    "MAIL2_AFTER",
    "MAIL2_REFUSED",
    "DKIM_SELECTOR",
    "CONFIRM_WITHIN",
    "INVITE_WITHIN",
    "WAVE_UNDO",
    "PROXY_HOPS",
    "JOINS_A_MINUTE",
    "WEB_THREADS",
)


def instance_folder(environ: Mapping[str, str]) -> Path:
    """The absolute folder that INSTANCE names, made if need be, closed to others."""
    folder = Path(environ.get("INSTANCE") or ROOT / "instance").absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingInvalid(f"INSTANCE {folder} can't be made: {error.strerror}.") from error
    return folder


@contextlib.contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, or refuse: two supervisors would fight over the parts."""
    with (folder / "supervisor.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingInvalid(
                f"Another `make run` uses {folder}: stop it, or set INSTANCE to another folder."
            ) from None
        yield


def web_port(environ: Mapping[str, str]) -> int:
    """The port to serve on, which is free; the sentence to print if it isn't."""
    text = environ.get("PORT") or "8000"
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise SettingInvalid(f"PORT must be a number from 1 to 65535, not {text!r}.")
    if not _is_free(int(text)):
        raise SettingInvalid(f"Port {text} is taken: set PORT to another, as in PORT=8001.")
    return int(text)


def keep_secrets(folder: Path) -> None:
    """Make the keys that sign links, once in the life of the instance."""
    path = folder / "secrets.env"
    if not path.exists():
        _write(path, {"SECRET_KEYS": secrets.token_urlsafe(48)})


def note_parts(folder: Path, environ: Mapping[str, str], port: int) -> dict[str, str]:
    """Write `run.env`: where the parts of this run are. Returns the same settings."""
    found = {
        "ENVIRONMENT": "development",
        "PORT": str(port),
        "PUBLIC_URL": f"http://{HOST}:{port}",
        **{name: environ[name] for name in REPLACEABLE if environ.get(name)},
    }
    if "MAIL_SERVER" not in found:
        found |= {"MAIL_SERVER": HOST, "MAIL_PORT": str(_mail_port(folder))}
    _write(folder / "run.env", found)
    return found


def _mail_port(folder: Path) -> int:
    """The mailbox's port of the former run while it is free, else any free one."""
    former = dotenv_values(folder / "run.env").get("MAIL_PORT") or ""
    if former.isdecimal() and _is_free(int(former)):
        return int(former)
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True


def _write(path: Path, values: Mapping[str, str]) -> None:
    """Replace a dotenv file in one step; nobody but its owner may read it."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    draft.touch(0o600, exist_ok=False)
    with draft.open("w") as file:
        file.writelines(f"{name}={_quoted(value)}\n" for name, value in values.items())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
