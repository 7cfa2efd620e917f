"""Mailing somebody once more what fits how they stand, because an operator says so."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from waitlist import audit, outbox
from waitlist.errors import ValueRefused
from waitlist.extensions import db
from waitlist.models import Entry
from waitlist.wake import wake

KINDS = {
    "pending": "confirm",
    "unconfirmed": "confirm",
    "waiting": "standing",
    "lapsed": "lapsed",
    "withdrawn": "come_back",
    "registered": "welcome",
}


def resend(entry_id: int, *, actor: str, reason: str, now: datetime) -> str:
    """The kind of the mail that they are owed now; `ValueRefused` if they can't be mailed.

    Of who is invited the mail is the invitation's: see `onboarding.by_hand`.
    """
    state, suppressed_at = db.session.execute(
        select(Entry.state, Entry.suppressed_at).where(Entry.id == entry_id)
    ).one()
    kind = KINDS.get(state)
    if suppressed_at is not None or kind is None:
        db.session.rollback()
        why = f"is {state}, and there is no mail for that"
        if suppressed_at is not None:
            why = "can't be mailed; first: flask person unsuppress"
        raise ValueRefused(f"this person {why}")
    outbox.stage(kind, [entry_id], now=now)
    subject, after = f"entry:{entry_id}", {"mail": kind}
    audit.record("person.resend", subject, actor=actor, now=now, after=after, reason=reason)
    db.session.commit()
    wake("mail")
    return kind
