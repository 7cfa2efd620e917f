"""How a line will move if all goes on as it does: as a fluid that flows through the gate.

People flow in at the rate while there are seats, and then as seats come back; cohorts that are
open and have people waiting share the flow by weight, within their quotas. With `a` people ahead
of somebody, a' = -(1 - front) * flow - leaving * a: some who are let in came back to the front and
count for nothing, and some of those ahead leave. Multiplied by exp(leaving * t) the sum of the
flow is one curve for everybody in the line, whatever their place (the fluid limit of a queue with
abandonment: Whitt, "Fluid models for multiserver queues with abandonments", 2006).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

HOUR = 3600.0
SOON = HOUR / 2  # for so long the pace of now is believed in, then that of the last hour
DOUBLES = 3 * HOUR  # in which a pace doubles that the product's health lets grow
HORIZON = 400 * 24 * HOUR  # nobody is told of a wait that is longer
SHORTEST = 1.0  # seconds of a step, at least
FINELY = 96 * HOUR  # seats that come back are told by the hour for so long, then by six
ALWAYS = ((0.0, math.inf),)
FEW = 1e-6
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
    coming_back: Seats = ()  # of the seats that are held now
    no_show: float = 0.0  # of those who are invited from now on, the share whose seat comes back
    back_after: float = 72.5 * HOUR  # from being let in until then
    leaving: float = 0.0  # of those who wait, the share who leave in an hour
    front: float = 0.0  # of those let in, the share who had come back to the front


@dataclass(frozen=True)
class Course:
    """How many people a line will have let by, at rising times; straight between two of them."""

    times: Sequence[float]
    people: Sequence[float]

    def when(self, people: float) -> float | None:
        """The second at which so many will be through; None if that isn't to be expected."""
        nth = bisect_left(self.people, people)
        if nth == len(self.people):
            return None
        if nth == 0:
            return self.times[0]
        begin, end = self.people[nth - 1], self.people[nth]
        part = (people - begin) / (end - begin)
        return self.times[nth - 1] + part * (self.times[nth] - self.times[nth - 1])


class OpenTime:
    """The time in which a cohort is open, told apart from that of the clock."""

    def __init__(self, spans: Sequence[Span]) -> None:
        to_come = [(max(begin, 0.0), end) for begin, end in spans if end > 0] or ALWAYS
        self._begins = [begin for begin, _ in to_come]
        lengths = [end - begin for begin, end in to_come]
        self._before = [0.0, *accumulate(lengths[:-1])]  # each span

    def until(self, at: float) -> float:
        """How much of it there is until `at`."""
        nth = max(0, bisect_right(self._begins, at) - 1)
        last = self._before[nth + 1] if nth + 1 < len(self._before) else math.inf
        return min(self._before[nth] + max(0.0, at - self._begins[nth]), last)

    def after(self, so_much: float) -> float:
        """When so much of it will be over."""
        nth = bisect_right(self._before, so_much) - 1
        return self._begins[nth] + so_much - self._before[nth]


def course(gate: Gate, own: Contender, others: Sequence[Contender]) -> Course | None:
    """How the line of `own` will move; None if nobody is let in at all."""
    if gate.rate <= 0 or min(gate.pace_now, gate.pace_lately) <= 0 or not own.spans:
        return None
    flow = _Flow(gate, own, others)
    times, people = [0.0], [0.0]
    for at, passed in flow.steps():
        if len(people) > 1 and passed == people[-1] == people[-2]:
            times[-1] = at  # it still stands still
        else:
            times.append(at)
            people.append(passed)
    return Course(times, people)


class _Flow:
    """The gate's near future, step by step, from one change of the flow to the next."""

    def __init__(self, gate: Gate, own: Contender, others: Sequence[Contender]) -> None:
        self._gate = gate
        self._all = [own, *others]
        self._waiting = [math.inf, *(other.waiting for other in others)]
        self._room = [one.room for one in self._all]
        self._back = list(gate.coming_back)  # by the hour, and more while it flows
        self._enough = own.waiting + 1_000 + own.waiting / 10
        self._free, self._at = gate.free, 0.0

    def steps(self) -> Iterator[tuple[float, float]]:
        """The end of each step, and how many of the own cohort's line will be through by then."""
        passed = 0.0
        while self._at < HORIZON and passed < self._enough and self._anything_left():
            flows = self._flows()
            end = self._end(flows)
            middle = (self._at + end) / 2
            grown = math.exp(min(self._gate.leaving * middle / HOUR, MOST_GROWN))
            weight = (1 - self._gate.front) * grown
            passed += weight * flows[0] * (end - self._at)
            self._advance(flows, end)
            yield end, passed

    def _anything_left(self) -> bool:
        """Whether there is a seat, or one can still be expected to come back."""
        return self._free >= 1 or sum(self._back[int(self._at / HOUR) :]) >= LEAST

    def _flows(self) -> list[float]:
        """People a second of each cohort, from now on."""
        total = self._gate.rate * self._pace() / HOUR
        if self._free < 1:
            total = min(total, self._coming_back())
        flows = [0.0] * len(self._all)
        able = {n: self._bound(n) for n, one in enumerate(self._all) if self._open(one)}
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
            return gate.pace_now
        return max(gate.pace_lately, min(gate.pace_limit, gate.pace_lately * self._growth()))

    def _growth(self) -> float:
        return float(2 ** min(self._at / DOUBLES, MOST_GROWN))

    def _bound(self, n: int) -> float:
        """How many people a second a cohort can use at most, from now on."""
        one = self._all[n]
        by_quota = math.inf if self._room[n] >= 1 else self._coming_back() * one.part
        return min(by_quota, math.inf if self._waiting[n] > FEW else one.arriving / HOUR)

    def _open(self, one: Contender) -> bool:
        nth = bisect_right(one.spans, (self._at, math.inf)) - 1
        return nth >= 0 and self._at < one.spans[nth][1]

    def _coming_back(self) -> float:
        """Seats a second that come back until the end of this hour or six."""
        so_long = self._to_next_hours()
        return _between(self._back, self._at, self._at + so_long) / so_long

    def _end(self, flows: Sequence[float]) -> float:
        """When a flow changes: a line is empty, a quota or the seats are used, a cohort opens."""
        total = sum(flows)
        ends = [HORIZON - self._at, STRAIGHT * HOUR / max(self._gate.leaving, FEW)]
        if self._at < SOON:
            ends.append(SOON - self._at)
        elif self._gate.pace_lately * self._growth() < self._gate.pace_limit:
            ends.append(HOUR)
        if total > 0 and self._free >= 1:
            ends.append(self._free / total)
        elif self._free < 1:
            ends.append(self._to_next_hours())
        for n, flow in enumerate(flows):
            if flow > 0:
                shrinking = flow - self._all[n].arriving / HOUR
                if self._waiting[n] > FEW and shrinking > 0:
                    ends.append(self._waiting[n] / shrinking)
                ends.append(self._room[n] / flow if self._room[n] >= 1 else self._to_next_hours())
            ends.append(self._to_edge(self._all[n]))
        return self._at + max(SHORTEST, min(ends))

    def _to_next_hours(self) -> float:
        width = HOUR if self._at < FINELY else 6 * HOUR
        return (int(self._at / width) + 1) * width - self._at

    def _to_edge(self, one: Contender) -> float:
        nth = max(0, bisect_right(one.spans, (self._at, math.inf)) - 1)
        edges = (edge for span in one.spans[nth : nth + 2] for edge in span)
        return next((edge - self._at for edge in edges if edge > self._at), math.inf)

    def _advance(self, flows: Sequence[float], end: float) -> None:
        """Go on to `end`: seats that were taken are used, and some of them come back later."""
        length, back = end - self._at, _between(self._back, self._at, end)
        for n, (one, flow) in enumerate(zip(self._all, flows, strict=True)):
            self._room[n] += back * one.part - flow * length
            came = one.arriving / HOUR * length
            self._waiting[n] = max(0.0, self._waiting[n] + came - flow * length)
        people = sum(flows) * length
        self._free = max(0.0, self._free + back - people)
        if lost := people * self._gate.no_show:
            _spread(self._back, lost, self._at + self._gate.back_after, length)
        self._at = end


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
