"""A line: how many wait of those who joined in each slot of time, and who is watched there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from waitlist.rehearsal.arrays import Counts
from waitlist.rehearsal.record import Watched

IMPORT_SLOTS = 1_000  # before those of the steps: an import's people stand in them evenly
CAME_BACK = -1  # instead of the slot of those who have their old place again


class Line:
    """People who wait, first come first; before all stand those who come back late."""

    def __init__(self, slots: int) -> None:
        self.slots = np.zeros(slots, dtype=np.int64)
        self.back = 0  # who was invited, came late and has their old rank: they go first
        self.waiting = 0
        self.head = slots
        self.watched: dict[int, list[Watched]] = defaultdict(list)

    @classmethod
    def of(cls, imported: int, steps: int, rng: np.random.Generator) -> Line:
        """A line in which so many wait as the launch starts."""
        line = cls(IMPORT_SLOTS + steps)
        ends = np.arange(IMPORT_SLOTS + 1) * imported // IMPORT_SLOTS
        line.join(np.arange(IMPORT_SLOTS), np.diff(ends), rng)
        return line

    def join(self, slots: Counts, people: Counts, rng: np.random.Generator) -> None:
        """So many of those who joined in these slots stand in the line from now on."""
        came = int(people.sum())
        if not came:
            return
        for slot in self.watched.keys() & set(slots.tolist()):
            self._step_before(slot, int(people[slots == slot].sum()), rng)
        np.add.at(self.slots, slots, people)
        self.waiting += came
        self.head = min(self.head, int(slots[people > 0].min()))

    def come_back(self, people: int) -> None:
        """So many have their old place again."""
        self.back += people
        self.waiting += people

    def take(self, people: int, begin: float, end: float) -> Iterator[tuple[int, int]]:
        """Let in so many from the front, evenly in this time: each slot and how many of it."""
        self.waiting -= people
        seconds, each = begin, (end - begin) / people
        if first := min(self.back, people):
            self.back -= first
            people -= first
            seconds += first * each
            yield CAME_BACK, first
        while people:
            self._to_the_front()
            some = min(people, int(self.slots[self.head]))
            self.slots[self.head] -= some
            people -= some
            if self.head in self.watched:
                self._let_in(self.head, some, seconds, each)
            seconds += some * each
            yield self.head, some

    def leave(self, people: int, rng: np.random.Generator) -> int:
        """How many left, of so many who would: each stood anywhere."""
        if not people or self.waiting == self.back:
            return 0
        self._to_the_front()
        standing = self.slots[self.head :]
        ends = np.cumsum(standing)
        stood = np.searchsorted(ends, rng.integers(0, ends[-1], size=people), side="right")
        slots, numbers = np.unique(stood, return_counts=True)
        numbers = np.minimum(numbers, standing[slots])
        for slot, number in zip(slots + self.head, numbers, strict=True):
            if slot in self.watched:
                self._step_out(int(slot), int(number), rng)
        standing[slots] -= numbers
        left = int(numbers.sum())
        self.waiting -= left
        return left

    def pick(self, rng: np.random.Generator) -> tuple[int, int, int] | None:
        """Somebody who waits: their slot, how many of it stand before them, and how many in all."""
        in_slots = self.waiting - self.back
        if not in_slots:
            return None
        nth = int(rng.integers(in_slots))
        ends = np.cumsum(self.slots[self.head :])
        slot = int(np.searchsorted(ends, nth, side="right"))
        before = int(ends[slot - 1]) if slot else 0
        return slot + self.head, nth - before, nth + self.back

    def watch(self, slot: int, one: Watched) -> None:
        """Tell this person's wait from now on."""
        self.watched[slot].append(one)

    def _to_the_front(self) -> None:
        while not self.slots[self.head]:
            self.head += 1

    def _step_before(self, slot: int, people: int, rng: np.random.Generator) -> None:
        """Some of a slot's confirm later: each stands anywhere in it."""
        for one in self.watched[slot]:
            one.within += int(rng.binomial(people, (one.within + 1) / (self.slots[slot] + 1)))

    def _let_in(self, slot: int, people: int, seconds: float, each: float) -> None:
        still = []
        for one in self.watched.pop(slot):
            if one.within < people:
                one.admitted_at = seconds + (one.within + 1) * each
            else:
                one.within -= people
                still.append(one)
        if still:
            self.watched[slot] = still

    def _step_out(self, slot: int, people: int, rng: np.random.Generator) -> None:
        """Some of a slot leave: the watched stay, unless everyone goes."""
        here = int(self.slots[slot])
        if people >= here:
            for one in self.watched.pop(slot):
                one.left = True
            return
        for one in self.watched[slot]:
            behind = here - one.within - 1
            some = min(people, one.within + behind)
            one.within -= int(rng.hypergeometric(one.within, behind, some))
