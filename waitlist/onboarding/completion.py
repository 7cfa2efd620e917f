"""The last step. An open invitation always completes, and the same request twice is one.

Verify the link, check the form, hash the password; then one transaction: lock the
invitation, look for a success that is stored already, check state and time, register.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from waitlist import limits, links, outbox, patience, tokens
from waitlist.errors import (
    AlreadyCompleted,
    FieldsInvalid,
    InProgress,
    InvitationClosed,
    KeyReused,
    LinkInvalid,
    TooManyTries,
)
from waitlist.extensions import db, reading, settings
from waitlist.failpoints import failpoint
from waitlist.handover import staging
from waitlist.handover.events import COMPLETED
from waitlist.models import Registration
from waitlist.onboarding import forms, passwords, registering
from waitlist.onboarding.forms import Form
from waitlist.onboarding.invitations import state_of
from waitlist.onboarding.registering import Invited
from waitlist.policy import credentials
from waitlist.tokens import Purpose
from waitlist.wake import wake

log = structlog.get_logger()
KEY_LIMIT = 255
LOCK_WAIT = 2.0  # seconds that this waits for another attempt, or for SQLite's writer
ANSWER_WAIT = 4.0  # seconds that a statement of it may take
TRIES_A_MINUTE = 60  # of an invitation; the page of one tries some ten times


@dataclass(frozen=True)
class Completed:
    """A success, first or repeated: what is answered is the same."""

    handle: str
    display_name: str
    welcome_token: str
    replayed: bool


def complete(token: str, form: Form, *, key: str | None = None, now: datetime) -> Completed:
    """Register the invitee, once; the same again gets the same answer.

    Raises `LinkInvalid`, `TooManyTries`, `FieldsInvalid` (nothing stored, the same key may be
    used again), `InvitationClosed`, `AlreadyCompleted`, `KeyReused` or `InProgress`. SQL away:
    SQLAlchemy's errors; whether it was committed is unknown, and trying again is safe.
    """
    with patience.at_most(lock=LOCK_WAIT, answer=ANSWER_WAIT):
        return _complete(token, form, key, now=now)


def _complete(token: str, form: Form, key: str | None, *, now: datetime) -> Completed:
    with reading():  # nobody who joins meanwhile is waited for
        invitation = _invited(token)
        is_used = invitation.state == "used"
        if not is_used:
            _check_open(invitation, form, now=now)
    _count(invitation, now=now)
    if not is_used:
        forms.check(form)
        password_hash = passwords.hashed(form.password)
        failpoint("completion.hashed")
        done = _register_or_again(invitation.id, form, password_hash, key, now=now)
        if done:
            wake("mail")
            return done
    return _replay(_stored(invitation.id), form, key)


def _count(invitation: Invited, *, now: datetime) -> None:
    """Note one more try: by what the link names, as its spelling can be varied."""
    [tries] = limits.knock("completions", [str(invitation.id)], now=now)
    if tries > TRIES_A_MINUTE:
        raise TooManyTries(60 - now.second)


def _invited(token: str) -> Invited:
    ref = links.ref_of(Purpose.INVITE, token)
    invitation = registering.invited(ref.id)
    if invitation is None or not ref.opens(invitation.generation, invitation.nonce):
        raise LinkInvalid("this link opens no invitation")
    return invitation


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
        links.welcome_token(registration.id, registration.nonce),
        registration.fingerprint,
        registration.password_hash,
        registration.idempotency_key,
    )


def _register_or_again(
    invitation_id: int, form: Form, password_hash: str, key: str | None, *, now: datetime
) -> Completed | None:
    """The same as `_register`, which goes a second time if others were in its way."""
    try:
        return _register(invitation_id, form, password_hash, key, now=now)
    except OperationalError as error:
        db.session.rollback()
        if not patience.may_go_again(error):
            raise
        log.info("completion goes again", error=type(error.orig).__name__)
    return _register(invitation_id, form, password_hash, key, now=now)


def _register(
    invitation_id: int, form: Form, password_hash: str, key: str | None, *, now: datetime
) -> Completed | None:
    """The one transaction; None if the invitation is used already."""
    invitation = _locked(invitation_id)
    if invitation.state == "used":
        db.session.rollback()
        return None
    _check_open(invitation, form, now=now)
    registered = registering.register(invitation, form, password_hash, key, now=now)
    if registered is None:
        free = free_handles(form.handle)
        db.session.rollback()
        raise FieldsInvalid({"handle": "handle-taken"}, free)
    registering.move_on(invitation, now=now)
    outbox.stage("welcome", [invitation.entry_id], now=now)
    told = staging.stage(COMPLETED, *registered, entry_id=invitation.entry_id, now=now)
    failpoint("completion.before-commit")
    db.session.commit()
    failpoint("completion.committed")
    if told:
        wake("handover")
    welcome = links.welcome_token(*registered)
    return Completed(form.handle, form.display_name, welcome, replayed=False)


def _locked(invitation_id: int) -> Invited:
    try:
        invitation = registering.invited(invitation_id, lock=True)
    except OperationalError as error:
        db.session.rollback()
        if patience.was_locked(error):
            raise InProgress("another attempt is under way") from error
        raise
    if invitation is None:
        db.session.rollback()
        raise LinkInvalid("this link's owner was erased meanwhile")
    return invitation


def _check_open(invitation: Invited, form: Form, *, now: datetime) -> None:
    """`InvitationClosed` if it can't be completed now; the transaction is ended then."""
    opened_at = tokens.opened_at(settings().secret_keys, form.opened, invitation.id)
    state = state_of(invitation, opened_at=opened_at, now=now)
    if state != "open":
        db.session.rollback()
        raise InvitationClosed(state)


def _replay(stored: _Success | None, form: Form, key: str | None) -> Completed:
    """The stored answer for the same fields and password; else why not."""
    if stored is None:
        raise LinkInvalid("this link's owner was erased meanwhile")
    is_same = stored.fingerprint == form.fingerprint
    if is_same and passwords.verifies(stored.password_hash, form.password):
        return Completed(stored.handle, stored.display_name, stored.welcome_token, replayed=True)
    if key is not None and key == stored.key:
        raise KeyReused("this Idempotency-Key belongs to another request")
    raise AlreadyCompleted("this invitation is used already")


def free_handles(handle: str) -> tuple[str, ...]:
    """Up to three handles near this one that nobody has at this moment."""
    candidates = credentials.handle_candidates(handle)
    taken = db.session.scalars(
        select(Registration.handle).where(Registration.handle.in_(candidates))
    ).all()
    return credentials.handle_proposals(handle, taken)
