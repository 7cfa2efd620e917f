"""An address that can't be mailed, or must not be: no more mail, and the seat of an invitation
that never arrived goes back.

The mail server may say so at once (`delivery.py`), or somebody later (`reports/`).
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update

from waitlist import outbox, projection, seats
from waitlist.extensions import db, rows_changed
from waitlist.models import Entry, Message
from waitlist.policy.reports import TAKEN


def came_back(entry_id: int, invitation_id: int | None, *, now: datetime) -> None:
    """Take to account that a mail came back, which is marked as bounced already.

    The caller holds the gate's lock if the mail is of an invitation. One that is open still
    stays so where another mail of it arrived: somebody may be typing in its form.
    """
    if invitation_id is not None and not _arrived_otherwise(entry_id, invitation_id):
        seats.give_back([invitation_id], as_="revoked", entries_as="waiting", now=now)
    suppress(entry_id, now=now)


def suppress(entry_id: int, *, now: datetime) -> bool:
    """Mail this person no more, in the caller's transaction; False if that was so already."""
    is_news = rows_changed(
        update(Entry)
        .where(Entry.id == entry_id, Entry.suppressed_at.is_(None))
        .values(suppressed_at=now)
    )
    outbox.cancel(Message.entry_id == entry_id, reason="address suppressed")
    projection.note_people([entry_id])
    return bool(is_news)


def _arrived_otherwise(entry_id: int, invitation_id: int) -> bool:
    another = select(Message.id).where(
        Message.entry_id == entry_id,
        Message.invitation_id == invitation_id,
        Message.state.in_(TAKEN),
    )
    return db.session.scalar(another.limit(1)) is not None
