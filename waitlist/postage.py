"""How much mail may go now, and how invitations fare: one row, which all workers share.

Whoever leases mail locks it first, so no two spend the same allowance. It is the last lock of
a transaction, after any of messages. What is decided from it stands in `policy.mailing` and
`policy.bounces`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Dialect, Select, bindparam, select, update

from waitlist.extensions import db, settings
from waitlist.models import Gate, MailPace
from waitlist.policy import bounces, mailing
from waitlist.policy.bounces import Limits, Outcomes
from waitlist.policy.mailing import Grant, Pace, Spent
from waitlist.prepared import Prepared

log = structlog.get_logger()

# the row's columns, in the order in which `Postage` has them
SPENT = Spent._fields
SEEN = ("invitations_sent", "invitations_bounced", "invitations_later", "noted_at")
COLUMNS = (*SPENT, *SEEN, "stopped_at")


class Told(NamedTuple):
    """What became of leased mails: of invitations that were tried, and of all that weren't."""

    sent: int = 0
    bounced: int = 0
    later: int = 0
    invitations_back: int = 0
    others_back: int = 0


NOTHING_TOLD = Told()


class Postage(NamedTuple):
    """How mail stands at a moment. `held` are the kinds that operators hold back.

    `is_alarmed`: too many of those who are invited meet an error of ours at the last step.
    """

    spent: Spent
    outcomes: Outcomes
    stopped_at: datetime | None
    held: frozenset[str]
    is_alarmed: bool

    @property
    def is_slowed(self) -> bool:
        """Whether the gate and its invitations go at a quarter of their pace."""
        return self.many_bounce or self.is_alarmed

    @property
    def many_bounce(self) -> bool:
        """Whether so many invitations come back that this alone slows them."""
        return bounces.many(self.outcomes, limits())

    @property
    def pace(self) -> Pace:
        """The budgets, and what an invitation costs of its minute now."""
        of = settings()
        cost = bounces.SLOWED if self.is_slowed else 1
        return Pace(of.mail_per_minute, of.mail_per_day, of.mail_warm_up, cost)

    @property
    def holds_invitations(self) -> bool:
        """Whether no invitation may go, however much is left of the budgets."""
        return self.stopped_at is not None or "invitation" in self.held

    def grant(self) -> Grant:
        """What may go now."""
        granted = mailing.grant(self.pace, self.spent)
        return granted._replace(invitations=0) if self.holds_invitations else granted

    def within_horizon(self) -> int:
        """How many invitations can be out within a quarter of an hour."""
        return 0 if self.holds_invitations else mailing.within(self.pace, self.spent)

    def after(self, told: Told, *, now: datetime) -> Postage:
        """The same when it is known what became of mails; too many bounces stop it."""
        tried = {"sent": told.sent, "bounced": told.bounced, "later": told.later}
        back = {"invitations": -told.invitations_back, "others": -told.others_back}
        outcomes = self.outcomes
        if any(tried.values()):
            outcomes = bounces.noted(outcomes, **tried, now=now)
        stops = bounces.too_many(outcomes, limits())
        found = self._replace(
            spent=mailing.spend(self.pace, self.spent, **back),
            outcomes=outcomes,
            stopped_at=self.stopped_at or (now if stops else None),
        )
        _say_what_changed(self, found)
        return found

    def spend(self, *, invitations: int, others: int) -> Postage:
        """The same after these went."""
        went = mailing.spend(self.pace, self.spent, invitations=invitations, others=others)
        return self._replace(spent=went)


def limits() -> Limits:
    """The shares of bounces past which the gate slows and stops."""
    return Limits(settings().mail_bounces_slow / 100, settings().mail_bounces_stop / 100)


def read(*, now: datetime) -> Postage:
    """How mail stands at `now`."""
    return _postage(_reading, now=now)


def lock(*, now: datetime) -> Postage:
    """The same, locked until the caller's transaction ends."""
    return _postage(_locking, now=now)


def store(postage: Postage) -> None:
    """Write what changed, in the transaction that holds the lock."""
    connection = db.session.connection()
    values = [*postage.spent, *postage.outcomes, postage.stopped_at]
    named = zip(COLUMNS, values, strict=True)
    _storing(connection.dialect).execute(connection, **{f"new_{name}": to for name, to in named})


def forgive(*, now: datetime) -> None:
    """Begin to count bounces anew, in the caller's transaction: an operator has looked."""
    store(lock(now=now)._replace(outcomes=Outcomes(), stopped_at=None))


def _postage(query: Callable[[Dialect], Prepared], *, now: datetime) -> Postage:
    connection = db.session.connection()
    [row] = query(connection.dialect).rows(connection)
    budgets = Pace(settings().mail_per_minute)  # all that grows with time
    *spent_and_seen, stopped_at, held, alarm_at = row
    spent, seen = spent_and_seen[: len(SPENT)], spent_and_seen[len(SPENT) :]
    spent_now = mailing.refilled(budgets, Spent(*spent), now)
    is_alarmed = alarm_at is not None
    return Postage(spent_now, Outcomes(*seen), stopped_at, frozenset(held), is_alarmed)


def _query() -> Select[Any]:
    columns = [MailPace.__table__.c[name] for name in COLUMNS]
    of_gate = (Gate.held_mails, Gate.last_step_alarm_at)
    return select(*columns, *(select(one).scalar_subquery().label(one.key) for one in of_gate))


@cache
def _reading(dialect: Dialect) -> Prepared:
    return Prepared(_query(), dialect)


@cache
def _locking(dialect: Dialect) -> Prepared:
    return Prepared(_query().with_for_update(of=MailPace), dialect)


@cache
def _storing(dialect: Dialect) -> Prepared:
    table = MailPace.__table__
    new = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in COLUMNS}
    return Prepared(update(table).values(new), dialect)


def _say_what_changed(before: Postage, after: Postage) -> None:
    """Once, when bounces stop, slow or no longer slow the gate."""
    seen = {name: round(getattr(after.outcomes, name)) for name in ("sent", "bounced", "later")}
    if after.stopped_at and not before.stopped_at:
        log.warning("too many invitations bounce: none goes until accept-bounces", **seen)
    elif after.many_bounce and not before.many_bounce:
        log.warning("invitations come back: the gate goes at a quarter of its pace", **seen)
    elif before.many_bounce and not after.many_bounce:
        log.info("invitations arrive: the gate goes at its pace again", **seen)
