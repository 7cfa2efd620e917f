"""Named places where a test can break a process; off, and one look-up, otherwise.

`FAILPOINT=name:action[@n]` acts at the n-th passing (the first unless told): `kill` and
`stop` send that signal to this process, `sleep` waits five seconds, `raise` raises.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter

_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Do here what `FAILPOINT` says of this name, if it says anything."""
    wanted = os.environ.get("FAILPOINT")
    if not wanted:
        return
    place, _, rest = wanted.partition(":")
    action, _, nth = rest.partition("@")
    if place != name:
        return
    _passed[name] += 1
    if _passed[name] == int(nth or 1):
        _act(name, action)


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
