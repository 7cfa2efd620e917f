"""A line of a rehearsal: first come, first out, and who is watched keeps their place."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from waitlist.rehearsal.lines import CAME_BACK, Line
from waitlist.rehearsal.record import Watched

SLOTS = 6


class LineMachine(RuleBasedStateMachine):
    """Beside it stands a line of single people: their slots, the front first."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(1)
        self.line = Line(SLOTS)
        self.people: list[int] = []
        self.watched: list[tuple[int, Watched]] = []

    @rule(people=st.lists(st.integers(0, 9), min_size=SLOTS, max_size=SLOTS))
    def they_join(self, people: list[int]) -> None:
        self.line.join(np.arange(SLOTS), np.array(people), self.rng)
        self.people += [slot for slot, many in enumerate(people) for _ in range(many)]
        self.people.sort()

    @rule(people=st.integers(0, 9))
    def they_come_back(self, people: int) -> None:
        self.line.come_back(people)
        self.people = [CAME_BACK] * people + self.people

    @rule(share=st.floats(0, 1))
    def they_are_let_in(self, share: float) -> None:
        """P5, in a rehearsal."""
        many = round(share * len(self.people))
        if many:
            taken = list(self.line.take(many, begin=0.0, end=1.0))
            assert [slot for slot, some in taken for _ in range(some)] == self.people[:many]
            del self.people[:many]

    @rule(people=st.integers(0, 9))
    def they_leave(self, people: int) -> None:
        before = self.line.slots.copy()
        left = self.line.leave(people, self.rng)
        gone = before - self.line.slots
        assert gone.sum() == left <= people
        for slot, many in enumerate(gone.tolist()):
            for _ in range(many):
                self.people.remove(slot)

    @rule()
    def somebody_is_watched(self) -> None:
        found = self.line.pick(self.rng)
        if found is None:
            return
        slot, within, ahead = found
        assert self.people[ahead] == slot
        assert self.people.index(slot) + within == ahead
        one = Watched(0, at=0.0, ahead=ahead, within=within, settings=0)
        self.line.watch(slot, one)
        self.watched.append((slot, one))

    @invariant()
    def as_many_wait_as_there_are(self) -> None:
        assert self.line.waiting == len(self.people)
        assert self.line.slots.tolist() == [self.people.count(slot) for slot in range(SLOTS)]

    @invariant()
    def who_is_watched_stands_in_their_slot(self) -> None:
        for slot, one in self.watched:
            if one.admitted_at is None and not one.left:
                assert 0 <= one.within < self.line.slots[slot]


TestLine = LineMachine.TestCase
TestLine.settings = settings(deadline=None, max_examples=60, stateful_step_count=20)


def test_who_is_watched_comes_in_when_so_many_went_before_as_stood_there() -> None:
    rng, line = np.random.default_rng(1), Line(SLOTS)
    line.join(np.arange(SLOTS), np.full(SLOTS, 10), rng)
    found = line.pick(rng)
    assert found is not None
    slot, within, ahead = found
    one = Watched(0, at=0.0, ahead=ahead, within=within, settings=0)
    line.watch(slot, one)
    list(line.take(ahead, begin=0.0, end=ahead))
    assert one.admitted_at is None
    list(line.take(1, begin=ahead, end=ahead + 1.0))
    assert one.admitted_at == ahead + 1
