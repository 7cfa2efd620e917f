"""One reminder before an invitation ends: each is owed once, by whichever process finds it due."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, select, update

from waitlist import outbox
from waitlist.extensions import db, reading, settings
from waitlist.models import Entry, Invitation
from waitlist.policy import deadlines
from waitlist.rows import ids
from waitlist.wake import wake

BATCH = 1_000  # who are reminded in one transaction
MOST = 50_000  # in one tick, so that it ends


def remind(*, now: datetime) -> int:
    """Owe everybody a reminder whose time for it has come; how many. Commits.

    To be called after an outage is made up for: it goes by the shifted deadline.
    """
    reminded = 0
    while reminded < MOST and (some := _remind_some(now=now)):
        reminded += some
    if reminded:
        wake("mail")
    return reminded


def is_due(*, now: datetime) -> ColumnElement[bool]:
    """Which invitations are to be reminded of at `now`; found by an index of those only."""
    lead = deadlines.reminder_lead(settings().invite_within)
    return and_(
        Invitation.state == "open",
        Invitation.reminded_at.is_(None),
        Invitation.expires_at > now,
        Invitation.expires_at <= now + lead,
    )


def _remind_some(*, now: datetime) -> int:
    due = select(Invitation.id).where(is_due(now=now)).order_by(Invitation.expires_at).limit(BATCH)
    with reading():
        any_due = db.session.scalar(due.limit(1)) is not None
    if not any_due:
        return 0
    # whoever is locked is just completing: the next tick looks again
    found = db.session.execute(
        update(Invitation.__table__)
        .where(Invitation.id.in_(due.with_for_update(skip_locked=True)), is_due(now=now))
        .values(reminded_at=now)
        .returning(Invitation.entry_id, Invitation.id)
    )
    invitation_of: dict[int, int] = dict(found.all())
    mailable = select(Entry.id).where(
        Entry.id.in_(ids(invitation_of)), Entry.suppressed_at.is_(None)
    )
    people = sorted(db.session.scalars(mailable))
    outbox.stage("reminder", people, now=now, invitations=[invitation_of[one] for one in people])
    db.session.commit()
    return len(invitation_of)
