"""What the flow through the gate foretells of every place in a line."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from waitlist.policy.flow import Contender, Flow, Gate, Span

ALWAYS = ((0.0, math.inf),)


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


def courses(gate: Gate, contenders: Sequence[Contender]) -> list[Course]:
    """How each of these lines will move."""
    times = [0.0]
    people = [[0.0] for _ in contenders]
    if gate.rate > 0 and min(gate.pace_now, gate.pace_lately) > 0:
        for at, passed in Flow(gate, contenders).steps():
            times.append(at)
            for sums, so_many in zip(people, passed, strict=True):
                sums.append(so_many)
    return [Course(times, sums) for sums in people]
