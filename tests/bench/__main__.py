"""`make bench`: measures every row, prints the table, writes `build/bench.json`.

QUICK=1 or FULL=1 choose how much, ONLY=join-sqlite,place which rows. The status is 0 whether
or not bars hold.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from tests.bench import joins, laststep, lines, mails, places, plots
from tests.bench.bars import BARS, Row
from tests.bench.scale import QUICK, Scale, chosen
from tests.bench.stand import Stand
from waitlist.config import ROOT

Measure = Callable[[Stand], Row]

# in the order in which they are measured: what changes the lines least comes first
ROWS: dict[str, Measure] = {
    "memory": lines.memory,
    "page": places.page,
    "flat": lines.flat,
    "place": places.place,
    "line": places.line,
    "join-sqlite": joins.join_sqlite,
    "join-latency": joins.join_latency,
    "overload": joins.overload,
    "complete": laststep.complete,
    "last-step-flood": laststep.last_step_flood,
    "join-busy": joins.join_busy,
    "admit": lines.admit,
    "mail": mails.mail,
    "rebuild": lines.rebuild,
    "import": lines.import_,
    "join-postgres": joins.join_postgres,
}


def main() -> int:
    """Measure what is asked for; status 2 if a row's name is unknown."""
    console, scale = Console(), chosen(os.environ)
    wanted = _wanted(os.environ)
    if unknown := [name for name in wanted if name not in ROWS]:
        console.print(f"No such row: {', '.join(unknown)}. There are: {', '.join(BARS)}")
        return 2
    signal.signal(signal.SIGTERM, _end)
    began, load = time.monotonic(), os.getloadavg()[0]
    rows = measure(wanted, scale, console)
    _write([rows[name] for name in BARS if name in rows])
    console.print(table(rows, scale))
    console.print(f"{time.monotonic() - began:.0f} seconds; all figures are in build/bench.json")
    if set(rows) == set(BARS) and scale is not QUICK:
        plots.publish(rows, scale, load)
    return 0


def measure(wanted: list[str], scale: Scale, console: Console) -> dict[str, Row]:
    """The rows by name; one that breaks says why and costs the others nothing."""
    rows = {}
    with contextlib.ExitStack() as stack:
        stand = Stand(scale, stack, lambda step: console.print(f"[dim]  {step}[/dim]"))
        for name in (name for name in ROWS if name in wanted):
            console.print(f"{name} …")
            began = time.monotonic()
            try:
                rows[name] = ROWS[name](stand)
            except Exception as error:  # noqa: BLE001 - the outermost loop of this program
                rows[name] = Row(name, reason=_why(error))
            console.print(f"  {_sentence(rows[name])} [dim]{time.monotonic() - began:.0f} s[/dim]")
    return rows


def table(rows: Mapping[str, Row], scale: Scale) -> Table:
    """All rows, in the order of the bars."""
    heads = ("row", "size", "figure", "ceiling", "ratio", "bar", "")
    shown = Table(*heads, title=f"bench, {scale.name}")
    for name in BARS:
        if name in rows:
            shown.add_row(*plots.cells(rows[name]))
    return shown


def _why(error: Exception) -> str:
    return f"not measured: {str(error) or type(error).__name__}"


def _sentence(row: Row) -> str:
    _name, _size, figure, ceiling, ratio, bar, verdict = plots.cells(row)
    against = f", ceiling {ceiling}, ratio {ratio}" if ceiling else ""
    return f"{figure}{against} (bar {bar}) {verdict}"


def _wanted(environ: Mapping[str, str]) -> list[str]:
    asked = environ.get("ONLY", "").replace(" ", "")
    return asked.split(",") if asked else list(ROWS)


def _write(rows: list[Row]) -> None:
    folder = ROOT / "build"
    folder.mkdir(exist_ok=True)
    found = [row.as_json() for row in rows]
    (folder / "bench.json").write_text(json.dumps(found, indent=1) + "\n")


def _end(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
