"""What a rehearsal's gate learns of its invitations: how many finish, and how soon."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from waitlist.policy import survival
from waitlist.policy.survival import Share, Span
from waitlist.rehearsal.arrays import Counts
from waitlist.rehearsal.asked import Asked, Moved

HOUR = timedelta(hours=1)


class Learned:
    """Counts by whole hours since the mail, and the curve that they teach."""

    def __init__(self, within: timedelta, step: timedelta) -> None:
        self.last = within // HOUR
        self.per_step = step / HOUR
        self.did = np.zeros(self.last + 1, dtype=np.int64)
        self.expired = 0
        self.curve: Sequence[Share] = survival.foreseen([], self.last)

    def note(self, finished: Moved) -> None:
        """So many finished."""
        np.add.at(self.did, self._hours(finished), finished.people)

    def open_by_age(self, invited: Asked, step: int) -> dict[int, int]:
        """How many open invitations are so many hours old."""
        standing = invited.standing(step)
        people = np.bincount(self._hours(standing), weights=standing.people)
        return {hour: int(count) for hour, count in enumerate(people.tolist()) if count}

    def learn(self, open_by_age: dict[int, int]) -> None:
        """Draw the curve anew."""
        gone = [open_by_age.get(hour, 0) for hour in range(self.last + 1)]
        gone[self.last] += self.expired
        spans = [Span(did, left) for did, left in zip(self.did.tolist(), gone, strict=True)]
        self.curve = survival.foreseen(spans, self.last)

    def _hours(self, moved: Moved) -> Counts:
        """How many whole hours ago they were asked."""
        return np.clip((moved.age * self.per_step).astype(np.int64), 0, self.last)
