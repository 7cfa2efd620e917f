"""Named places where a test can break a process; off, and one look-up, otherwise.

`FAILPOINT=name:action[@n]` acts at the n-th passing (the first unless told): `kill` and
`stop` send that signal to this process, `sleep` waits five seconds, `raise` raises.

`FAILPOINT=@FILE` does what the first line of a file says, if there is one. Who acts takes the
file away, so of all processes that look there one acts, once, and any of them can be broken
while it runs. Passings are counted anew for each text of the file.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Do here what `FAILPOINT` says of this name, if it says anything."""
    wanted = os.environ.get("FAILPOINT")
    if not wanted:
        return
    file = Path(wanted[1:]) if wanted.startswith("@") else None
    text = _read(file) if file else wanted
    place, _, rest = text.partition("\n")[0].partition(":")
    if place != name:
        return
    action, _, nth = rest.partition("@")
    _passed[text] += 1
    if _passed[text] == int(nth or 1) and (file is None or _taken(file)):
        _act(name, action)


def _read(file: Path) -> str:
    with suppress(FileNotFoundError):
        return file.read_text()
    return ""


def _taken(file: Path) -> bool:
    """Whether we, and nobody else, took the file away."""
    with suppress(FileNotFoundError):
        file.unlink()
        return True
    return False


def _act(name: str, action: str) -> None:
    print(f"failpoint {name}: {action}", file=sys.stderr, flush=True)
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "sleep":
            time.sleep(5)
        case "raise":
            raise RuntimeError(f"failpoint {name}")
        case _:
            raise ValueError(f"FAILPOINT knows kill, stop, sleep and raise, not {action!r}")
