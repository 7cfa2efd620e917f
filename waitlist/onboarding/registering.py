"""What the last step reads and writes of SQL, by statements that are made once.

Making a statement costs as much as running it, and so does an object of the session; and
whatever runs beside the hashing of passwords takes a core from it.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import NamedTuple

from sqlalchemy import Insert, Select, Update, bindparam, select, update

from waitlist.extensions import db, insert_unless_known, rows_changed
from waitlist.models import Entry, Invitation, Registration
from waitlist.models.base import Moment
from waitlist.onboarding.forms import Form


class Invited(NamedTuple):
    """What the last step depends on of an invitation."""

    id: int
    entry_id: int
    generation: int
    nonce: str
    state: str
    expires_at: datetime | None


class Registered(NamedTuple):
    """By what a registration's link names it."""

    id: int
    nonce: str


class _Statements(NamedTuple):
    read: Select[tuple[int, int, int, str, str, datetime | None]]
    lock: Select[tuple[int, int, int, str, str, datetime | None]]
    register: Insert
    use: Update
    move_on: Update


def invited(invitation_id: int, *, lock: bool = False) -> Invited | None:
    """An invitation, locked for the caller's transaction if asked; None if there is none."""
    statements = _statements(db.engine.dialect.name)
    which = statements.lock if lock else statements.read
    row = db.session.execute(which, {"invitation": invitation_id}).one_or_none()
    return Invited._make(row) if row else None


def register(
    invitation: Invited, form: Form, password_hash: str, key: str | None, *, now: datetime
) -> Registered | None:
    """Enter the registration in the caller's transaction; None if somebody has the handle."""
    row = db.session.execute(
        _statements(db.engine.dialect.name).register,
        {
            "entry_id": invitation.entry_id,
            "invitation_id": invitation.id,
            "handle": form.handle,
            "display_name": form.display_name,
            "password_hash": password_hash,
            "fingerprint": form.fingerprint,
            "idempotency_key": key,
            "terms_at": now,
            "created_at": now,
        },
    ).one_or_none()
    return Registered._make(row) if row else None


def move_on(invitation: Invited, *, now: datetime) -> None:
    """Use the invitation, which is locked and open, and register its entry."""
    statements = _statements(db.engine.dialect.name)
    used = rows_changed(statements.use, {"invitation": invitation.id, "now": now})
    if used != 1:
        raise RuntimeError("the invitation was locked and open, and isn't")
    db.session.execute(statements.move_on, {"entry": invitation.entry_id})


@cache
def _statements(dialect: str) -> _Statements:
    """Of tables: through the session's own rows each would take twice as long."""
    invitations, entries = Invitation.__table__, Entry.__table__
    registrations = Registration.__table__
    invitation, entry = invitations.c, entries.c
    columns = [invitation[name] for name in Invited._fields]
    which = invitation.id == bindparam("invitation")
    read = select(*columns).where(which)
    return _Statements(
        read=read,
        lock=read.with_for_update(),
        register=insert_unless_known(registrations, registrations.c.handle).returning(
            registrations.c.id, registrations.c.nonce
        ),
        use=update(invitations)
        .where(which, invitation.state == "open")
        .values(state="used", ended_at=bindparam("now", type_=Moment())),
        move_on=update(entries)
        .where(entry.id == bindparam("entry"), entry.state == "invited")
        .values(state="registered"),
    )
