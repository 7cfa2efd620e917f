""" "This wasn't me": somebody says that the registration with their invitation isn't theirs.

It is noted, told to operators, and decided by them. By itself it takes nothing away: whoever
says so may have forgotten, and a seat that a mail could free would be worth writing mails for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import structlog
from sqlalchemy import delete, select, update

from waitlist import audit, links, outbox, seats
from waitlist.errors import ValueRefused
from waitlist.extensions import db, rows_changed
from waitlist.handover import staging
from waitlist.handover.events import DISPUTED
from waitlist.models import Entry, Invitation, Message, Registration
from waitlist.wake import wake

log = structlog.get_logger()
MOST_LISTED = 100


@dataclass(frozen=True)
class DisputeView:
    """What the page of the link shows."""

    registered_at: datetime
    disputed: bool
    locale: str


class Disputed(NamedTuple):
    """A registration that isn't theirs, as they say, and nobody has decided yet."""

    entry_id: int
    address: str
    registered_at: datetime
    disputed_at: datetime


def look(token: str) -> DisputeView:
    """The registration that a link disputes; `LinkInvalid` if it names none."""
    found = links.disputable(token)
    return DisputeView(found.created_at, found.disputed_at is not None, found.entry.locale)


def dispute(token: str, *, now: datetime) -> None:
    """Note that it wasn't them. Twice is the same as once. `LinkInvalid` for another link.

    Whom else it concerns, as the product, is told in this transaction.
    """
    found = links.disputable(token)
    is_news = rows_changed(
        update(Registration.__table__)
        .where(Registration.id == found.id, Registration.disputed_at.is_(None))
        .values(disputed_at=now)
    )
    if is_news:
        _record("registration.dispute", found.entry_id, found.id, actor="person", now=now)
        this_time = f"{found.nonce} {now.isoformat()}"  # it may be disputed again
        staging.stage(DISPUTED, found.id, this_time, entry_id=found.entry_id, now=now)
    db.session.commit()
    if is_news:
        wake("handover")
        log.warning("a registration is disputed: flask invitation disputed", registration=found.id)


def undispute(entry_id: int, *, actor: str, reason: str, now: datetime) -> None:
    """An operator's word that it was them after all; `ValueRefused` if nothing is disputed."""
    registration_id = db.session.scalars(
        update(Registration.__table__)
        .where(Registration.entry_id == entry_id, Registration.disputed_at.is_not(None))
        .values(disputed_at=None)
        .returning(Registration.id)
    ).one_or_none()
    if registration_id is None:
        db.session.rollback()
        raise ValueRefused("nothing is disputed there: see flask invitation disputed")
    action = "registration.undispute"
    _record(action, entry_id, registration_id, actor=actor, reason=reason, now=now)
    db.session.commit()


def set_aside(entry_id: int, *, actor: str, reason: str, now: datetime) -> bool:
    """Take a disputed registration away, and free its seat; False if there is none.

    In the caller's transaction, under the gate's lock. Its invitation is over then, so that
    the person whom it was mailed to can have a fresh one.
    """
    found = db.session.execute(
        select(Registration.id, Invitation.id, Invitation.cohort_id)
        .join(Invitation, Invitation.id == Registration.invitation_id)
        .where(Registration.entry_id == entry_id, Registration.disputed_at.is_not(None))
        .with_for_update(of=Invitation)
    ).one_or_none()
    if found is None:
        return False
    registration_id, invitation_id, cohort_id = found
    used = (Invitation.id == invitation_id) & (Invitation.state == "used")
    db.session.execute(update(Invitation.__table__).where(used).values(state="revoked"))
    theirs = (Entry.id == entry_id) & (Entry.state == "registered")
    db.session.execute(update(Entry.__table__).where(theirs).values(state="lapsed"))
    db.session.execute(delete(Registration).where(Registration.id == registration_id))
    seats.release(Counter([cohort_id]))
    welcome = (Message.entry_id == entry_id) & (Message.kind == "welcome")
    outbox.cancel(welcome, reason="the registration was set aside")
    action = "registration.set-aside"
    _record(action, entry_id, registration_id, actor=actor, reason=reason, now=now)
    return True


def listed() -> list[Disputed]:
    """Those that wait for an operator's decision, the oldest first."""
    found = db.session.execute(
        select(Entry.id, Entry.address, Registration.created_at, Registration.disputed_at)
        .join(Registration, Registration.entry_id == Entry.id)
        .where(Registration.disputed_at.is_not(None))
        .order_by(Registration.disputed_at)
        .limit(MOST_LISTED)
    )
    return [Disputed._make(row) for row in found]


def _record(
    action: str,
    entry_id: int,
    registration_id: int,
    *,
    actor: str,
    reason: str = "",
    now: datetime,
) -> None:
    subject, of = f"entry:{entry_id}", {"registration": registration_id}
    audit.record(action, subject, actor=actor, now=now, before=of, reason=reason)
