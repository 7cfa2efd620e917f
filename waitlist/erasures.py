"""Who was erased: of each only a keyed hash is kept, so that nobody mails them as before.

The hash is an HMAC (RFC 2104) of the address's identity, under a key that is derived for this
purpose alone: the table tells nobody who was here, and a leaked link's key isn't this one. Every
one of `SECRET_KEYS` is tried, the newest hashes; so a key may be dropped when nothing that was
hashed by it matters any more.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache

from sqlalchemy import Text, or_, select, update

from waitlist import outbox, rows
from waitlist.extensions import db, insert_unless_known, reading, rows_changed, settings
from waitlist.models import Erasure
from waitlist.outbox import Leased
from waitlist.policy import deadlines, identity
from waitlist.writing import Letter

PURPOSE = b"waitlist.erasures"
WHY_NOT = "erased before, and mailed in the last 30 days"


def hashes(address_key: str) -> list[str]:
    """What may be kept of this address, by each of our keys, newest first."""
    word = address_key.encode()
    return [hmac.digest(key, word, "sha256").hex() for key in _keys(settings().secret_keys)]


@lru_cache(maxsize=4)
def _keys(secrets: tuple[str, ...]) -> list[bytes]:
    return [hmac.digest(secret.encode(), PURPOSE, "sha256") for secret in secrets]


def note(address_key: str, *, now: datetime) -> None:
    """Keep that this address was erased, in the caller's transaction."""
    known = hashes(address_key)
    again = update(Erasure).where(Erasure.key_hash.in_(known)).values(at=now)
    if not rows_changed(again):
        first = insert_unless_known(Erasure, Erasure.key_hash)
        db.session.execute(first.values(key_hash=known[0], at=now))


def are_there() -> bool:
    """Whether anybody was ever erased."""
    return db.session.scalar(select(Erasure.key_hash).limit(1)) is not None


def among(address_keys: Iterable[str]) -> dict[str, str]:
    """Those of these addresses that were erased, with the hash that is kept of each."""
    known = {hashed: key for key in address_keys for hashed in hashes(key)}
    given = rows.given(((hashed,) for hashed in known), key_hash=Text())
    found = select(Erasure.key_hash).join(given, given.c.key_hash == Erasure.key_hash)
    return {known[hashed]: hashed for hashed in db.session.scalars(found)}


def let_through(letters: Mapping[Leased, Letter], *, now: datetime) -> dict[Leased, Letter]:
    """These letters without confirmations to who was erased and had one in the last 30 days.

    Call it outside of a transaction: those are cancelled, and what may go to somebody erased is
    noted before it goes, so that no two ever do, whichever workers have them.
    """
    confirmations = {
        one: identity.canonical_address(letter.to.to).key
        for one, letter in letters.items()
        if letter.kind == "confirm" and letter.mail is not None
    }
    if not confirmations:
        return dict(letters)
    with reading():
        erased = among(confirmations.values())
    held = {
        one
        for one, key in confirmations.items()
        if key in erased and not _may_go(one, erased[key], now=now)
    }
    if erased:
        db.session.commit()
    return {one: letter for one, letter in letters.items() if one not in held}


def _may_go(message: Leased, key_hash: str, *, now: datetime) -> bool:
    """Note that this one goes; False, and it is cancelled, if another went not long ago.

    What was let through once may go again: its worker may have died, or the server was away.
    """
    lately = Erasure.confirm_mailed_at > now - deadlines.ERASED_AGAIN
    mine = or_(Erasure.confirm_mailed_at.is_(None), ~lately, Erasure.confirm_id == message.id)
    let = rows_changed(
        update(Erasure)
        .where(Erasure.key_hash == key_hash, mine)
        .values(confirm_mailed_at=now, confirm_id=message.id)
    )
    if not let:
        outbox.mark(message, state="cancelled", now=now, reason=WHY_NOT)
    return bool(let)
