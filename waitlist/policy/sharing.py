"""How a budget is shared among cohorts."""

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
    """How many each cohort gets, its credit for the next sharing, and whose turn each seat is."""

    people: dict[int, int]
    credit: dict[int, float]
    turns: list[int]


def shares(budget: int, claims: Mapping[int, Claim]) -> Shares:
    """The budget shared among cohorts by weight; what one can't use is lent to the others.

    Smooth weighted round-robin (nginx, 2012): each seat credits every claimant its weight's
    share and goes to the one with most credit. The credit carried over keeps the shares
    right, and nobody starved, when a budget is a single seat; so sharing a budget in parts, one
    after the other, gives everybody the same turns as sharing it at once.
    """
    people = dict.fromkeys(claims, 0)
    credit = {name: claim.credit for name, claim in claims.items()}
    turns: list[int] = []
    while (left := budget - len(turns)) > 0:
        able = [name for name, claim in claims.items() if people[name] < claim.most]
        if len(able) < 2:  # whoever is alone gets all the rest, and no credit moves
            for name in able:
                rest = min(left, claims[name].most - people[name])
                people[name] += rest
                turns += [name] * rest
            break
        total = sum(claims[name].weight for name in able)
        for name in able:
            credit[name] += claims[name].weight / total
        winner = max(able, key=lambda name: credit[name])
        credit[winner] -= 1
        people[winner] += 1
        turns.append(winner)
    return Shares(people, credit, turns)
