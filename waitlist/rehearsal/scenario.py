"""What can be said of a launch. Times without a date are counted from its start.

The annotation of a field says what its value must be: `reading` holds TOML to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, NamedTuple


class Kind(NamedTuple):
    """What a value must be, in words, and its bounds."""

    words: str
    least: float = 0
    most: float = float("inf")


MOST_PEOPLE = 100_000_000
MOST_STEPS = 100_000
Share = Annotated[float, Kind("a share from 0 to 1", most=1)]
Count = Annotated[int, Kind(f"a whole number from 0 to {MOST_PEOPLE:,}", most=MOST_PEOPLE)]
Positive = Annotated[int, Kind(f"a whole number from 1 to {MOST_PEOPLE:,}", 1, MOST_PEOPLE)]
Number = Annotated[float, Kind("a number above 0", 1e-9)]
Duration = Annotated[timedelta, Kind('a time such as "90 s", "20 min", "2 h" or "3 d"')]
Span = Annotated[timedelta, Kind('a time above 0, such as "90 s", "20 min", "2 h" or "3 d"', 1e-3)]

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Cohort:
    """A line. `opens` None: never, unless the operator opens it."""

    name: str
    opens: Duration | None = timedelta()
    quota: Count | None = None
    weight: Positive = 1
    imported: Count = 0
    hours: str | None = None  # such as 09:00-21:00: the ticks admit only within these
    zone: str = "UTC"


@dataclass(frozen=True)
class Rule:
    """Who joins a cohort: whom all fits that is named here. The first rule that fits counts."""

    cohort: str
    country: str | None = None
    platform: str | None = None
    code: str | None = None


@dataclass(frozen=True)
class _Newcomers:
    """What is told of those who come: a cohort, or what the rules find theirs by."""

    cohort: str | None = None
    country: str | None = None
    platform: str | None = None
    code: str | None = None


@dataclass(frozen=True, kw_only=True)
class Steady(_Newcomers):
    """People who join evenly, so many an hour."""

    an_hour: Number
    since: Duration = timedelta()
    until: Duration | None = None


@dataclass(frozen=True, kw_only=True)
class Surge(_Newcomers):
    """A rush: it grows towards its peak and fades from there, both exponentially.

    In all come about `an_hour` times `rise` and `decay` together.
    """

    an_hour: Number  # at the peak
    peak: Duration
    decay: Span
    rise: Span = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class Recorded(_Newcomers):
    """Arrivals as they were: how many joined in each such span of time, one after the other."""

    people: tuple[Count, ...]
    every: Span
    since: Duration = timedelta()


Arrivals = Steady | Surge | Recorded


@dataclass(frozen=True)
class Gate:
    """The gate as the launch starts."""

    capacity: Count = 0
    rate: Count = 0
    paused: bool = False


@dataclass(frozen=True)
class Confirming:
    """Whether and when people press the link that confirms: log-normal after its mail."""

    share: Share = 0.85
    median: Span = timedelta(minutes=4)
    sigma: Number = 1.5
    within: Span = timedelta(hours=48)


@dataclass(frozen=True)
class Completing:
    """Whether and when those invited finish: log-normal after the invitation's mail."""

    share: Share = 0.7
    median: Span = timedelta(hours=3)
    sigma: Number = 1.4
    within: Span = timedelta(hours=72)
    renewing: Share = 0.1  # of those who were late
    renewing_median: Span = timedelta(hours=12)


@dataclass(frozen=True)
class Silence:
    """A time in which something doesn't answer: the mail server, the product's signal."""

    at: Duration
    lasts: Span

    def holds(self, at: timedelta) -> bool:
        """Whether it is silent at this time."""
        return self.at <= at < self.at + self.lasts


@dataclass(frozen=True)
class Mail:
    """How much mail may go, how long it is under way, and how much of it is refused."""

    a_minute: Positive = 6_000
    a_day: Positive | None = None
    warm_up: tuple[Positive, ...] = ()
    delay: Duration = timedelta(seconds=20)
    bounces: Share = 0.0  # refused for good
    refused: Share = 0.0  # for now: these invitations go again
    slow_at: Share = 0.02
    stop_at: Share = 0.05
    silences: tuple[Silence, ...] = ()


@dataclass(frozen=True)
class Product:
    """What is behind the gate: so many active people make a load of 1, where it slows.

    Whoever registered is wholly active for `busy_for`, and by `residual` afterwards.
    """

    limit: Positive
    busy_for: Span = timedelta(hours=1)
    residual: Share = 0.1
    breaks_at: Number = 1.25  # the load at which nothing goes any more
    p95_ms: Number = 120.0  # when idle
    noise: Share = 0.02  # of a signal's figures, a standard deviation
    signal_every: Span = MINUTE
    silences: tuple[Silence, ...] = ()
    target: Share = 0.8  # the load that the gate aims at
    slow_ms: Number | None = None  # the p95 that it doesn't want to pass
    stale: Span = timedelta(minutes=5)  # a signal that is older holds the gate


@dataclass(frozen=True)
class Action:
    """What an operator does at a time."""

    at: Duration
    do: Literal["pause", "resume", "open", "close", "halt", "accept-bounces"] | None = None
    capacity: Count | None = None
    rate: Count | None = None
    wave: Positive | None = None
    over: Span | None = None  # the time over which the wave is spread
    cohort: str | None = None  # of the wave, or to open or close
    joining: Literal["open", "closed"] | None = None
    ignore_health: Span | None = None
    limit: Positive | None = None  # of the product, which was given more machines


@dataclass(frozen=True)
class Joining:
    """What the service answers of those who join; the others' pages try again."""

    a_second: Positive = 10_000
    again: Share = 0.9  # of those turned away, who come back
    leave_a_day: Share = 0.002  # of those who wait


@dataclass(frozen=True)
class Scenario:
    """A launch."""

    name: str
    duration: Span
    cohorts: tuple[Cohort, ...] = (Cohort("general"),)
    rules: tuple[Rule, ...] = ()
    arrivals: tuple[Arrivals, ...] = ()
    gate: Gate = Gate()
    confirming: Confirming = Confirming()
    completing: Completing = Completing()
    joining: Joining = Joining()
    mail: Mail = Mail()
    product: Product | None = None
    operator: tuple[Action, ...] = ()
    title: str = ""
    starts: datetime = field(default=datetime(2027, 3, 1, 9, tzinfo=UTC))
    step: Span = MINUTE
    seed: Count = 1
    watched: Count = 400  # people who are picked from the line, to tell how long they waited

    @property
    def steps(self) -> int:
        """How many steps it takes."""
        return max(1, round(self.duration / self.step))
