"""People who were asked by mail to do something: confirm their address, finish, come back.

They stand in pieces by when they were asked; each step, chance moves some of each on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from waitlist.rehearsal.arrays import Counts, Numbers


class Moved(NamedTuple):
    """Pieces of people: cohort, the slot in which they joined, steps since they were asked."""

    cohort: Counts
    slot: Counts
    age: Counts
    people: Counts

    def by_cohort(self, cohorts: int) -> Counts:
        """How many of each cohort."""
        return np.bincount(self.cohort, weights=self.people, minlength=cohorts).astype(np.int64)


class Asked:
    """Those of whom something was asked, the longest ago first."""

    def __init__(self, chances: Numbers) -> None:
        self.chances = chances  # by age, of doing it in that step
        self._rows = np.zeros((4, 1024), dtype=np.int64)  # since, cohort, slot, people
        self._first = self._end = 0

    def ask(self, since: int, cohort: int, slot: int, people: int) -> None:
        """So many are asked at the end of this step."""
        if self._end == self._rows.shape[1]:
            self._make_room()
        self._rows[:, self._end] = since, cohort, slot, people
        self._end += 1

    def move(self, step: int, rng: np.random.Generator) -> Moved:
        """Who does it in this step."""
        since, cohort, slot, people = self._standing()
        age = step - 1 - since
        here = (age >= 0) & (age < len(self.chances))
        moved = rng.binomial(people, np.where(here, self.chances[np.where(here, age, 0)], 0))
        people -= moved
        some = np.flatnonzero(moved)
        return Moved(cohort[some], slot[some], age[some], moved[some])

    def leave(self, step: int, after: int) -> Moved:
        """Who was asked so many steps ago or more, and is asked no longer."""
        since, cohort, slot, people = self._standing()
        over = int(np.searchsorted(since, step - 1 - after, side="right"))
        self._first += over
        return Moved(cohort[:over], slot[:over], step - 1 - since[:over], people[:over])

    def standing(self, step: int) -> Moved:
        """Everyone who hasn't done it."""
        since, cohort, slot, people = self._standing()
        return Moved(cohort, slot, step - 1 - since, people)

    def _standing(self) -> Counts:
        return self._rows[:, self._first : self._end]

    def _make_room(self) -> None:
        """Drop who is gone; grow only when more than half stand."""
        standing = self._standing()
        width = self._rows.shape[1] * (2 if standing.shape[1] * 2 > self._rows.shape[1] else 1)
        rows = np.zeros((4, width), dtype=np.int64)
        rows[:, : standing.shape[1]] = standing
        self._rows, self._first, self._end = rows, 0, standing.shape[1]
