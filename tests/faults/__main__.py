"""`make faults`: every fault of the matrix on both databases, and a table of what came of it.

`DATABASE` (sqlite, postgres) runs one of them, `ONLY` the faults whose names hold one of these
words (comma between), `LANES` says how many stands are broken at the same time on each.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from tests.faults.faults import BOTH, Fault, Result, play
from tests.faults.matrix import FAULTS
from tests.faults.parts import end_all
from tests.faults.stand import Stand, stand
from waitlist.config import ROOT

FILE = ROOT / "build" / "faults.json"
SAID = ROOT / "build" / "faults"  # what the processes said, where something went wrong
LANES = 2  # of each database: most of a fault is waiting
BOUND = 40 * 60.0  # seconds, after which nothing more is begun
WIDTH = 132  # of the table, where there is no terminal


class Job(NamedTuple):
    """A fault on a database, and its place in the table."""

    place: tuple[int, int]
    fault: Fault


def main() -> int:
    """Run what is asked for; status 1 if anything was lost, doubled, stuck, or didn't fire."""
    databases = [one for one in BOTH if os.environ.get("DATABASE", one) == one]
    words = [word.strip() for word in os.environ.get("ONLY", "").split(",") if word.strip()]
    faults = [one for one in FAULTS if not words or any(word in one.name for word in words)]
    if not databases or not faults:
        print("Nothing to run: DATABASE is sqlite or postgres, ONLY a part of a fault's name.")
        return 2
    began = time.monotonic()
    wanted = sum(len(set(fault.databases) & set(databases)) for fault in faults)
    results = run(faults, databases, until=began + BOUND)
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps([one.row() for one in results], indent=1) + "\n")
    show(results, minutes=(time.monotonic() - began) / 60)
    if len(results) < wanted:
        print(f"{wanted - len(results)} faults weren't tried.")
    is_good = len(results) == wanted and all(one.is_good for one in results)
    return 0 if is_good else 1


def run(faults: Sequence[Fault], databases: Sequence[str], *, until: float) -> list[Result]:
    """What came of these on each of the databases, in their order."""
    lanes = int(os.environ.get("LANES") or LANES)
    found: dict[tuple[int, int], Result] = {}
    threads = []
    for nth, database in enumerate(databases):
        jobs: queue.Queue[Job] = queue.Queue()
        for number, fault in enumerate(faults):
            if database in fault.databases:
                jobs.put(Job((number, nth), fault))
        one = (database, jobs, found, until)
        threads += [threading.Thread(target=_lane, args=one, daemon=True) for _ in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[place] for place in sorted(found)]


def _lane(
    database: str, jobs: queue.Queue[Job], found: dict[tuple[int, int], Result], until: float
) -> None:
    """One stand after the other: a new one where something went wrong on the last."""
    while not jobs.empty() and time.monotonic() < until:
        with stand(database) as one:
            while time.monotonic() < until and (job := _next(jobs)):
                result = found[job.place] = play(job.fault, one)
                _tell(result)
                if not result.is_good:
                    _keep_what_was_said(one, result)
                    break


def _next(jobs: queue.Queue[Job]) -> Job | None:
    try:
        return jobs.get_nowait()
    except queue.Empty:
        return None


def _tell(result: Result) -> None:
    mark = "ok " if result.is_good else "NOT"
    told = [f"{mark} {result.database:8} {result.fault} ({_seconds(result)})", *result.why]
    print("\n             ".join(told), flush=True)


def _keep_what_was_said(one: Stand, result: Result) -> None:
    """The last lines of each process, for whoever looks into it."""
    SAID.mkdir(parents=True, exist_ok=True)
    name = "-".join([*result.fault.replace("'", "").split(), result.database])
    said = [f"== {part.name}\n" + "\n".join(part.said) for part in one.parts.values()]
    (SAID / f"{name}.log").write_text("\n".join([*result.why, *said]) + "\n")


def show(results: Sequence[Result], *, minutes: float) -> None:
    """The table, and a line that sums it up."""
    table = Table("fault", "failpoint", "database", "fired", "lost", "doubled", "recovered")
    for one in results:
        numbers = "yes" if one.fired else "NO", str(one.lost), str(one.doubled), _seconds(one)
        style = None if one.is_good else "bold red"
        table.add_row(one.fault, one.failpoint or "", one.database, *numbers, style=style)
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
    took = [one.recovered_s for one in results if one.recovered_s is not None] or [0.0]
    sums = {
        "lost": sum(one.lost for one in results),
        "doubled": sum(one.doubled for one in results),
        "stuck": sum(one.recovered_s is None for one in results),
        "that didn't fire": sum(not one.fired for one in results),
        "wrong otherwise": sum(bool(one.why and not one.lost + one.doubled) for one in results),
    }
    told = ", ".join(f"{how_many} {what}" for what, how_many in sums.items())
    print(f"{len(results)} faults in {minutes:.1f} minutes: {told}.")
    print(f"Recovered after {statistics.median(took):.1f} s (median), {max(took):.1f} s (worst).")


def _seconds(result: Result) -> str:
    return "never" if result.recovered_s is None else f"{result.recovered_s:.1f} s"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        sys.exit(main())
    finally:
        end_all()
