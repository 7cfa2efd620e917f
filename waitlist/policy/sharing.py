"""How a budget is shared among cohorts.

By the largest remainder (Hamilton, 1792; Balinski and Young, "Fair Representation", 1982): each
gets the whole seats of its part by weight, and those that are left go to the largest
remainders. What a cohort's remainder lacks or has too much is its credit at the next sharing,
so that a budget of a single seat is shared rightly too, over time. Knows no Flask and no SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Claim:
    """What a cohort brings to the sharing of a budget. `room` is what its quota leaves."""

    weight: int
    waiting: int
    credit: float = 0.0
    room: int | None = None

    @property
    def most(self) -> int:
        """How many it could use."""
        return self.waiting if self.room is None else max(0, min(self.waiting, self.room))


class Shares(NamedTuple):
    """How many each cohort gets, and the credit that it takes to the next sharing."""

    people: dict[int, int]
    credit: dict[int, float]


def shares(budget: int, claims: Mapping[int, Claim]) -> Shares:
    """The budget shared among cohorts by weight; what one can't use is lent to the others.

    It takes as long for a million seats as for one.
    """
    people, sharing, left = _lend(budget, claims)
    credit = {name: claim.credit for name, claim in claims.items()}
    total = sum(claims[name].weight for name in sharing)
    for name in sharing:
        people[name], remainder = divmod(left * claims[name].weight, total)
        credit[name] += remainder / total
    for _ in range(left - sum(people[name] for name in sharing)):  # fewer than there are cohorts
        able = [name for name in sharing if people[name] < claims[name].most]
        neediest = max(able, key=lambda name: credit[name])
        people[neediest] += 1
        credit[neediest] -= 1
    for name, claim in claims.items():
        if people[name] == claim.most:  # who is full saves nothing up, but owes what they owe
            credit[name] = min(credit[name], 0.0)
    return Shares(people, credit)


def _lend(budget: int, claims: Mapping[int, Claim]) -> tuple[dict[int, int], list[int], int]:
    """Who is full with what they can use; who shares the rest by weight; and the rest.

    The first to be full is who can use least for its weight, and what it leaves makes the parts
    of the others larger.
    """
    people = dict.fromkeys(claims, 0)
    total = sum(claim.weight for claim in claims.values())
    sharing = sorted(claims, key=lambda name: -claims[name].most / claims[name].weight)
    while sharing:
        claim = claims[sharing[-1]]
        if claim.most * total > budget * claim.weight:
            return people, sorted(sharing), budget
        people[sharing.pop()] = claim.most
        budget, total = budget - claim.most, total - claim.weight
    return people, [], 0
