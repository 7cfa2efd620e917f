"""The range around what was foretold, learned from how it came out.

Conformal prediction (Vovk, Gammerman and Shafer 2005; of ranges: Romano, Patterson and Candès
2019): the quantiles of log(waited / foretold) of those who were let in are the range of the next.
What is near in lead time counts more (Guan 2023), and what came out lately (Barber et al. 2023).
Whoever still waits has waited so long at least, and counts as that (Kaplan and Meier 1958): else
in the beginning only those would count who were quick. Where little is known a prior stands in.
And as the gate's world changes, the quantiles that are asked for move by how the ranges fared
that were told (Gibbs and Candès 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

STEADY = 30.0  # seconds added to both: nobody cares whether it takes one second or three
LEADS = 16  # lead times at which the spread is learned: 1 minute, 2, 4, … 23 days
RECENT = 300.0  # samples after which one counts a third; so it does a doubling of the lead time off
PRIOR_WEIGHT = 4.0  # of samples
MOST_WEIGHT = 15.0  # of all samples together: they are of one launch, and err together
PRIOR_WIDTHS = (0.35, 0.5)  # standard deviation for a minute's lead, and for two hours' and longer
PRIOR_POINTS = [NormalDist().inv_cdf((n + 0.5) / 21) for n in range(21)]
OUTSIDE = 0.1  # of those who are told a range, on either side of it
ADAPTING = 0.02  # how far one who was told a wrong range moves what is asked for
LEAST_OUTSIDE, MOST_OUTSIDE = 0.02, 0.2

Quantiles = tuple[float, float, float]


class Sample(NamedTuple):
    """What was foretold once, and how long it took, or has taken so far; in open seconds.

    `off` is -1 if it took less than the range that was told, 1 if more.
    """

    foretold: float
    waited: float
    is_over: bool
    off: int = 0


@dataclass(frozen=True)
class Spread:
    """The quantiles of log(waited / foretold) by lead time: 1 minute, 2, 4, …"""

    at: tuple[Quantiles, ...]

    def around(self, foretold: float) -> tuple[float, float, float]:
        """Seconds for the low end, the middle and the high end of the range."""
        lead = _lead(foretold)
        nth = min(int(lead), LEADS - 2)
        part, whole = lead - nth, foretold + STEADY
        low, middle, high = (
            max(0.0, whole * math.exp(a + part * (b - a)) - STEADY)
            for a, b in zip(self.at[nth], self.at[nth + 1], strict=True)
        )
        return low, middle, high


_Weighed = tuple[float, bool, float]  # a residual, whether it is over, its weight


class _Known(NamedTuple):
    residual: float
    is_over: bool
    lead: float
    weight: float


def learn(samples: Sequence[Sample]) -> Spread:
    """The spread as these samples teach it, the latest last."""
    wanted = _wanted(samples)
    known = [
        _Known(_residual(one), one.is_over, _lead(one.foretold), math.exp(-age / RECENT))
        for age, one in enumerate(reversed(samples))
    ]
    return Spread(tuple(_quantiles(known, lead, wanted) for lead in range(LEADS)))


def _wanted(samples: Sequence[Sample]) -> Quantiles:
    """Which quantiles to tell so that in the end one in ten is off on either side."""
    low = high = OUTSIDE
    for one in samples:
        if one.is_over:
            low = _bounded(low + ADAPTING * (OUTSIDE - (one.off < 0)))
            high = _bounded(high + ADAPTING * (OUTSIDE - (one.off > 0)))
    return low, 0.5, 1 - high


def _bounded(outside: float) -> float:
    return min(max(outside, LEAST_OUTSIDE), MOST_OUTSIDE)


def _residual(one: Sample) -> float:
    return math.log((one.waited + STEADY) / (one.foretold + STEADY))


def _lead(foretold: float) -> float:
    return min(max(math.log2(max(foretold, 1.0) / 60), 0.0), LEADS - 1.0)


def _quantiles(known: Sequence[_Known], lead: int, wanted: Quantiles) -> Quantiles:
    """The quantiles at a lead time. The prior lies around the middle of what was seen."""
    weights = [one.weight * math.exp(-abs(one.lead - lead)) for one in known]
    less = min(1.0, MOST_WEIGHT / max(sum(weights), 1.0))
    seen = [
        (one.residual, one.is_over, weight * less)
        for one, weight in zip(known, weights, strict=True)
    ]
    short, long = PRIOR_WIDTHS
    width = short + (long - short) * min(1.0, lead / 7)
    _, middle, _ = _of(seen + _prior(0.0, width), wanted)
    return _of(seen + _prior(middle, width), wanted)


def _prior(middle: float, width: float) -> list[_Weighed]:
    weight = PRIOR_WEIGHT / len(PRIOR_POINTS)
    return [(middle + point * width, True, weight) for point in PRIOR_POINTS]


def _of(residuals: list[_Weighed], wanted: Quantiles) -> Quantiles:
    """The quantiles by the estimator of Kaplan and Meier, with weights."""
    residuals.sort()
    at_risk, not_yet = sum(weight for _, _, weight in residuals), 1.0
    found: list[float] = []
    for residual, is_over, weight in residuals:
        if is_over:
            not_yet *= 1 - weight / at_risk
        at_risk = max(at_risk - weight, 1e-12)
        while len(found) < len(wanted) and 1 - not_yet >= wanted[len(found)]:
            found.append(residual)
    low, middle, high = (found + [residuals[-1][0]] * len(wanted))[: len(wanted)]
    return low, middle, high


PRIOR = learn(())
