"""The range around what was foretold, learned from how it came out.

Conformal prediction (Vovk, Gammerman and Shafer 2005; of ranges: Romano, Patterson and Candès
2019): the quantiles of log(waited / foretold) of those who were let in are the range of the next.
Near in lead time counts more (localized: Guan 2023), and what came out lately (Tibshirani et al.
2019, Barber et al. 2023). Whoever still waits has waited so long at least, and counts as that
(Kaplan and Meier 1958): else, in the beginning, only those would count who were quick. Where
little is known a prior stands in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

STEADY = 30.0  # seconds added to both: nobody cares whether it takes one second or three
LEADS = 16  # 1 minute, 2, 4, … 23 days
NEAR = 1.0  # doublings of the lead time after which a sample counts a third
RECENT = 300.0  # samples after which one counts a third
PRIOR_WEIGHT = 8.0  # of samples
PRIOR_WIDTH = 0.45  # standard deviation of log(waited / foretold)
WANTED = (0.1, 0.5, 0.9)
PRIOR_POINTS = [NormalDist(0, PRIOR_WIDTH).inv_cdf((n + 0.5) / 20) for n in range(20)]


class Sample(NamedTuple):
    """What was foretold once, and how long it took, or has taken so far; in open seconds."""

    foretold: float
    waited: float
    is_over: bool


@dataclass(frozen=True)
class Spread:
    """The quantiles of log(waited / foretold) by lead time: 1 minute, 2, 4, …"""

    at: tuple[tuple[float, float, float], ...]

    def around(self, foretold: float) -> tuple[float, float, float]:
        """The seconds in which one in ten, half, and nine in ten are let in."""
        lead = _lead(foretold)
        nth = min(int(lead), LEADS - 2)
        part = lead - nth
        low, middle, high = (
            max(0.0, (foretold + STEADY) * math.exp(a + part * (b - a)) - STEADY)
            for a, b in zip(self.at[nth], self.at[nth + 1], strict=True)
        )
        return low, middle, high


def learn(samples: Sequence[Sample]) -> Spread:
    """The spread as these samples teach it, the latest last."""
    newest = len(samples)
    known = [
        (_residual(one), one.is_over, _lead(one.foretold), math.exp((nth - newest) / RECENT))
        for nth, one in enumerate(samples)
    ]
    known += [(point, True, -1.0, PRIOR_WEIGHT / len(PRIOR_POINTS)) for point in PRIOR_POINTS]
    known.sort()
    return Spread(tuple(_quantiles(known, lead) for lead in range(LEADS)))


def _residual(one: Sample) -> float:
    return math.log((one.waited + STEADY) / (one.foretold + STEADY))


def _lead(foretold: float) -> float:
    return min(max(math.log2(max(foretold, 1.0) / 60), 0.0), LEADS - 1.0)


def _quantiles(
    known: Sequence[tuple[float, bool, float, float]], lead: float
) -> tuple[float, float, float]:
    weights = [
        weight if its_lead < 0 else weight * math.exp(-abs(its_lead - lead) / NEAR)
        for _, _, its_lead, weight in known
    ]
    at_risk, waiting = sum(weights), 1.0
    found: list[float] = []
    for (residual, is_over, _, _), weight in zip(known, weights, strict=True):
        if is_over:
            waiting *= 1 - weight / at_risk
        at_risk = max(at_risk - weight, 1e-12)
        while len(found) < len(WANTED) and 1 - waiting >= WANTED[len(found)]:
            found.append(residual)
    found += [known[-1][0]] * (len(WANTED) - len(found))
    return found[0], found[1], found[2]


PRIOR = learn(())
