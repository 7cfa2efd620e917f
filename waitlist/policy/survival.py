"""How long it takes people to do what they were asked to, and how many never do.

Kaplan and Meier, "Nonparametric estimation from incomplete observations" (1958): whoever hasn't
done it yet counts for as long as they could have. The bounds are of 95%, from Greenwood's
variance (1926) on the log-log scale (Kalbfleisch and Prentice, 1980), which keeps them between
0 and 1; where nobody or everybody did, the exact ones of a share. Knows no Flask and no SQL.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

TWO_SIDED = 0.025  # of the 5% outside the bounds, on either side
NORMAL = 1.959964  # standard deviations around the mean that hold 95%


class Span(NamedTuple):
    """What happened in one of many spans of equal length since people were asked."""

    did: int
    left: int  # who hasn't done it, and of whom is known only until here


class Share(NamedTuple):
    """A share of people, between 0 and 1, and its bounds."""

    of: float
    low: float
    high: float


NOTHING_KNOWN = Share(0.0, 0.0, 1.0)


def shares(spans: Sequence[Span]) -> list[Share]:
    """The share who have done it by the end of each span."""
    people = at_risk = sum(span.did + span.left for span in spans)
    not_yet, variance, found = 1.0, 0.0, list[Share]()
    for span in spans:
        if at_risk:
            not_yet *= 1 - span.did / at_risk
        if at_risk > span.did:
            variance += span.did / (at_risk * (at_risk - span.did))
        at_risk -= span.did + span.left
        found.append(_share(not_yet, variance, people))
    return found


def still_to_come(by_now: Share, in_the_end: Share) -> float:
    """Of those who haven't done it by now, the share who will."""
    if by_now.of >= 1:
        return 0.0
    return max(0.0, (in_the_end.of - by_now.of) / (1 - by_now.of))


def _share(not_yet: float, variance: float, people: int) -> Share:
    if not people:
        return NOTHING_KNOWN
    rare = 1 - TWO_SIDED ** (1 / people)  # the most that may be there, and none was seen
    if not_yet >= 1:
        return Share(0.0, 0.0, rare)
    if not_yet <= 0:
        return Share(1.0, 1 - rare, 1.0)
    width = math.exp(NORMAL * math.sqrt(variance) / -math.log(not_yet))
    return Share(1 - not_yet, 1 - not_yet ** (1 / width), 1 - not_yet**width)
