"""How fast people may come, by what the product says of itself.

What is steered is how many completions an hour the product is trusted with. It doubles while the
load is far below its target, grows by equal steps near it, stays between two marks and falls by a
part above (additive increase, multiplicative decrease: Chiu and Jain, 1989; slow start: Jacobson,
1988). Who was invited comes hours later, so it grows only once people come who use what is trusted
already (RFC 7661), and no ticks admit while those who are invited will use it all. What the product
carries is measured too, by its load and the arrivals of the same hour, and bounds every step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from waitlist.policy import survival
from waitlist.policy.survival import Share

PERIOD = timedelta(hours=1)  # between two steps; arrivals are counted for as long
SMOOTHED = timedelta(minutes=30)  # the mean age of an hour's arrivals, and so of the load
AHEAD = 12  # hours to come that are looked at
FLOOR = 0.01  # of the rate: the factor never falls below
BEGIN = 0.1  # of the rate: the factor for a product of which nothing is known
STEP = 0.05  # of what the rate brings: an additive step
USED = 0.7  # of what is trusted must come before it grows
# Of the load to aim at:
SLOW_START = 0.5  # below, what is trusted may double
LOW = 0.85  # below, it may grow; from here to the target it stays as it is
DECREASED = 0.9  # where a decrease aims at
INCREASED = 0.95  # where an increase ends
SEEN_WELL = 0.1  # from here on what the product carries is known, before it was ever reached
LEAST = 0.02  # a load that is rounded to nothing isn't none
TIMES_OVER = 2.0  # the mark of the latency: from there on nobody is let in


class Marks(NamedTuple):
    """What an operator wants: the load to aim at, the latency not to pass, how old is too old."""

    load: float
    p95_ms: float | None
    stale: timedelta


class Signal(NamedTuple):
    """What the product said of itself, and when."""

    healthy: bool
    load: float | None
    p95_ms: float | None
    at: datetime


class Flow(NamedTuple):
    """How fast people are invited and come."""

    rate: int  # people an hour, as the operator set it
    arrivals: int  # completions of the last hour
    share: Share  # of those invited who finish in the end
    busiest: float  # completions in the busiest hour to come, of those who are invited already

    @property
    def careful(self) -> float:
        """How many an hour the rate brings, if as many finish as may be."""
        return self.rate * self.share.high


class Loop(NamedTuple):
    """What the loop remembers from step to step."""

    trusted: float  # completions an hour
    strain: float  # of late, smoothed
    seen_at: datetime
    stepped_at: datetime
    fell: bool = False  # at the last step
    slow_start: bool = True  # it never fell


def held(signal: Signal, marks: Marks, now: datetime) -> str:
    """The word for why nobody may be let in by this signal; empty if people may."""
    if abs(now - signal.at) > marks.stale:  # or of a clock that was set back since
        return "stale"
    if not signal.healthy:
        return "unhealthy"
    too_slow = marks.p95_ms and (signal.p95_ms or 0.0) >= TIMES_OVER * marks.p95_ms
    return "overload" if too_slow or (signal.load or 0.0) >= 1 else ""


def strain(signal: Signal, marks: Marks) -> float:
    """What the product carries, of what it should at most; 0 if it says nothing of it."""
    by_latency = (signal.p95_ms or 0.0) / marks.p95_ms if marks.p95_ms else 0.0
    return max((signal.load or 0.0) / marks.load, by_latency)


def flow(
    rate: int, arrivals: int, curve: Sequence[Share], open_by_age: Mapping[int, float]
) -> Flow:
    """The flow by what is foreseen (`survival.foreseen`) of invitations, open by hours of age."""
    at_most = [share.high for share in curve]
    coming = survival.coming(open_by_age, at_most, AHEAD)
    return Flow(rate, arrivals, curve[-1], max(hour.did for hour in coming))


def begin(signal: Signal, marks: Marks, flow: Flow, now: datetime) -> Loop:
    """The loop at the product's first signal: what comes already, or a little of the rate."""
    return Loop(max(BEGIN * flow.careful, flow.arrivals), strain(signal, marks), now, now)


def step(loop: Loop, signal: Signal, marks: Marks, flow: Flow, now: datetime) -> Loop:
    """The loop some time later, as the product said this last: each hour it may step.

    When the product fails it falls at once, unless it just did.
    """
    strained = strain(signal, marks)
    weight = math.exp(-max(now - loop.seen_at, timedelta()) / SMOOTHED)
    seen = loop._replace(strain=strained + (loop.strain - strained) * weight, seen_at=now)
    why = held(signal, marks, now)
    fails = why in ("unhealthy", "overload")
    if abs(now - loop.stepped_at) < PERIOD and not (fails and not loop.fell):
        return seen
    trusted = loop.trusted / 2 if why else _trusted(seen, strained, flow)
    fell = trusted < loop.trusted
    return seen._replace(
        trusted=max(trusted, FLOOR * flow.careful),
        stepped_at=now,
        fell=fell,
        slow_start=loop.slow_start and not fell,
    )


def factor(loop: Loop, flow: Flow) -> float:
    """The factor on the rate, from the floor to 1."""
    if not flow.careful:
        return 1.0
    return min(1.0, max(FLOOR, loop.trusted / flow.careful))


def is_full(loop: Loop, flow: Flow) -> bool:
    """Whether those who are invited will use, in some hour to come, all that is trusted."""
    return flow.busiest >= max(loop.trusted, FLOOR * flow.careful)


def holds_ticks(loop: Loop | None, signal: Signal, marks: Marks, flow: Flow, now: datetime) -> str:
    """The word for why no tick admits: by what the product says, or `full`; empty if they may."""
    full = "full" if loop is not None and is_full(loop, flow) else ""
    return held(signal, marks, now) or full


def _trusted(loop: Loop, strained: float, flow: Flow) -> float:
    """How many completions an hour the product is trusted with from now on."""
    now = loop.trusted
    seen = max(loop.strain, strained)
    carries = flow.arrivals / max(seen, LEAST)  # an hour, when it is at its target; as measured
    if loop.strain > 1:
        return min(DECREASED * now, max(now / 2, DECREASED * carries))
    if loop.slow_start and loop.strain >= SEEN_WELL and carries < now:
        return carries
    if seen >= LOW or not _came(now, flow):
        return now
    further = min(now + STEP * flow.careful, 2 * now, INCREASED * carries)
    if loop.slow_start or strained:
        further = max(further, min(2 * now, SLOW_START * carries))
    return max(now, further)


def _came(trusted: float, flow: Flow) -> bool:
    """Whether what is trusted is used, and those who are invited will hardly bring more.

    As far as can be told of so many.
    """
    surely = trusted * flow.share.low / flow.share.high
    came = flow.arrivals + 2 * math.sqrt(flow.arrivals)
    return came >= USED * max(surely, flow.busiest)
