"""Waves by hand: how many of one are due by its plan, and whose turn it is."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from waitlist.policy import deadlines, pace


class Plan(NamedTuple):
    """So many people from a time on, spread evenly over a while (zero: all at that time)."""

    asked: int
    starts_at: datetime
    over: timedelta


class Share(NamedTuple):
    """A cohort's share of a wave: how many have come in, and how many shall."""

    taken: int
    of: int


def due(plan: Plan, admitted: int, now: datetime) -> int:
    """How many more people the plan lets in by `now`; the last of them when its while is over."""
    if now < plan.starts_at:
        return 0
    by_now = plan.asked * (now - plan.starts_at) // plan.over if plan.over else plan.asked
    return max(0, min(by_now, plan.asked) - admitted)


def anchored(plan: Plan, admitted: int, now: datetime) -> Plan:
    """The plan, begun later by whatever time was missed beyond 5 seconds and one person's turn.

    So a wave that had to wait (pause, no seats, an outage, a clock that was set forward) ends
    later, at its own pace, and never makes up for it in a lump. A clock that was set back moves
    the plan back too.
    """
    if not plan.over or admitted >= plan.asked:
        return plan
    late = now - (plan.starts_at + plan.over * admitted / plan.asked)
    most = pace.ALLOWANCE_CAP + plan.over / plan.asked
    if late > most:
        return plan._replace(starts_at=plan.starts_at + (late - most))
    if admitted and late < -deadlines.OUTAGE:
        return plan._replace(starts_at=plan.starts_at + late)
    return plan


def turns(shares: Mapping[int, Share], most: int) -> list[int]:
    """Whose turn it is next, person by person: `most` turns, or all that are left of the shares.

    They are mixed evenly, so wherever a wave stops each cohort has had its part; and it is the
    same whether turns are taken one by one or a thousand at once.
    """
    in_order = heapq.merge(*(_turns_of(name, share) for name, share in shares.items()))
    return [name for _, name in islice(in_order, most)]


def still_hold(shares: Mapping[int, Share], able: Mapping[int, int], wanted: int) -> bool:
    """Whether these shares have so many left, and each cohort is able to fill what is its own.

    Else they are decided anew, for the whole rest of the wave.
    """
    left = {name: share.of - share.taken for name, share in shares.items()}
    filled = all(people <= able.get(name, 0) for name, people in left.items() if people)
    return filled and wanted <= sum(left.values())


def named_turns(cohorts: Sequence[int], room: Mapping[int, int | None], budget: int) -> list[int]:
    """Of people who were named, by their cohorts, those whose turn it is: in the list's order.

    Who finds the quota of their cohort used up (`room`; None: no quota) doesn't hold up the rest.
    """
    turns: list[int] = []
    taken: Counter[int] = Counter()
    for cohort in cohorts:
        room_left = room[cohort]
        if len(turns) < budget and (room_left is None or taken[cohort] < room_left):
            taken[cohort] += 1
            turns.append(cohort)
    return turns


def _turns_of(name: int, share: Share) -> Iterator[tuple[float, int]]:
    for nth in range(share.taken, share.of):
        yield (nth + 0.5) / share.of, name
