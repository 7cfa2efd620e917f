"""The bars: what each row is held against, and what came of a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple


class Unmeasured(Exception):
    """A row couldn't be measured: tell the reason in its place."""


@dataclass(frozen=True)
class Bar:
    """`bar` and `stretch` hold the ratio to the ceiling; without a ceiling, the figure itself."""

    unit: str
    ceiling: str
    bar: float
    stretch: float
    at_most: bool = False  # else at least
    contains_ceiling: bool = False  # so it can't be faster: then something else was measured


UNSTEADY = 1.5  # greatest ceiling of a row by its least, from which on the machine was busy
HELLO = "Flask hello world"
BARS = {
    "join-sqlite": Bar("joins/s", HELLO, 0.7, 1.1),
    "join-postgres": Bar("joins/s", HELLO, 0.6, 1.0),
    "join-latency": Bar("ms p99", "p99 of hello world, same rate", 4, 2, at_most=True),
    "join-busy": Bar("joins/s", HELLO, 0.4, 0.6),
    "last-step-flood": Bar("ms p99", "p99 without the flood", 3, 1.5, at_most=True),
    "place": Bar("answers/s", HELLO, 0.8, 1.2),
    "line": Bar("answers/s", HELLO, 1.0, 2.0),
    "complete": Bar("completions/s", "argon2 hashes", 0.7, 0.9, contains_ceiling=True),
    "flat": Bar("ms", "the same at 10,000", 1.5, 1.2, at_most=True),
    "import": Bar("rows/s", "reading and validating", 0.5, 0.8, contains_ceiling=True),
    "rebuild": Bar("entries/s", "pipelined ZADD", 0.5, 0.8),
    "admit": Bar("people/s", "the bare SQL of it", 0.5, 0.8),
    "mail": Bar("mails/s", "smtplib, ready bytes", 0.6, 0.8),
    "memory": Bar("bytes", "", 110, 90, at_most=True),
    "overload": Bar("joins/s", "the peak", 0.8, 0.95),
    "page": Bar("bytes", "", 20_000, 8_000, at_most=True),
}


class Pair(NamedTuple):
    """One run of a row and the run of its ceiling beside it."""

    figure: float
    ceiling: float


@dataclass
class Row:
    """What came of a row; `figure` None and a reason if it couldn't be measured."""

    name: str
    size: int | None = None
    figure: float | None = None
    ceiling: float | None = None
    ratio: float | None = None
    holds: bool = False
    reaches_stretch: bool = False
    reason: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The row with its bar, as `build/bench.json` holds it."""
        bar = BARS[self.name]
        return {
            "name": self.name,
            "figure": self.figure,
            "unit": bar.unit,
            "ceiling": self.ceiling,
            "ratio": self.ratio,
            "bar": bar.bar,
            "holds": self.holds,
            "stretch": bar.stretch,
            "reaches_stretch": self.reaches_stretch,
            "ceiling_is": bar.ceiling,
            "size": self.size,
            "reason": self.reason,
            **self.more,
        }


def interleaved(runs: int, figure: Callable[[], float], ceiling: Callable[[], float]) -> list[Pair]:
    """So many runs of a row, each right before one of its ceiling."""
    return [Pair(figure(), ceiling()) for _ in range(runs)]


def compared(name: str, pairs: Sequence[Pair], *, size: int, unless: str = "", **more: Any) -> Row:
    """The row of these runs: medians, and their ratio. It doesn't hold if `unless` says why."""
    figure = median(pair.figure for pair in pairs)
    ceiling = median(pair.ceiling for pair in pairs)
    if not ceiling:
        raise Unmeasured("its ceiling was 0: nothing was answered in time, measure again")
    row = Row(name, size, figure, ceiling, figure / ceiling, more=more)
    row.more["runs"] = [pair._asdict() for pair in pairs]
    row.more["ceiling_spread"] = _spread([pair.ceiling for pair in pairs])
    if BARS[name].contains_ceiling and figure > ceiling:
        unless = unless or "faster than a part of itself: the machine was busy, measure again"
    return _judged(row, row.ratio, unless)


def alone(name: str, figure: float, *, size: int | None, **more: Any) -> Row:
    """The row of a figure that has no ceiling."""
    return _judged(Row(name, size, figure, more=more), figure, "")


def _spread(ceilings: Sequence[float]) -> float | None:
    return max(ceilings) / min(ceilings) if min(ceilings) else None


def _judged(row: Row, value: float | None, unless: str) -> Row:
    bar = BARS[row.name]
    row.reason = unless
    if value is not None and not unless:
        row.holds = value <= bar.bar if bar.at_most else value >= bar.bar
        row.reaches_stretch = value <= bar.stretch if bar.at_most else value >= bar.stretch
    return row
