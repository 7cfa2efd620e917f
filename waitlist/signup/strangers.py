"""Mails that strangers can set going by typing an address: so many a day, so far apart."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Insert, bindparam, case, func, insert, literal, or_, select

from waitlist import outbox
from waitlist.models import Entry, Message, new_nonce

MAILS_A_DAY = 3
BETWEEN_MAILS = timedelta(minutes=10)
MOMENT = Message.created_at.type


def owing(
    kind: ColumnElement[str],
    whom: ColumnElement[bool],
    *,
    like: tuple[str, ...],
    nonce: ColumnElement[str] | None = None,
) -> Insert:
    """A statement that owes a mail to each, unless they had three today or one just now.

    To be executed with `moments(now)`. It is one statement whatever it finds; removed and
    suppressed people get no mail. For several people give a `nonce` for each.
    """
    values: dict[str, ColumnElement[Any] | Any] = {
        "kind": kind,
        "priority": _priority(kind),
        "entry_id": Entry.id,
        "nonce": literal(new_nonce()) if nonce is None else nonce,
        "created_at": bindparam("now", type_=MOMENT),
        "due_at": bindparam("now", type_=MOMENT),
        "state": literal("queued"),
        "reason": literal(""),
        "attempts": literal(0),
        "lease": literal(0),
    }
    chosen = select(*values.values()).where(
        whom,
        Entry.state != "removed",
        Entry.suppressed_at.is_(None),
        _mails_since("a_day_ago", like) < MAILS_A_DAY,
        _mails_since("just_now", like) == 0,
    )
    return insert(Message.__table__).from_select(list(values), chosen, include_defaults=False)


def moments(now: datetime) -> dict[str, datetime]:
    """The parameters of such a statement at `now`."""
    return {"now": now, "a_day_ago": now - timedelta(days=1), "just_now": now - BETWEEN_MAILS}


def _mails_since(moment: str, like: tuple[str, ...]) -> ColumnElement[int]:
    return (
        select(func.count())
        .where(
            Message.entry_id == Entry.id,
            or_(*(Message.kind == kind for kind in like)),
            Message.state != "cancelled",
            Message.created_at > bindparam(moment, type_=MOMENT),
        )
        .correlate(Entry)
        .scalar_subquery()
    )


def _priority(kind: ColumnElement[str]) -> ColumnElement[int]:
    return case(
        *[(kind == name, place) for name, place in outbox.PRIORITIES.items()],
        else_=outbox.LAST_PRIORITY,
    )
