"""The last step. An open invitation always completes, and the same request twice is one.

Verify the link, check the form, hash the password; then one transaction: lock the
invitation, look for a success that is stored already, check state and time, register.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from datetime import datetime

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from waitlist import links, outbox, policy, tokens
from waitlist.errors import (
    AlreadyCompleted,
    FieldsInvalid,
    InProgress,
    InvitationClosed,
    KeyReused,
)
from waitlist.extensions import db, insert_unless_known, reading, rows_changed, settings
from waitlist.failpoints import failpoint
from waitlist.models import Entry, Invitation, Registration
from waitlist.onboarding import forms
from waitlist.onboarding.forms import Form
from waitlist.onboarding.invitations import state_of
from waitlist.wake import wake

HASHER = PasswordHasher(memory_cost=19456, time_cost=2, parallelism=1)  # OWASP, 2024: 19 MiB
KEY_LIMIT = 255
LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL's code for a lock that wasn't given in time

_one_a_core = threading.BoundedSemaphore(os.cpu_count() or 1)


@dataclass(frozen=True)
class Completed:
    """A success, first or repeated: what is answered is the same."""

    handle: str
    display_name: str
    welcome_token: str
    replayed: bool


def complete(token: str, form: Form, *, key: str | None = None, now: datetime) -> Completed:
    """Register the invitee, once; the same again gets the same answer.

    Raises `LinkInvalid`, `FieldsInvalid` (nothing stored, the same key may be used again),
    `InvitationClosed`, `AlreadyCompleted`, `KeyReused` or `InProgress`.
    """
    with reading():  # nobody who joins meanwhile is waited for
        invitation = links.invitation_of(token)
        invitation_id, is_used = invitation.id, invitation.state == "used"
        if not is_used:
            _check_open(invitation, form, now=now)
    if not is_used:
        forms.check(form)
        with _one_a_core:
            password_hash = HASHER.hash(form.password)
        failpoint("completion.hashed")
        done = _register(invitation_id, form, password_hash, key, now=now)
        if done:
            wake("mail")
            return done
    return _replay(_stored(invitation_id), form, key)


@dataclass(frozen=True)
class _Success:
    """What is stored of a success, read and detached: nothing is hashed inside a transaction."""

    handle: str
    display_name: str
    welcome_token: str
    fingerprint: str
    password_hash: str
    key: str | None


def _stored(invitation_id: int) -> _Success | None:
    which = select(Registration).where(Registration.invitation_id == invitation_id)
    with reading():
        found = db.session.scalars(which).one_or_none()
        return found and _success(found)


def _success(registration: Registration) -> _Success:
    return _Success(
        registration.handle,
        registration.display_name,
        links.welcome_token(registration),
        registration.fingerprint,
        registration.password_hash,
        registration.idempotency_key,
    )


def _register(
    invitation_id: int, form: Form, password_hash: str, key: str | None, *, now: datetime
) -> Completed | None:
    """The one transaction; None if the invitation is used already."""
    invitation = _locked(invitation_id)
    if invitation.state == "used":
        db.session.rollback()
        return None
    _check_open(invitation, form, now=now)
    entry_id = invitation.entry_id
    registered = db.session.scalars(
        insert_unless_known(Registration, Registration.handle)
        .values(
            entry_id=entry_id,
            invitation_id=invitation_id,
            handle=form.handle,
            display_name=form.display_name,
            password_hash=password_hash,
            fingerprint=form.fingerprint,
            idempotency_key=key,
            terms_at=now,
            created_at=now,
        )
        .returning(Registration)
    ).one_or_none()
    if registered is None:
        free = free_handles(form.handle)
        db.session.rollback()
        raise FieldsInvalid({"handle": "handle-taken"}, free)
    _move_on(entry_id, invitation_id, now=now)
    outbox.stage("welcome", [entry_id], now=now)
    failpoint("completion.before-commit")
    done = _completed(_success(registered), replayed=False)
    db.session.commit()
    failpoint("completion.committed")
    return done


def _locked(invitation_id: int) -> Invitation:
    try:
        return db.session.scalars(
            select(Invitation).where(Invitation.id == invitation_id).with_for_update()
        ).one()
    except OperationalError as error:
        db.session.rollback()
        if getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE:
            raise InProgress("another attempt is under way") from error
        raise


def _check_open(invitation: Invitation, form: Form, *, now: datetime) -> None:
    """`InvitationClosed` if it can't be completed now; the transaction is ended then."""
    opened_at = tokens.opened_at(settings().secret_keys, form.opened, invitation.id)
    state = state_of(invitation, opened_at=opened_at, now=now)
    if state != "open":
        db.session.rollback()
        raise InvitationClosed(state)


def _move_on(entry_id: int, invitation_id: int, *, now: datetime) -> None:
    used = rows_changed(
        update(Invitation)
        .where(Invitation.id == invitation_id, Invitation.state == "open")
        .values(state="used", ended_at=now)
    )
    if used != 1:
        raise RuntimeError("the invitation was locked and open, and isn't")
    db.session.execute(
        update(Entry)
        .where(Entry.id == entry_id, Entry.state == "invited")
        .values(state="registered")
    )


def _replay(stored: _Success | None, form: Form, key: str | None) -> Completed:
    """The stored answer for the same fields and password; else why not."""
    if stored and stored.fingerprint == form.fingerprint and _verifies(stored, form.password):
        return _completed(stored, replayed=True)
    if stored and key is not None and key == stored.key:
        raise KeyReused("this Idempotency-Key belongs to another request")
    raise AlreadyCompleted("this invitation is used already")


def _verifies(stored: _Success, password: str) -> bool:
    try:
        with _one_a_core:
            return HASHER.verify(stored.password_hash, password)
    except VerifyMismatchError:
        return False


def _completed(stored: _Success, *, replayed: bool) -> Completed:
    return Completed(stored.handle, stored.display_name, stored.welcome_token, replayed)


def free_handles(handle: str) -> tuple[str, ...]:
    """Up to three handles near this one that nobody has at this moment."""
    candidates = policy.handle_candidates(handle)
    taken = db.session.scalars(
        select(Registration.handle).where(Registration.handle.in_(candidates))
    ).all()
    return policy.handle_proposals(handle, taken)
