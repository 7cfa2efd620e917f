"""The rows of the line: cost by its length, rebuilding, admitting, importing, memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from tests.bench import ceilings, people, wrk
from tests.bench.bars import Pair, Row, alone, compared, interleaved
from tests.bench.service import Service, service
from tests.bench.stand import Stand

BOUND = ("join", "place", "admission")  # the bar is about these
WAVE = 1_000  # people of the admission whose cost must be flat
LEAVERS = 1_500  # at most, in a run
FIRST = datetime(2026, 1, 1, tzinfo=UTC)

Costs = dict[str, dict[int, list[float]]]


def flat(stand: Stand) -> Row:
    """What costs most more at the longest line than at the shortest, one request at a time."""
    sizes, drawn = stand.scale.sizes, stand.scale.is_drawn
    costs: Costs = {
        what: {size: [] for size in sizes} for what in (*BOUND, *(["leaving"] if drawn else []))
    }
    leavers = {size: _leavers(stand, size) if drawn else [] for size in sizes}
    for run in range(stand.scale.runs):
        for size in sizes:
            theirs = leavers[size][run * LEAVERS : (run + 1) * LEAVERS]
            for what, cost in _costs(stand, stand.at(size), theirs).items():
                costs[what][size].append(cost)
    curve = {what: {size: median(at[size]) for size in sizes} for what, at in costs.items()}
    worst = max(BOUND, key=lambda what: curve[what][sizes[-1]] / curve[what][sizes[0]])
    pairs = [
        Pair(long, short)
        for long, short in zip(costs[worst][sizes[-1]], costs[worst][sizes[0]], strict=True)
    ]
    return compared("flat", pairs, size=sizes[-1], worst=worst, curve=curve)


def _costs(stand: Stand, one: Service, leavers: Sequence[str]) -> dict[str, float]:
    """Milliseconds of each at this size."""
    seconds = max(0.6, stand.scale.seconds / 2)
    lines = [f'POST\t{path}\t{{"word": "LEAVE"}}' for path in leavers]
    folder = stand.folder
    costs = {
        "join": wrk.join(one.url, connections=1, seconds=seconds).p50,
        "place": wrk.get(one.url, one.places(), folder, connections=1, seconds=seconds).p50,
        "admission": 1000 * one.inside("admit", WAVE).seconds,
    }
    if lines:
        left = wrk.ask(one.url, lines, folder, connections=1, seconds=seconds)
        costs["leaving"] = left.p50
    return costs


def _leavers(stand: Stand, size: int) -> list[str]:
    """Paths by which people at the end of the line may leave, enough for all runs."""
    one, wanted = stand.at(size), stand.scale.runs * LEAVERS
    people.let_leave(one.engine, wanted)
    return one.paths("leavers", wanted)


def rebuild(stand: Stand) -> Row:
    """Entries a second from SQL to the line."""
    big = stand.big

    def run() -> float:
        done = big.inside("rebuild")
        return done.found / done.seconds

    pairs = interleaved(stand.scale.runs, run, lambda: ceilings.zadd(big.redis, big.people))
    return compared("rebuild", pairs, size=big.people)


def admit(stand: Stand) -> Row:
    """People a second of a wave."""
    big, wave = stand.big, stand.scale.wave

    def run() -> float:
        big.inside("ready")  # the bare statements left notes, which aren't this wave's to work off
        done = big.inside("admit", wave)
        return done.found / done.seconds

    pairs = interleaved(stand.scale.runs, run, lambda: ceilings.bare_wave(big.engine, wave))
    return compared("admit", pairs, size=big.people, wave=wave)


def memory(stand: Stand) -> Row:
    """Bytes of RSS a person in the line's server, and of SQL beside."""
    big = stand.big
    return alone(
        "memory",
        big.line_bytes / big.people,
        size=big.people,
        sql_bytes=big.sql_bytes / big.people,
    )


def import_(stand: Stand) -> Row:
    """Rows a second of a file into SQLite, into a line that grows by it."""
    rows, files = stand.scale.file_rows, iter(range(stand.scale.runs))
    path = stand.folder / "people.csv"
    with service(0, stand.mail_port, web=False) as one:
        start = one.flask("import", "--help")

        def run() -> float:
            _write_people(path, rows, f"run{next(files)}")
            return rows / (one.flask("import", str(path), "--cohort", "general") - start)

        def ceiling() -> float:
            done = one.inside("read", path)
            return done.found / done.seconds

        pairs = interleaved(stand.scale.runs, run, ceiling)
    return compared("import", pairs, size=rows)


def _write_people(path: Path, rows: int, word: str) -> None:
    with path.open("w") as file:
        file.write("Email,name,country,locale,platform,joined_at\n")
        for number in range(rows):
            at = (FIRST + timedelta(seconds=number)).isoformat()
            file.write(f"{word}.{number}@example.org,Person {number},FR,fr,ios,{at}\n")
