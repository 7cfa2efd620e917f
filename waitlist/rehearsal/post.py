"""The mail that is owed: invitations go before confirmations, each kind in its order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import timedelta

import numpy as np

from waitlist.rehearsal.arrays import Counts
from waitlist.rehearsal.scenario import HOUR, Mail

Owed = tuple[int, int, int]  # cohort, slot in which they joined, people


class Post:
    """What is still to go, and how many may go in a step."""

    def __init__(self, mail: Mail, step: timedelta) -> None:
        self.a_step = mail.an_hour * (step / HOUR)
        self.silences = mail.silences
        self.allowance = 0.0
        self.invitations: deque[Owed] = deque()
        self.confirmations: deque[Owed] = deque()
        self.invitations_queued = 0

    def invite(self, cohort: int, people: int) -> None:
        """So many invitations are owed."""
        self.invitations.append((cohort, 0, people))
        self.invitations_queued += people

    def ask(self, cohort: int, slot: int, people: int) -> None:
        """So many confirmations are owed to those who joined in this slot."""
        self.confirmations.append((cohort, slot, people))

    def begin_step(self, at: timedelta) -> None:
        """What wasn't used is lost, but for the fraction of a mail."""
        silent = any(one.holds(at) for one in self.silences)
        self.allowance = 0.0 if silent else self.allowance % 1 + self.a_step

    def invitations_sent(self) -> Iterator[Owed]:
        """The invitations that go in this step."""
        for owed in self._sent(self.invitations):
            self.invitations_queued -= owed[2]
            yield owed

    def confirmations_sent(self) -> Iterator[Owed]:
        """The confirmations that go in this step."""
        return self._sent(self.confirmations)

    def _sent(self, queue: deque[Owed]) -> Iterator[Owed]:
        while queue and self.allowance >= 1:
            cohort, slot, people = queue.popleft()
            some = min(people, int(self.allowance))
            if some < people:
                queue.appendleft((cohort, slot, people - some))
            self.allowance -= some
            yield cohort, slot, some

    def owed(self, queue: deque[Owed], cohorts: int) -> Counts:
        """How many of a queue's mails are of each cohort."""
        found = np.zeros(cohorts, dtype=np.int64)
        for cohort, _, people in queue:
            found[cohort] += people
        return found
