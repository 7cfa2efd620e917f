"""What `make run` shows: the lines of its parts, and one screen that says what is where."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from waitlist.config import ROOT

CHATTER = (  # advice for servers in production
    "WARNING Memory overcommit must be enabled",
    "Configuration allows spawning up to 16 Python threads",
)
COLOURS = (36, 33, 32, 35, 34, 31, 96)  # of the terminal (SGR), one a part


def is_colourful() -> bool:
    """Whether the output is a terminal whose owner didn't ask for plain text."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def say(name: str, line: str) -> None:
    """Print one line of a part, with its name before it."""
    if any(words in line for words in CHATTER):
        return
    label = f"{name:<9}"
    if is_colourful():
        label = f"\x1b[{_colour(name)}m{label}\x1b[0m"
    print(f"{label} | {line}", flush=True)


def welcome(folder: Path, url: str, mailbox: Path | None) -> str:
    """The screen that greets when everything is up. `mailbox` is where development mail lands."""
    shown = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    prefix = "" if folder == ROOT / "instance" else f"INSTANCE={shlex.quote(str(shown))} "
    flask = f"{prefix}.venv/bin/flask"
    places = {"Join page": f"{url}/", "Instance": str(folder)}
    if mailbox:
        places |= {"Mailbox": f"{url}/dev/mail", "Mail on disk": str(mailbox)}
    steps = {
        f"{flask} gate show": "how it stands",
        f"{flask} import FILE --cohort NAME": "bring people",
        f"{flask} gate set --capacity 100 --rate 3600": "seats, and people an hour",
        f"{flask} gate resume": "open the gate",
        "make demo": "the whole way, played once",
    }
    width = max(map(len, steps)) + 2
    lines = [
        "",
        "  The waitlist is up.",
        "",
        *(f"  {name:<13} {place}" for name, place in places.items()),
        "",
        *(f"  {command:<{width}} {meaning}" for command, meaning in steps.items()),
        "",
        "  Ctrl-C stops everything. Started again, all is still there.",
        "",
    ]
    return "\n".join(lines)


def _colour(name: str) -> int:
    return COLOURS[sum(name.encode()) % len(COLOURS)]
