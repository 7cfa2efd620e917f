"""How long it takes people to do what they were asked to, and how many never do.

Kaplan and Meier, "Nonparametric estimation from incomplete observations" (1958): whoever hasn't
done it yet counts for as long as they could have. The bounds are of 95%, from Greenwood's
variance (1926) on the log-log scale (Kalbfleisch and Prentice, 1980), which keeps them between
0 and 1; where nobody or everybody did, the exact ones of a share. Knows no Flask and no SQL.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

TWO_SIDED = 0.025  # of the 5% outside the bounds, on either side
NORMAL = 1.959964  # standard deviations around the mean that hold 95%
FASTER = 2.0  # than of late: people may yet come at most; and more by far
NEW = 12.0  # spans: in fewer than half of it the pace may not have shown itself
FOLLOWED = 30  # people must have been seen for so long, or a tenth of those who may have been


class Span(NamedTuple):
    """What happened in one of many spans of equal length since people were asked."""

    did: int
    left: int  # who hasn't done it, and of whom is known only until here


class Share(NamedTuple):
    """A share of people, between 0 and 1, and its bounds."""

    of: float
    low: float
    high: float


class Coming(NamedTuple):
    """How many of those who were asked are expected to do it, or to run out of time, in a span."""

    did: float
    expired: float


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


def foreseen(spans: Sequence[Span], last: int) -> list[Share]:
    """The share by the end of each of `last` spans, also of those that nobody was followed to.

    Beyond what was seen of enough people the pace goes on as of late, or falls by that power of
    time by which it fell. By the lower bound nobody does it any more; by the upper one faster.
    """
    known = shares(spans)[: followed(spans, last)]
    if not known:
        return [NOTHING_KNOWN] * last
    end, pace, so_long = known[-1], _pace(spans, len(known)), 0.0
    faster, found = max(FASTER, NEW / len(known)), list(known)
    for span in range(len(known) + 1, last + 1):
        so_long += (span / pace.at) ** pace.power
        of = 1 - (1 - end.of) * math.exp(-pace.of * so_long)
        high = 1 - (1 - end.high) * math.exp(-faster * pace.high * so_long)
        found.append(Share(of, end.low, high))
    return found


def followed(spans: Sequence[Span], last: int) -> int:
    """To the end of how many spans, of the first `last`, enough people were followed.

    Where some have been asked for longer than others, the latter can't tell of what comes late.
    """
    people = at_risk = sum(span.did + span.left for span in spans)
    not_yet = 1.0
    for nth, span in enumerate(spans[:last]):
        if not_yet and at_risk < max(1, min(FOLLOWED, people * not_yet / 10)):
            return nth
        if at_risk:
            not_yet *= 1 - span.did / at_risk
        at_risk -= span.did + span.left
    return min(len(spans), last)


def coming(open_by_age: Mapping[int, float], by_then: Sequence[float], spans: int) -> list[Coming]:
    """Of open invitations, by their age in spans, what is expected in each of the coming spans.

    `by_then` are the shares who do it by the end of each span; with the last their time is over.
    """
    last, did, expired = len(by_then), [0.0] * spans, [0.0] * spans
    not_yet = [1.0, *(1 - share for share in by_then)]
    for age, people in open_by_age.items():
        if age >= last:
            expired[0] += people
            continue
        still = people / not_yet[age] if not_yet[age] else 0.0
        for nth in range(min(spans, last - age)):
            did[nth] += still * (not_yet[age + nth] - not_yet[age + nth + 1])
        if last - age <= spans:
            expired[last - age - 1] += still * not_yet[last]
    return [Coming(*span) for span in zip(did, expired, strict=True)]


class _Pace(NamedTuple):
    """Of those who haven't yet, the share who do it in a span: around a time, and how it falls."""

    of: float
    high: float
    at: float
    power: float = 0.0


def _pace(spans: Sequence[Span], until: int) -> _Pace:
    """The pace in the later half of these spans; falling, where surely slower than before."""
    at_risk = sum(span.did + span.left for span in spans)
    waited = list[float]()
    for span in spans[:until]:
        waited.append(at_risk - span.left / 2)  # as in a life table: some left early in it
        at_risk -= span.did + span.left
    quarter, half = until // 4, until // 2
    late = sum(span.did for span in spans[half:until])
    early = sum(span.did for span in spans[quarter:half])
    exposed = max(1, sum(waited[half:]))
    found = _Pace(late / exposed, _most(late) / exposed, (half + until) / 2)
    before = (early - NORMAL * math.sqrt(early)) / max(1, sum(waited[quarter:half]))
    if before <= found.high:
        return found
    fell = math.log(found.high / before) / math.log(2)  # from around 3/8 of the time to 3/4 of it
    return found._replace(power=max(-1.0, fell))


def _most(count: int) -> float:
    """The upper bound of what a Poisson count is a sample of."""
    return count + NORMAL * math.sqrt(count) - math.log(TWO_SIDED)


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
