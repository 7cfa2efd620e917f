"""The outbox: mails that are owed, staged in the transaction that owes them.

queued → sending (leased) → sent | bounced | cancelled. A lease carries a number, and only
its holder may mark the message, so a worker that was stopped past its lease changes nothing.
What can't be written, or takes its workers down with it, is set aside as `dead`: the others go
on, and an operator tries it again or drops it (`undelivered`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Executable,
    Insert,
    Integer,
    Text,
    bindparam,
    func,
    insert,
    select,
    update,
)

from waitlist.extensions import db, rows_changed
from waitlist.models import Message
from waitlist.models.base import new_nonces
from waitlist.policy.routes import FIRST
from waitlist.rows import Given

LEASE = timedelta(seconds=55)  # longer than one mail can take: see route.TIMEOUT
FIRST_DELAY = timedelta(seconds=15)
LONGEST_DELAY = timedelta(hours=1)
MOST_LOST = 3  # leases whose worker didn't come back, after which it may be the message's fault

# the order in which mail goes: invitation, fresh link, apology, confirm, all else
PRIORITIES = {"invitation": 0, "renewal": 1, "apology": 2, "sorry": 2, "confirm": 3}
LAST_PRIORITY = 4
INVITES = ("invitation", "renewal")  # kinds that bring an invitation's link: its time runs then


def stage(
    kind: str,
    entry_ids: Iterable[int],
    *,
    now: datetime,
    invitations: Sequence[int] = (),
    due_at: datetime | None = None,
) -> None:
    """Owe each of these people a mail, in the caller's transaction; wake `mail` after it.

    It goes at once, or from `due_at` on.
    """
    people = list(entry_ids)
    whose: Sequence[int | None] = invitations or [None] * len(people)
    owed, staging = _staging(db.engine.dialect.name)
    rows = owed.values(zip(people, whose, new_nonces(len(people)), strict=True))
    what = {"kind": kind, "priority": priority(kind), "now": now, "due_at": due_at or now}
    db.session.execute(staging, {**rows, **what})


@cache
def _staging(dialect: str) -> tuple[Given, Insert]:
    owed = Given(dialect, "owed", entry_id=BigInteger(), invitation_id=BigInteger(), nonce=Text())
    moment = Message.created_at.type
    values: dict[str, Any] = {
        "kind": bindparam("kind", type_=Text()),
        "priority": bindparam("priority", type_=Integer()),
        "entry_id": owed.c.entry_id,
        "invitation_id": owed.c.invitation_id,
        "nonce": owed.c.nonce,
        "created_at": bindparam("now", type_=moment),
        "due_at": bindparam("due_at", type_=moment),
    }
    return owed, insert(Message.__table__).from_select(list(values), select(*values.values()))


def priority(kind: str) -> int:
    """The place of this kind in the order of mail; less goes first."""
    return PRIORITIES.get(kind, LAST_PRIORITY)


def cancel(which: ColumnElement[bool], *, reason: str) -> int:
    """Cancel what is still queued or dead of these, in the caller's transaction; how many.

    What is `sending` is already under way and stays.
    """
    return rows_changed(
        update(Message)
        .where(which, Message.state.in_(("queued", "dead")))
        .values(state="cancelled", reason=reason)
    )


LEASED = (  # the columns of which `Leased` is
    *(Message.id, Message.lease, Message.attempts, Message.kind),
    *(Message.cut_off, Message.lost, func.coalesce(Message.route, FIRST)),
)


class Leased(NamedTuple):
    """A message under lease: which, by which lease, how often it was tried before, and its kind.

    `cut_off` of these tries ended before an answer; `lost` leases ended without their worker.
    """

    id: int
    lease: int
    attempts: int
    kind: str
    cut_off: int = 0
    lost: int = 0
    route: str = FIRST  # by which it is to go

    @property
    def is_invitation(self) -> bool:
        """Whether what binds only invitations binds this mail."""
        return self.kind == "invitation"


def mark_sent(messages: Sequence[Leased], *, now: datetime) -> set[int]:
    """Mark leased messages as sent, in the caller's transaction; those whose lease still held."""
    held, marking = _marking(db.engine.dialect.name)
    return set(db.session.scalars(marking, {**held.values(messages), "now": now}))


@cache
def _marking(dialect: str) -> tuple[Given, Executable]:
    held = Given(dialect, "held", id=BigInteger(), lease=Integer(), attempts=Integer())
    return held, (
        update(Message.__table__)
        .where(Message.id == held.c.id, Message.state == "sending", Message.lease == held.c.lease)
        .values(state="sent", reason="", sent_at=bindparam("now", type_=Message.sent_at.type))
        .returning(Message.id)
    )


def mark(message: Leased, *, state: str, now: datetime, reason: str = "") -> bool:
    """Set a leased message's end, in the caller's transaction; False if the lease was lost.

    Of one that isn't sent `due_at` tells then when it ended.
    """
    moment = {"sent_at": now} if state == "sent" else {"due_at": now}
    return bool(rows_changed(_held(message).values(state=state, reason=reason[:200], **moment)))


def hand_back(message: Leased, *, due_at: datetime) -> None:
    """Queue a leased message again that wasn't tried. A lost lease changes nothing."""
    db.session.execute(_held(message).values(state="queued", due_at=due_at))


def put_back(
    message: Leased,
    *,
    now: datetime,
    reason: str,
    delay: bool = True,
    **values: Any,
) -> bool:
    """Queue a leased message again, later each time; False if the lease was lost.

    `values` are what else is known of it now.
    """
    attempts = message.attempts + 1 if delay else message.attempts
    due_at = now + (_delay(attempts) if delay else FIRST_DELAY)  # another is the next probe
    values |= {"state": "queued", "reason": reason[:200], "attempts": attempts, "due_at": due_at}
    return bool(rows_changed(_held(message).values(values)))


def overdue(*, now: datetime) -> list[Leased]:
    """What is leased by someone who didn't come back in time."""
    late = select(*LEASED).where(Message.state == "sending", Message.leased_until < now)
    return [Leased(*row) for row in db.session.execute(late).all()]


def reclaim(messages: Sequence[Leased], *, now: datetime) -> list[Leased]:
    """Queue these again, in the caller's transaction, unless they were marked meanwhile.

    One that was under way too often when its worker died is set aside instead, since it may be
    why: those are given.
    """
    dead = []
    for one in messages:
        lost = one.lost + 1
        values: dict[str, Any] = {"state": "queued", "reason": "its worker didn't come back"}
        if lost >= MOST_LOST:
            values = {"state": "dead", "due_at": now, "reason": f"{values['reason']} {lost} times"}
        if rows_changed(_held(one).values(values | {"lost": lost})) and lost >= MOST_LOST:
            dead.append(one)
    return dead


def _delay(attempts: int) -> timedelta:
    """Twice as long each time up to an hour, and of that by chance between half and all.

    "Equal jitter" of Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): those
    refused together don't come back together, and none comes back at once.
    """
    longest: timedelta = min(FIRST_DELAY * 2 ** min(attempts - 1, 10), LONGEST_DELAY)
    return longest * random.uniform(0.5, 1)


def _held(message: Leased) -> Any:
    return update(Message).where(
        Message.id == message.id, Message.state == "sending", Message.lease == message.lease
    )


def set_back(gap: timedelta, *, now: datetime) -> None:
    """Owe in time, in the caller's transaction, what a clock put off that was ahead and went back.

    `gap` is below zero. What was staged meanwhile is due so much sooner, what was tried in vain
    at once; no lease is longer than one from now on.
    """
    waits = select(Message).where(Message.state == "queued", Message.due_at > now)
    for message in db.session.scalars(waits.order_by(Message.id).with_for_update()):
        if message.created_at > now:
            message.due_at += gap
        elif message.reason:
            message.due_at = now
    db.session.execute(
        update(Message)
        .where(Message.state == "sending", Message.leased_until > now + LEASE)
        .values(leased_until=now + LEASE)
        .execution_options(synchronize_session=False)
    )
