"""The links of this service: from a row to its address, and from a token back to its row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from waitlist.errors import LinkInvalid, LinkOver
from waitlist.extensions import db, settings
from waitlist.models import Entry, Invitation, Message, Registration
from waitlist.tokens import Purpose, Ref, dumps, loads

ENTRY_GENERATION = 1


def to_entry(purpose: Purpose, entry: Entry) -> str:
    """The full address that shows this entry for `purpose`."""
    return _url(purpose, entry_token(purpose, entry))


def to_invitation(invitation: Invitation) -> str:
    """The full address of an invitation's form."""
    return _url(Purpose.INVITE, invitation_token(invitation))


def to_act(message: Message | Row[Any]) -> str:
    """The full address of the page that a mail of kind `act` opens."""
    return _url(Purpose.ACT, _dumps(Purpose.ACT, message.id, 1, message.nonce))


def to_dispute(registration: Registration) -> str:
    """The full address of the page by which a mail's reader says "this wasn't me"."""
    token = _dumps(Purpose.DISPUTE, registration.id, 1, registration.nonce)
    return _url(Purpose.DISPUTE, token)


def entry_token(purpose: Purpose, entry: Entry) -> str:
    """The token by which an entry is shown for `purpose`."""
    return _dumps(purpose, entry.id, ENTRY_GENERATION, entry.nonce)


def invitation_token(invitation: Invitation) -> str:
    """The token by which an invitation is completed."""
    return _dumps(Purpose.INVITE, invitation.id, invitation.generation, invitation.nonce)


def welcome_token(registration_id: int, nonce: str) -> str:
    """The token by which a registration shows its welcome page."""
    return _dumps(Purpose.WELCOME, registration_id, 1, nonce)


def ref_of(purpose: Purpose, token: str) -> Ref:
    """What a token names, if it was signed for `purpose`; `LinkInvalid` otherwise."""
    return loads(settings().secret_keys, purpose, token)


def refs_of(purpose: Purpose, tokens: Sequence[str]) -> list[Ref | None]:
    """What each of these names; None where `ref_of` raises."""
    keys = settings().secret_keys
    found: list[Ref | None] = []
    for token in tokens:
        try:
            found.append(loads(keys, purpose, token))
        except LinkInvalid:
            found.append(None)
    return found


def entry_of(purpose: Purpose, token: str) -> Entry:
    """The entry that a token shows; `LinkInvalid` if there is none."""
    ref = ref_of(purpose, token)
    entry = db.session.get(Entry, ref.id)
    if entry is None or not ref.opens(ENTRY_GENERATION, entry.nonce):
        raise LinkInvalid("this link opens nobody's place")
    return entry


def invitation_of(token: str) -> Invitation:
    """The invitation, in whatever state, that a token names; `LinkInvalid` if there is none."""
    ref = loads(settings().secret_keys, Purpose.INVITE, token)
    invitation = db.session.get(Invitation, ref.id)
    if invitation is None or not ref.opens(invitation.generation, invitation.nonce):
        raise LinkInvalid("this link opens no invitation")
    return invitation


def registration_of(token: str) -> Registration:
    """The registration that a token welcomes; `LinkInvalid` if there is none."""
    return _registration(Purpose.WELCOME, token)


def disputable(token: str) -> Registration:
    """The registration that a token of its mail disputes; `LinkInvalid` if there is none.

    Whoever finished it sees the welcome page, but only the mail's reader has this link.
    """
    return _registration(Purpose.DISPUTE, token)


def acting_entry(token: str, *, now: datetime) -> Entry:
    """Who may act by this link; `LinkOver` half an hour after its mail, else `LinkInvalid`."""
    ref = loads(settings().secret_keys, Purpose.ACT, token)
    message = db.session.get(Message, ref.id)
    if message is None or message.kind != "act" or not ref.opens(1, message.nonce):
        raise LinkInvalid("this link lets nobody act")
    if message.expires_at is not None and message.expires_at <= now:
        raise LinkOver("this link's half hour is over")
    return message.entry


def _registration(purpose: Purpose, token: str) -> Registration:
    ref = loads(settings().secret_keys, purpose, token)
    registration = db.session.get(Registration, ref.id)
    if registration is None or not ref.opens(1, registration.nonce):
        raise LinkInvalid("this link is of no registration")
    return registration


def _dumps(purpose: Purpose, row_id: int, generation: int, nonce: str) -> str:
    return dumps(settings().secret_keys, purpose, Ref(row_id, generation, nonce))


def _url(purpose: Purpose, token: str) -> str:
    return f"{settings().public_url}/{purpose}/{token}"
