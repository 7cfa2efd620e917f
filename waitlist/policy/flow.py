"""How the lines will move if all goes on as it does: as fluids that flow through the gate.

People flow in at the rate while there are seats, and then as seats come back; cohorts that are
open and have people waiting share the flow by weight, within their quotas. With `a` people ahead
of somebody, a' = -(1 - front) * flow - leaving * a: some who are let in came back to the front and
count for nothing, and some of those ahead leave. Multiplied by exp(leaving * t) the sum of the
flow is one curve for everybody in a line, whatever their place (the fluid limit of a queue with
abandonment: Whitt, "Fluid models for multiserver queues with abandonments", 2006).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

HOUR = 3600.0
DAY = 24 * HOUR
SOON = HOUR / 2  # for so long a pace that is slower now stays so; then that of the last hour counts
DOUBLES = 3 * HOUR  # in which a pace doubles that the product's health lets grow
HORIZON = 400 * DAY  # nobody is told of a wait that is longer
SHORTEST = 1.0  # seconds of a step, at least
FINELY = 96 * HOUR  # seats that come back are told by the hour for so long, then by six
ALWAYS = ((0.0, math.inf),)
FEW = 1e-6
MORE = 20  # people who may have come into a line since it was looked at, and a twentieth of it
STRAIGHT = 0.2  # so far the exponential is taken for a straight line
MOST_GROWN = 50.0  # then everybody ahead has left, and the number is still one
LEAST = 0.1  # seats: fewer aren't waited for

Seats = tuple[float, ...]  # how many are expected in each of the coming hours
Span = tuple[float, float]


@dataclass(frozen=True)
class Contender:
    """A cohort that shares the flow. `spans`: when it is open, in seconds from now, in order."""

    waiting: float
    weight: int = 1
    spans: tuple[Span, ...] = ALWAYS
    room: float = math.inf  # what its quota leaves
    part: float = 0.0  # of all seats that come back, those that are of its quota
    arriving: float = 0.0  # people an hour who come into its line


@dataclass(frozen=True)
class Gate:
    """What lets people in. A pace is the part of the rate that is kept."""

    rate: float  # people an hour by the settings; 0 while paused
    free: float  # seats
    pace_now: float = 1.0  # such as the health factor
    pace_lately: float = 1.0  # what was seen in the last hour
    pace_limit: float = 0.0  # to which it may grow from there, as the product's health allows
    mails: tuple[float, ...] = ()  # invitations that can go today, tomorrow, … and any later day
    day_ends: float = DAY  # seconds until tomorrow
    coming_back: Seats = ()  # of the seats that are held now
    no_show: float = 0.0  # of those who are invited from now on, the share whose seat comes back
    back_after: float = 72.5 * HOUR  # from being let in until then
    leaving: float = 0.0  # of those who wait, the share who leave in an hour
    front: float = 0.0  # of those let in, the share who had come back to the front


class Flow:
    """The gate's near future, step by step, from one change of the flow to the next."""

    def __init__(self, gate: Gate, contenders: Sequence[Contender]) -> None:
        self._gate, self._all = gate, contenders
        self._waiting = [one.waiting * 1.05 + MORE for one in contenders]
        self._room = [one.room for one in contenders]
        self._back = list(gate.coming_back)  # by the hour, and more while it flows
        self._free, self._at = gate.free, 0.0
        self._mails = [*gate.mails] or [math.inf]
        self._day_ends = gate.day_ends
        edges = {edge for one in contenders for span in one.spans for edge in span}
        self._edges = sorted(edge for edge in edges if 0 < edge < HORIZON)[::-1]
        self._open = self._opened()
        self._passed = [0.0 for _ in contenders]
        self._untold = {n for n, one in enumerate(contenders) if one.spans}

    def steps(self) -> Iterator[tuple[float, list[float]]]:
        """The end of each step, and how many of each line will be through by then."""
        while self._untold and self._at < HORIZON and self._expected() >= LEAST:
            flows = self._flows()
            end = self._end(flows)
            middle = (self._at + end) / 2
            grown = math.exp(min(self._gate.leaving * middle / HOUR, MOST_GROWN))
            weight = (1 - self._gate.front) * grown * (end - self._at)
            self._advance(flows, end)
            self._passed = [
                passed + weight * flow for passed, flow in zip(self._passed, flows, strict=True)
            ]
            self._untold = {n for n in self._untold if self._goes_on(n)}
            yield end, self._passed

    def _expected(self) -> float:
        """Seats: those that are free, and those that can still be expected to come back."""
        return int(self._free) + sum(self._back[int(self._at / HOUR) :])

    def _goes_on(self, n: int) -> bool:
        """Whether there is more to tell of a line."""
        one = self._all[n]
        is_over = self._passed[n] > one.waiting + 1 or self._waiting[n] <= FEW
        has_room = self._room[n] >= 1 or self._expected() * one.part >= LEAST
        return has_room and not is_over

    def _flows(self) -> list[float]:
        """People a second of each cohort, from now on."""
        total = self._gate.rate * self._pace() / HOUR if self._mails[0] >= 1 else 0.0
        if self._free < 1:
            total = min(total, self._coming_back())
        flows = [0.0] * len(self._all)
        able = {n: self._bound(n) for n in self._open}
        while able and total > 0:
            part = total / sum(self._all[n].weight for n in able)
            bound = [n for n, most in able.items() if most < part * self._all[n].weight]
            for n in bound or able:
                flows[n] = able[n] if bound else part * self._all[n].weight
            total -= sum(flows[n] for n in bound)
            able = {n: most for n, most in able.items() if bound and n not in bound}
        return flows

    def _pace(self) -> float:
        gate = self._gate
        if self._at < SOON:
            return min(gate.pace_now, gate.pace_lately)
        return max(gate.pace_lately, min(gate.pace_limit, gate.pace_lately * self._growth()))

    def _growth(self) -> float:
        return float(2 ** min(self._at / DOUBLES, MOST_GROWN))

    def _bound(self, n: int) -> float:
        """How many people a second a cohort can use at most, from now on."""
        one = self._all[n]
        by_quota = math.inf if self._room[n] >= 1 else self._coming_back() * one.part
        as_they_come = one.arriving / HOUR / (1 - self._gate.front)
        return min(by_quota, math.inf if self._waiting[n] > FEW else as_they_come)

    def _opened(self) -> list[int]:
        return [n for n, one in enumerate(self._all) if _holds(one.spans, self._at)]

    def _coming_back(self) -> float:
        """Seats a second that come back until the end of this hour or six."""
        so_long = self._to_next_hours()
        return _between(self._back, self._at, self._at + so_long) / so_long

    def _end(self, flows: Sequence[float]) -> float:
        """When a flow changes: a line is empty, a quota or the seats are used, a cohort opens."""
        gate, total = self._gate, sum(flows)
        ends = [HORIZON - self._at, STRAIGHT * HOUR / max(gate.leaving, FEW)]
        if self._edges:
            ends.append(self._edges[-1] - self._at)
        if gate.mails:
            ends.append(self._day_ends - self._at)
        if self._at < SOON:
            ends.append(SOON - self._at)
        elif gate.pace_lately * self._growth() < gate.pace_limit:
            ends.append(HOUR)
        if self._free < 1 and self._open:
            ends.append(self._to_next_hours())
        if total > 0:
            ends.append(self._free / total if self._free >= 1 else math.inf)
            ends.append(self._mails[0] / total)
            ends += self._runs_out(flows)
        return self._at + max(SHORTEST, min(ends))

    def _runs_out(self, flows: Sequence[float]) -> Iterator[float]:
        """Seconds until a line is empty, or a quota used."""
        for n, flow in enumerate(flows):
            losing = self._losing(n, flow) + self._gate.leaving / HOUR * self._waiting[n] / 2
            if flow > 0 and self._room[n] < math.inf:
                yield self._room[n] / flow if self._room[n] >= 1 else self._to_next_hours()
            if losing > 0 and self._waiting[n] > FEW:
                yield self._waiting[n] / losing

    def _losing(self, n: int, flow: float) -> float:
        """People a second who are let in of a line, but for those who come into it."""
        return (1 - self._gate.front) * flow - self._all[n].arriving / HOUR

    def _to_next_hours(self) -> float:
        width = HOUR if self._at < FINELY else 6 * HOUR
        return (int(self._at / width) + 1) * width - self._at

    def _advance(self, flows: Sequence[float], end: float) -> None:
        """Go on to `end`: seats that were taken are used, and some of them come back later."""
        length, back = end - self._at, _between(self._back, self._at, end)
        stay = math.exp(-self._gate.leaving * length / HOUR)
        for n, (one, flow) in enumerate(zip(self._all, flows, strict=True)):
            self._room[n] += back * one.part - flow * length
            lost = self._losing(n, flow) * length * (1 + stay) / 2
            self._waiting[n] = max(0.0, self._waiting[n] * stay - lost)
        people = sum(flows) * length
        self._free = max(0.0, self._free + back - people)
        self._mails[0] -= people
        if again := people * self._gate.no_show:
            _spread(self._back, again, self._at + self._gate.back_after, length)
        self._at = end
        self._turn()

    def _turn(self) -> None:
        """A cohort opens or closes, a day ends, if it is time."""
        if self._edges and self._edges[-1] <= self._at:
            while self._edges and self._edges[-1] <= self._at:
                self._edges.pop()
            self._open = self._opened()
        if self._gate.mails and self._day_ends <= self._at:
            self._day_ends += DAY
            self._mails = self._mails[1:] or [self._gate.mails[-1]]


def _holds(spans: Sequence[Span], at: float) -> bool:
    nth = bisect_right(spans, (at, math.inf)) - 1
    return nth >= 0 and at < spans[nth][1]


def _between(hours: Sequence[float], begin: float, end: float) -> float:
    """The sum of what is expected between two times."""
    first, last = int(begin / HOUR), min(int(end / HOUR), len(hours) - 1)
    return sum(
        hours[hour] * (min(end, (hour + 1) * HOUR) - max(begin, hour * HOUR)) / HOUR
        for hour in range(first, last + 1)
    )


def _spread(hours: list[float], amount: float, begin: float, length: float) -> None:
    """Expect so much more, evenly from `begin` on for so long."""
    first, last = int(begin / HOUR), int((begin + length) / HOUR)
    hours.extend([0.0] * (last + 1 - len(hours)))
    for hour in range(first, last + 1):
        part = min(begin + length, (hour + 1) * HOUR) - max(begin, hour * HOUR)
        hours[hour] += amount * part / length
