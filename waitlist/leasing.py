"""Which mail goes next: leased in its order, and no more than may go now."""

from __future__ import annotations

from datetime import datetime
from functools import cache

from sqlalchemy import (
    ColumnElement,
    Dialect,
    Integer,
    and_,
    bindparam,
    case,
    func,
    literal,
    select,
    union_all,
    update,
)

from waitlist import postage
from waitlist.extensions import db
from waitlist.models import Message
from waitlist.outbox import LAST_PRIORITY, LEASE, LEASED, PRIORITIES, Leased, priority
from waitlist.policy import mailing
from waitlist.policy.mailing import Grant
from waitlist.postage import NOTHING_TOLD, Postage, Told
from waitlist.prepared import Prepared

INVITATIONS = PRIORITIES["invitation"]


def lease(*, now: datetime, most: int = 1, told: Told = NOTHING_TOLD) -> list[Leased]:
    """The next mails that are due, in their order, leased to the caller; so many as may go now.

    First it takes to account what became of those leased before. Commits, and with it whatever
    else the caller's transaction changed.
    """
    mail = postage.lock(now=now).after(told, now=now)
    leased = _lease(mail, now=now, most=most)
    if leased or told != NOTHING_TOLD:
        invitations = sum(one.is_invitation for one in leased)
        postage.store(mail.spend(invitations=invitations, others=len(leased) - invitations))
    db.session.commit()
    return leased


def _lease(mail: Postage, *, now: datetime, most: int) -> list[Leased]:
    granted = mail.grant()
    most = min(most, granted.mails)
    lanes = _lanes(mail.held)
    if most <= 0 or not lanes:
        return []
    bounds = {"most": most, "invitations": min(most, granted.invitations)}
    turn = 2 if granted.asked_first else 0  # of the invitations; the others' is 1
    moments = {"now": now, "until": now + LEASE}
    connection = db.session.connection()
    leasing = _leasing(mail.held, connection.dialect)
    found = leasing.rows(connection, **bounds, turn=turn, route=mail.route, **moments)
    return [Leased(*leased) for _, *leased in sorted(found)]


def invitations_queued(*, until: datetime, most: int) -> int:
    """How many invitations wait to be sent by then, counted no further than `most`.

    All else goes after them, so it doesn't count; nor do those that wait for their hours.
    """
    theirs = Message.priority == INVITATIONS
    waiting = [
        select(Message.id).where(Message.state == "queued", theirs, Message.due_at <= until),
        select(Message.id).where(Message.state == "sending", theirs),
    ]
    bounded = (select(func.count()).select_from(one.limit(most).subquery()) for one in waiting)
    return sum(db.session.scalar(count) or 0 for count in bounded)


def is_due(*, now: datetime) -> bool:
    """Whether a mail worker would find something to do: that is due, not held, and may go."""
    mail = postage.read(now=now)
    left = and_(Message.state == "sending", Message.leased_until < now)
    return _are_there(left) or any(_ready(mail, mail.grant(), now=now))


def oldest_due(
    held: frozenset[str], *, now: datetime, most: int = LAST_PRIORITY
) -> datetime | None:
    """Since when the mail is due that waits longest, of all that isn't held; None if none is.

    Only of priorities up to `most`.
    """
    found = [
        db.session.scalar(
            select(Message.due_at)
            .where(_is_ready(lane, held), Message.due_at <= now)
            .order_by(Message.due_at)
            .limit(1)
        )
        for lane in _lanes(held)
        if lane <= most
    ]
    return min((at for at in found if at is not None), default=None)


def waits_until(*, now: datetime) -> datetime | None:
    """When mail goes on that is due and not held, if a budget holds it up; else None."""
    mail = postage.read(now=now)
    no_bounds = Grant(1, 0 if mail.holds_invitations else 1)
    invitations, *others = _ready(mail, no_bounds, now=now)
    if any(others) and (until := mailing.waits_until(mail.pace, mail.spent)):
        return until
    for_them = mailing.waits_until(mail.pace, mail.spent, for_invitations=True)
    return for_them if invitations else None


def _ready(mail: Postage, granted: Grant, *, now: datetime) -> list[bool]:
    """Of which priorities something is due, neither held nor beyond what was granted."""
    lanes = _lanes(mail.held)
    return [
        lane in lanes
        and (granted.mails if lane else granted.invitations) > 0
        and _are_there(and_(_is_ready(lane, mail.held), Message.due_at <= now))
        for lane in range(LAST_PRIORITY + 1)
    ]


def _are_there(which: ColumnElement[bool]) -> bool:
    return bool(db.session.scalar(select(select(Message.id).where(which).exists())))


@cache
def _leasing(held: frozenset[str], dialect: Dialect) -> Prepared:
    """Lanes are looked for one by one, so that of what is held or not yet due nothing is read."""
    now, until = (bindparam(name, type_=Message.due_at.type) for name in ("now", "until"))
    most, first, turn = (
        bindparam(name, type_=Integer()) for name in ("most", "invitations", "turn")
    )
    route = bindparam("route", type_=Message.route.type)
    lanes = [
        select(Message.id, Message.priority, Message.due_at)
        .where(_is_ready(lane, held), Message.due_at <= now)
        .order_by(Message.due_at, Message.id)
        .limit(most if lane else first)
        .with_for_update(skip_locked=True)
        .cte(f"lane_{lane}")
        for lane in _lanes(held)
    ]
    due = union_all(*(select(*lane.c) for lane in lanes)).subquery("due")
    whose_turn = case((due.c.priority == INVITATIONS, turn), else_=literal(1))
    chosen = (
        select(due.c.id)
        .order_by(whose_turn, due.c.priority, due.c.due_at, due.c.id)
        .limit(bindparam("most", type_=Integer()))
    )
    leasing = (
        update(Message.__table__)
        .where(Message.id.in_(chosen))  # the state too, and SQLite reads all that is queued
        .values(state="sending", lease=Message.lease + 1, leased_until=until, route=route)
        .returning(Message.priority, *LEASED)
    )
    return Prepared(leasing, dialect)


def _lanes(held: frozenset[str]) -> list[int]:
    """The priorities of which some kind isn't held; all that have none share the last one."""
    going = {place for kind, place in PRIORITIES.items() if kind not in held}
    return sorted({*going, LAST_PRIORITY})


def _is_ready(lane: int, held: frozenset[str]) -> ColumnElement[bool]:
    queued = and_(Message.state == "queued", Message.priority == lane)
    beside = {kind for kind in held if priority(kind) == lane}
    return and_(queued, *(Message.kind != kind for kind in sorted(beside)))
