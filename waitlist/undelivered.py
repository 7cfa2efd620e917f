"""What the outbox holds, as operators see it; and what goes again, or is dropped, by their word."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, case, func, select, update

from waitlist import audit, outbox, projection, seats
from waitlist.errors import MessagesRefused
from waitlist.extensions import db, rows_changed
from waitlist.models import Entry, Invitation, Message
from waitlist.wake import wake

BATCH = 1_000  # messages a transaction
ANEW: dict[str, Any] = {
    "state": "queued",
    "attempts": 0,
    "cut_off": 0,
    "lost": case((Message.lost > 0, 1), else_=0),  # what a worker was lost with goes alone
    "refused_since": None,
    "reason": "tried again by an operator",
}


class Count(NamedTuple):
    """How many messages of a kind are in a state."""

    kind: str
    state: str
    messages: int


class Owed(NamedTuple):
    """A message and whose it is; of one that ended `due_at` is when.

    `unmailed`: its invitation is open and was never mailed, so its seat goes back with it.
    """

    id: int
    kind: str
    state: str
    entry_id: int
    cohort_id: int
    address: str
    suppressed_at: datetime | None
    attempts: int
    reason: str
    created_at: datetime
    due_at: datetime
    leased_until: datetime | None
    sent_at: datetime | None
    route: str | None
    invitation_id: int | None
    unmailed: bool

    def as_json(self) -> dict[str, Any]:
        """The message as JSON, times in RFC 3339."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in self._asdict().items()
            if name not in ("cohort_id", "suppressed_at")
        }


class Dropped(NamedTuple):
    """How many messages were dropped, and how many people are back in line by it."""

    messages: int
    back: int


def counts() -> list[Count]:
    """How many messages there are of each kind and state."""
    grouped = select(Message.kind, Message.state, func.count()).group_by(
        Message.kind, Message.state
    )
    found = db.session.execute(grouped.order_by(Message.kind, Message.state))
    return [Count(*row) for row in found]


def dead() -> int:
    """How many messages can't go on until an operator has looked."""
    query = select(func.count()).select_from(Message).where(Message.state == "dead")
    return db.session.scalar(query) or 0


def listed(
    *, state: str | None = None, kind: str | None = None, entry_id: int | None = None, most: int
) -> list[Owed]:
    """The newest messages of this state, kind and person, as far as they are given."""
    wanted = {Message.state: state, Message.kind: kind, Message.entry_id: entry_id}
    which = [column == value for column, value in wanted.items() if value is not None]
    return _found(*which, most=most)


def retry(ids: Sequence[int], *, actor: str, reason: str, now: datetime) -> int:
    """Queue these for now, all or none; how many. `MessagesRefused` says why one can't go again."""
    messages = _all_of(ids, _why_not_again)
    for one in messages:
        values = {**ANEW, "due_at": now}
        _change(one, values, action="outbox.retry", actor=actor, reason=reason, now=now)
    db.session.commit()
    wake("mail")
    return len(messages)


def retry_dead(*, kind: str | None, actor: str, reason: str, now: datetime) -> int:
    """Queue all that is dead for now, of one kind if it is named; how many.

    By a thousand a transaction, so that nobody waits; safe to repeat.
    """
    which = [Message.state == "dead", *([Message.kind == kind] if kind else [])]
    again = update(Message).values(**ANEW, due_at=now).execution_options(synchronize_session=False)
    last, done = 0, 0
    while ids := db.session.scalars(
        select(Message.id).where(*which, Message.id > last).order_by(Message.id).limit(BATCH)
    ).all():
        last = ids[-1]
        changed = rows_changed(again.where(Message.id.in_(ids), Message.state == "dead"))
        told = {"from": ids[0], "to": last, "messages": changed, "kind": kind}
        audit.record("outbox.retry", "outbox", actor=actor, now=now, after=told, reason=reason)
        db.session.commit()
        done += changed
    wake("mail")
    return done


def drop(ids: Sequence[int], *, actor: str, reason: str, now: datetime) -> Dropped:
    """Cancel these, all or none. `MessagesRefused` says why one can't be.

    Who was invited and heard nothing of it is back in line at their old rank, their seat free.
    """
    seats.lock()
    messages = _all_of(ids, _why_not_dropped)
    why = f"dropped by an operator{': ' if reason else ''}{reason}"[:200]
    for one in messages:
        values = {"state": "cancelled", "reason": why, "due_at": now}
        _change(one, values, action="outbox.drop", actor=actor, reason=reason, now=now)
    unmailed = [one.invitation_id for one in messages if one.unmailed and one.invitation_id]
    back = seats.give_back(unmailed, as_="revoked", entries_as="waiting", now=now)
    db.session.commit()
    projection.settle(*{one.cohort_id for one in messages if one.entry_id in back})
    return Dropped(len(messages), len(back))


def _found(*which: ColumnElement[bool], most: int) -> list[Owed]:
    unmailed = (Invitation.state == "open") & Invitation.mailed_at.is_(None)
    rows = db.session.execute(
        select(
            *(Message.id, Message.kind, Message.state, Entry.id, Entry.cohort_id, Entry.address),
            *(Entry.suppressed_at, Message.attempts, Message.reason, Message.created_at),
            *(Message.due_at, Message.leased_until, Message.sent_at, Message.route),
            *(Message.invitation_id, func.coalesce(unmailed, False)),
        )
        .join(Entry, Entry.id == Message.entry_id)
        .outerjoin(Invitation, Invitation.id == Message.invitation_id)
        .where(*which)
        .order_by(Message.id.desc())
        .limit(most)
    )
    return [Owed._make(row) for row in rows]


def _all_of(ids: Sequence[int], why_not: Any) -> list[Owed]:
    wanted = sorted(set(ids))
    found = {one.id: one for one in _found(Message.id.in_(wanted), most=len(wanted))}
    against = [
        f"message {one}: {why}"
        for one in wanted
        if (why := why_not(found[one]) if one in found else "there is none of that id")
    ]
    if against:
        db.session.rollback()
        raise MessagesRefused("\n".join(against))
    return list(found.values())


def _change(
    one: Owed, values: dict[str, Any], *, action: str, actor: str, reason: str, now: datetime
) -> None:
    """Change a message that is as it was seen; `MessagesRefused` if a worker was faster."""
    as_seen = (Message.id == one.id) & (Message.state == one.state)
    if not rows_changed(update(Message).where(as_seen).values(values)):
        db.session.rollback()
        raise MessagesRefused(f"message {one.id} was {one.state} and isn't any more: look again")
    before, after = {"state": one.state}, {"state": values["state"]}
    subject = f"message:{one.id}"
    audit.record(action, subject, actor=actor, now=now, before=before, after=after, reason=reason)


def _why_not_again(one: Owed) -> str:
    """Why a message can't go again; "" if it can."""
    match one.state:
        case "dead":
            return ""
        case "queued":
            return "" if one.attempts else "it wasn't tried yet, and goes in its order"
        case "bounced" if one.kind in outbox.INVITES:
            return (
                "its invitation's seat went back when the address was refused. "
                f"If the address is good: flask person unsuppress {one.address}. "
                "Then they are invited anew, at their old place"
            )
        case "bounced" if one.suppressed_at is not None:
            return (
                "its address was refused for good, so nothing goes there. "
                f"If the address is good: flask person unsuppress {one.address}, then this again"
            )
        case "bounced":
            return ""
    return _over(one)


def _why_not_dropped(one: Owed) -> str:
    """Why a message can't be dropped; "" if it can."""
    return "" if one.state in ("queued", "dead") else _over(one)


def _over(one: Owed) -> str:
    if one.state == "sending":
        return "it is already under way"
    why = f" ({one.reason})" if one.reason else ""
    return f"it is {one.state}{why}"
