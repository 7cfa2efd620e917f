"""The mail that is owed, and what goes of it: by the budgets and the verdict of the policy.

Nobody is mailed before their turn: invitations go before what else is owed, but for every tenth
turn; each kind goes in its order.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from waitlist.policy import bounces, mailing
from waitlist.policy.bounces import Limits, Outcomes
from waitlist.policy.mailing import Grant, Pace, Spent
from waitlist.rehearsal.arrays import Counts
from waitlist.rehearsal.scenario import Mail

Pieces = Counter[tuple[int, int]]
Owed = tuple[int, int, int]  # cohort, slot in which they joined, people
NO_COHORT = -1


@dataclass
class Letters:
    """Mails of one kind that are owed, the oldest first."""

    queue: deque[Owed] = field(default_factory=deque)
    owed: int = 0

    def add(self, cohort: int, slot: int, people: int) -> None:
        """So many people are owed one."""
        if people:
            self.queue.append((cohort, slot, people))
            self.owed += people

    def take(self, most: int) -> list[Owed]:
        """The oldest, so many at most."""
        taken = []
        while most and self.queue:
            cohort, slot, people = self.queue.popleft()
            some = min(people, most)
            if some < people:
                self.queue.appendleft((cohort, slot, people - some))
            most -= some
            self.owed -= some
            taken.append((cohort, slot, some))
        return taken

    def by_cohort(self, cohorts: int) -> Counts:
        """How many are owed to each cohort."""
        found = np.zeros(cohorts, dtype=np.int64)
        for cohort, _, people in self.queue:
            found[cohort] += people
        return found


@dataclass
class Sent:
    """What went in a step: how many of which cohort and slot got what, and what bounced."""

    invitations: Pieces = field(default_factory=Counter)
    confirmations: Pieces = field(default_factory=Counter)
    bounced_invitations: Pieces = field(default_factory=Counter)
    bounced_confirmations: Pieces = field(default_factory=Counter)
    mails: int = 0


class Post:
    """The mail worker."""

    def __init__(self, mail: Mail, rng: np.random.Generator) -> None:
        self.mail = mail
        self.rng = rng
        self.limits = Limits(mail.slow_at, mail.stop_at)
        self.spent = Spent()
        self.outcomes = Outcomes()
        self.is_slowed = self.is_stopped = False  # by bounces
        self.invitations, self.confirmations, self.others = Letters(), Letters(), Letters()

    @property
    def pace(self) -> Pace:
        """The budgets, as bounces leave them."""
        cost = bounces.SLOWED if self.is_slowed else 1
        return Pace(self.mail.a_minute, self.mail.a_day, self.mail.warm_up, cost)

    @property
    def owed(self) -> int:
        """How many mails are still to go."""
        return self.invitations.owed + self.confirmations.owed + self.others.owed

    def room(self, now: datetime) -> int:
        """How many more invitations can go soon."""
        if self.is_stopped:
            return 0
        spent = mailing.refilled(self.pace, self.spent, now)
        return max(0, mailing.within(self.pace, spent) - self.invitations.owed)

    def send(self, begins: datetime, step: timedelta) -> Sent:
        """What goes in this step."""
        sent = Sent()
        for look in range(max(1, step // mailing.AT_ONCE)):
            now = begins + look * mailing.AT_ONCE
            self.spent = mailing.refilled(self.pace, self.spent, now)
            self._look(sent, now)
            if not self.owed:
                break  # nothing is owed before the next step
        return sent

    def forgive(self) -> None:
        """Begin to count bounces anew: an operator has looked."""
        self.outcomes, self.is_slowed, self.is_stopped = Outcomes(), False, False

    def _look(self, sent: Sent, now: datetime) -> None:
        """Send what may go now, turn by turn, and learn how invitations fared."""
        tried, pace = Counter[str](), self.pace
        while self._turn(sent, tried, pace):
            pass
        if tried:
            self.outcomes = bounces.noted(self.outcomes, **tried, now=now)
            self.is_slowed = bounces.many(self.outcomes, self.limits)
            self.is_stopped |= bounces.too_many(self.outcomes, self.limits)

    def _turn(self, sent: Sent, tried: Counter[str], pace: Pace) -> int:
        """Send one turn's mails of one kind: how many, 0 if none may go now."""
        grant = mailing.grant(pace, self.spent)
        if self._invitations_next(grant):
            rest = self.confirmations.owed or self.others.owed
            most = min(grant.invitations, mailing.TURN) if rest else grant.invitations
            mails = self._invite(self.invitations.take(most), sent, tried)
            self.spent = mailing.spend(pace, self.spent, invitations=mails, others=0)
        else:
            rest = self.invitations.owed
            mails = self._others(min(grant.mails, mailing.TURN) if rest else grant.mails, sent)
            self.spent = mailing.spend(pace, self.spent, invitations=0, others=mails)
        sent.mails += mails
        return mails

    def _invitations_next(self, grant: Grant) -> bool:
        if not self.invitations.owed or not grant.invitations or self.is_stopped:
            return False
        return not (grant.asked_first and (self.confirmations.owed or self.others.owed))

    def _invite(self, letters: list[Owed], sent: Sent, tried: Counter[str]) -> int:
        mails = 0
        for cohort, slot, people in letters:
            for_now = int(self.rng.binomial(people, self.mail.refused))
            for_good = int(self.rng.binomial(people - for_now, self.mail.bounces))
            self.invitations.add(cohort, slot, for_now)
            sent.bounced_invitations[cohort, slot] += for_good
            sent.invitations[cohort, slot] += people - for_now - for_good
            tried["sent"] += people - for_now - for_good
            tried["bounced"] += for_good
            tried["later"] += for_now
            mails += people
        return mails

    def _others(self, most: int, sent: Sent) -> int:
        letters = self.confirmations.take(most)
        for cohort, slot, people in letters:
            for_good = int(self.rng.binomial(people, self.mail.bounces))
            sent.bounced_confirmations[cohort, slot] += for_good
            sent.confirmations[cohort, slot] += people - for_good
        mails = sum(people for _, _, people in letters)
        return mails + sum(people for _, _, people in self.others.take(most - mails))
