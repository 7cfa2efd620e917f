"""How much mail may go now, by which server, and how it fares: one row, which all workers share.

Whoever leases mail locks it first, so no two spend the same allowance. It is the last lock of
a transaction, after any of messages. What is decided from it stands in `policy.mailing`,
`policy.bounces` and `policy.routes`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Dialect, Select, bindparam, select, update

from waitlist.extensions import db, settings
from waitlist.models import Gate, MailPace
from waitlist.policy import bounces, mailing, routes
from waitlist.policy.bounces import Limits, Outcomes
from waitlist.policy.mailing import Grant, Pace, Spent
from waitlist.policy.routes import Seen, Tried
from waitlist.prepared import Prepared

log = structlog.get_logger()

# the row's columns, in the order in which `Postage` has them
SPENT = Spent._fields
SEEN = ("invitations_sent", "invitations_bounced", "invitations_later", "noted_at")
ROUTE = ("route", *(f"route_{name}" for name in Seen._fields[1:]))
COLUMNS = (*SPENT, *SEEN, "stopped_at", *ROUTE)


class Told(NamedTuple):
    """What became of leased mails: of invitations that were tried, and of all that weren't.

    Invitations that `came_back` were counted as sent before.
    `tried` is of all mails, and of the server that answered.
    """

    sent: int = 0
    bounced: int = 0
    later: int = 0
    came_back: int = 0
    invitations_back: int = 0
    others_back: int = 0
    tried: Tried = Tried()


NOTHING_TOLD = Told()


class Postage(NamedTuple):
    """How mail stands at a moment. `held` are the kinds that operators hold back.

    `seen` is the server that is in force by itself, `route_set` what operators say of it.
    `is_alarmed`: too many of those who are invited meet an error of ours at the last step.
    """

    spent: Spent
    outcomes: Outcomes
    stopped_at: datetime | None
    seen: Seen
    held: frozenset[str]
    route_set: str
    is_alarmed: bool

    @property
    def route(self) -> str:
        """By which server mail goes now: first or second."""
        return routes.in_force(self.route_set, self.seen.route, has_second=has_second())

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
        tried["came_back"] = told.came_back
        back = {"invitations": -told.invitations_back, "others": -told.others_back}
        outcomes = self.outcomes
        if any(tried.values()):
            outcomes = bounces.noted(outcomes, **tried, now=now)
        stops = bounces.too_many(outcomes, limits())
        chooses = self.route_set == routes.AUTO and has_second()
        found = self._replace(
            spent=mailing.spend(self.pace, self.spent, **back),
            outcomes=outcomes,
            seen=routes.after(self.seen, told.tried, _bounds(), now=now) if chooses else self.seen,
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


def has_second() -> bool:
    """Whether there is a second mail server."""
    return settings().mail2 is not None


def read(*, now: datetime) -> Postage:
    """How mail stands at `now`."""
    return _postage(_reading, now=now)


def lock(*, now: datetime) -> Postage:
    """The same, locked until the caller's transaction ends."""
    return _postage(_locking, now=now)


def store(postage: Postage) -> None:
    """Write what changed, in the transaction that holds the lock."""
    connection = db.session.connection()
    values = [*postage.spent, *postage.outcomes, postage.stopped_at, *postage.seen]
    named = zip(COLUMNS, values, strict=True)
    _storing(connection.dialect).execute(connection, **{f"new_{name}": to for name, to in named})


def forgive(*, now: datetime) -> None:
    """Begin to count bounces anew, in the caller's transaction: an operator has looked."""
    store(lock(now=now)._replace(outcomes=Outcomes(), stopped_at=None))


def choose_anew(*, now: datetime) -> None:
    """Forget how the servers fared, in the caller's transaction: an operator has chosen."""
    store(lock(now=now)._replace(seen=Seen(since=now)))


def found_well(*, now: datetime) -> None:
    """A probe found that the first server would take mail, so that it may be in force again."""
    mail = lock(now=now)
    found = mail._replace(seen=routes.found_well(mail.seen, now=now))
    if found != mail:
        store(found)
        _say_what_changed(mail, found)
    db.session.commit()


def _bounds() -> routes.Limits:
    return routes.Limits(settings().mail2_after, settings().mail2_refused / 100)


def _postage(query: Callable[[Dialect], Prepared], *, now: datetime) -> Postage:
    connection = db.session.connection()
    [row] = query(connection.dialect).rows(connection)
    budgets = Pace(settings().mail_per_minute)  # all that grows with time
    values, (held, route_set, alarm_at) = iter(row[: len(COLUMNS)]), row[len(COLUMNS) :]
    spent = Spent(*islice(values, len(SPENT)))
    outcomes = Outcomes(*islice(values, len(SEEN)))
    stopped_at, *seen = values
    spent_now = mailing.refilled(budgets, spent, now)
    return Postage(
        spent_now,
        outcomes,
        stopped_at,
        Seen(*seen),
        frozenset(held),
        route_set,
        is_alarmed=alarm_at is not None,
    )


def _query() -> Select[Any]:
    columns = [MailPace.__table__.c[name] for name in COLUMNS]
    of_gate = (Gate.held_mails, Gate.mail_route, Gate.last_step_alarm_at)
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
    """Once, when bounces stop, slow or no longer slow the gate, or mail takes another route."""
    if after.seen.route != before.seen.route:
        log.warning("mail takes another route", route=after.seen.route, why=after.seen.why)
    seen = {name: round(getattr(after.outcomes, name)) for name in ("sent", "bounced", "later")}
    if after.stopped_at and not before.stopped_at:
        log.warning("too many invitations bounce: none goes until accept-bounces", **seen)
    elif after.many_bounce and not before.many_bounce:
        log.warning("invitations come back: the gate goes at a quarter of its pace", **seen)
    elif before.many_bounce and not after.many_bounce:
        log.info("invitations arrive: the gate goes at its pace again", **seen)
