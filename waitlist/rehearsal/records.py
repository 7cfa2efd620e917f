"""Recorded arrivals, from a CSV file that a scenario names.

Its first row names the columns: `minute` or `hour`, counted from 0, and `people`.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from waitlist.errors import ScenarioInvalid
from waitlist.rehearsal.scenario import MOST_STEPS

SPANS = {"minute": "1 min", "hour": "1 h"}


def put_in(table: dict[str, Any], folder: Path) -> None:
    """In place of each `file` of the arrivals, the people that it counts."""
    arrivals = table.get("arrivals")
    for one in arrivals if isinstance(arrivals, list) else ():
        if isinstance(one, dict) and "file" in one:
            one |= _counted(folder / str(one.pop("file")))


def _counted(path: Path) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            unit, people = [name.strip().lower() for name in next(rows, [])][:2] or ["", ""]
            if unit not in SPANS or people != "people":
                raise ScenarioInvalid(f"{path}: its first row is minute,people or hour,people")
            return {"people": _dense(path, rows), "every": SPANS[unit]}
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ScenarioInvalid(f"{path} can't be read: {error}") from error


def _dense(path: Path, rows: Any) -> list[int]:
    """How many came in each span; 0 in those of which the file says nothing."""
    found: list[int] = []
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        at, people = (cell.strip() for cell in row[:2])
        right = at.isdecimal() and people.isdecimal() and len(found) <= int(at) < MOST_STEPS
        if not right:
            words = f"times rise from 0 to {MOST_STEPS:,}, and both cells are whole numbers"
            raise ScenarioInvalid(f"{path}, row {number}: {words}, not {','.join(row)!r}")
        found += [0] * (int(at) - len(found)) + [int(people)]
    return found
