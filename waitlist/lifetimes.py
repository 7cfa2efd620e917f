"""What begins when the mail server takes a mail: every lifetime runs from there.

An unsent invitation, confirmation or action link has no deadline.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Protocol

from sqlalchemy import BigInteger, Update, bindparam, func, or_, select, update

from waitlist import outbox
from waitlist.extensions import db, settings
from waitlist.models import Entry, Invitation, Message
from waitlist.models.base import Moment
from waitlist.policy import deadlines
from waitlist.rows import Given


class Taken(Protocol):
    """What must be known of a mail that was taken."""

    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def entry_id(self) -> int: ...  # noqa: D102
    @property
    def invitation_id(self) -> int | None: ...  # noqa: D102


def begin(taken: Mapping[int, Taken], *, now: datetime) -> None:
    """Begin what runs from the acceptance of these mails, by message, unless it runs already."""
    lifetimes = dict.fromkeys((*outbox.INVITES, "sorry"), settings().invite_within) | {
        "confirm": settings().confirm_within,
        "act": deadlines.ACT_WITHIN,
    }
    sent, beginnings = _beginnings(db.engine.dialect.name)
    for kind, lifetime in lifetimes.items():
        rows = [
            (message_id, letter.entry_id, letter.invitation_id)
            for message_id, letter in taken.items()
            if letter.kind == kind
        ]
        if rows:
            moments = {"now": now, "until": now + lifetime}
            db.session.execute(beginnings[kind], {**sent.values(rows), **moments})


@cache
def _beginnings(dialect: str) -> tuple[Given, dict[str, Update]]:
    number = BigInteger()
    sent = Given(dialect, "sent", message_id=number, entry_id=number, invitation_id=number)
    now, until = bindparam("now", type_=Moment()), bindparam("until", type_=Moment())
    invitation, entry, message = Invitation.__table__, Entry.__table__, Message.__table__
    invited = (
        update(invitation)
        .where(invitation.c.id.in_(select(sent.c.invitation_id)), invitation.c.expires_at.is_(None))
        .values(mailed_at=now, expires_at=until)
    )
    ends = invitation.c.expires_at
    longer = (
        update(invitation)
        .where(invitation.c.id.in_(select(sent.c.invitation_id)), invitation.c.state == "open")
        .where(or_(ends.is_(None), ends < until))
        .values(mailed_at=func.coalesce(invitation.c.mailed_at, now), expires_at=until)
    )
    return sent, dict.fromkeys(outbox.INVITES, invited) | {
        "sorry": longer,
        "confirm": update(entry)
        .where(entry.c.id.in_(select(sent.c.entry_id)), entry.c.confirm_by.is_(None))
        .values(confirm_by=until),
        "act": update(message)
        .where(message.c.id.in_(select(sent.c.message_id)))
        .values(expires_at=until),
    }
