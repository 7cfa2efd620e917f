"""The last step. An open invitation always completes, and the same request twice is one.

Verify the link, check the form, hash the password; then one transaction: lock the
invitation, look for a success that is stored already, check state and time, register.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError
from zxcvbn_rs_py import zxcvbn

from waitlist import links, outbox, policy, tokens
from waitlist.errors import (
    AlreadyCompleted,
    FieldsInvalid,
    InProgress,
    InvitationClosed,
    KeyReused,
)
from waitlist.extensions import db, insert_unless_known, rows_changed, settings
from waitlist.failpoints import failpoint
from waitlist.models import Entry, Invitation, Registration
from waitlist.onboarding.invitations import state_of
from waitlist.wake import wake

HASHER = PasswordHasher(memory_cost=19456, time_cost=2, parallelism=1)  # OWASP, 2024: 19 MiB
ZXCVBN_LIMIT = 72  # characters; it raises above
NAME_LIMIT = 80
KEY_LIMIT = 255
LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL's code for a lock that wasn't given in time

_one_a_core = threading.BoundedSemaphore(os.cpu_count() or 1)


@dataclass(frozen=True)
class Form:
    """What an invitee sends. `opened` is the signed note of when the form was opened."""

    handle: str
    display_name: str
    password: str
    terms: bool
    opened: str = ""

    @property
    def fingerprint(self) -> str:
        """What makes two requests the same, but for the password, which is never in it."""
        fields = [self.handle, self.display_name, self.terms]
        return hashlib.sha256(json.dumps(fields).encode()).hexdigest()


@dataclass(frozen=True)
class Completed:
    """A success, first or repeated: what is answered is the same."""

    handle: str
    display_name: str
    welcome_token: str
    replayed: bool


def form_of(fields: Mapping[str, object]) -> Form:
    """The form in what was sent, trimmed; nothing is refused yet."""

    def text(name: str) -> str:
        value = fields.get(name)
        return value.encode(errors="replace").decode() if isinstance(value, str) else ""

    return Form(
        handle=text("handle").strip().lower(),
        display_name=" ".join(text("display_name").split()),
        password=text("password"),
        terms=fields.get("terms") in (True, "yes", "true", "on"),
        opened=text("opened"),
    )


def complete(token: str, form: Form, *, key: str | None = None, now: datetime) -> Completed:
    """Register the invitee, once; the same again gets the same answer.

    Raises `LinkInvalid`, `FieldsInvalid` (nothing stored, the same key may be used again),
    `InvitationClosed`, `AlreadyCompleted`, `KeyReused` or `InProgress`.
    """
    invitation = links.invitation_of(token)
    invitation_id = invitation.id
    if invitation.state != "used":
        _check_open(invitation, form, now=now)
    stored = _stored(invitation_id)
    if stored is None:
        _check(form)
        with _one_a_core:
            password_hash = HASHER.hash(form.password)
        failpoint("completion.hashed")
        if _register(invitation_id, form, password_hash, key, now=now):
            wake("mail")
            return _completed(_stored(invitation_id), replayed=False)
        stored = _stored(invitation_id)
    return _replay(stored, form, key)


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
    found = db.session.scalars(
        select(Registration).where(Registration.invitation_id == invitation_id)
    ).one_or_none()
    success = found and _Success(
        found.handle,
        found.display_name,
        links.welcome_token(found),
        found.fingerprint,
        found.password_hash,
        found.idempotency_key,
    )
    db.session.rollback()
    return success


def _check(form: Form) -> None:
    """`FieldsInvalid` with a code for each field that is wrong."""
    reasons = {
        "handle": policy.handle_reason(form.handle),
        "display_name": _name_reason(form.display_name),
        "password": _password_reason(form),
        "terms": None if form.terms else "terms",
    }
    wrong = {field: reason for field, reason in reasons.items() if reason}
    if wrong:
        raise FieldsInvalid(wrong)


def _name_reason(name: str) -> str | None:
    if not name:
        return "missing"
    if len(name) > NAME_LIMIT:
        return "too-long"
    return None if name.isprintable() else "unprintable"


def _password_reason(form: Form) -> str | None:
    if not form.password:
        return "missing"
    if len(form.password) < policy.PASSWORD_LENGTH.start:
        return "too-short"
    if len(form.password) >= policy.PASSWORD_LENGTH.stop:
        return "too-long"
    known = [form.handle, form.display_name]
    score = int(zxcvbn(form.password[:ZXCVBN_LIMIT], user_inputs=known).score)
    return None if score >= policy.PASSWORD_SCORE else "weak"


def _register(
    invitation_id: int, form: Form, password_hash: str, key: str | None, *, now: datetime
) -> bool:
    """The one transaction; False if the invitation is used already."""
    invitation = _locked(invitation_id)
    if invitation.state == "used":
        db.session.rollback()
        return False
    _check_open(invitation, form, now=now)
    entry_id = invitation.entry_id
    registered = db.session.execute(
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
        .returning(Registration.id)
    ).scalar_one_or_none()
    if registered is None:
        free = free_handles(form.handle)
        db.session.rollback()
        raise FieldsInvalid({"handle": "handle-taken"}, free)
    _move_on(entry_id, invitation_id, now=now)
    outbox.stage("welcome", [entry_id], now=now)
    failpoint("completion.before-commit")
    db.session.commit()
    failpoint("completion.committed")
    return True


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


def _completed(stored: _Success | None, *, replayed: bool) -> Completed:
    if stored is None:
        raise RuntimeError("a registration was committed, and isn't there")
    return Completed(stored.handle, stored.display_name, stored.welcome_token, replayed)


def free_handles(handle: str) -> tuple[str, ...]:
    """Up to three handles near this one that nobody has at this moment."""
    candidates = policy.handle_candidates(handle)
    taken = db.session.scalars(
        select(Registration.handle).where(Registration.handle.in_(candidates))
    ).all()
    return policy.handle_proposals(handle, taken)
