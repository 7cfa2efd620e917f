"""Links: one salt a purpose, and in each token which row, which generation, and its nonce.

The signature only keeps strangers from asking; what a link opens, and until when, the row
decides. So a reused id, an old backup or a leaked key opens nothing. Knows no Flask and no SQL.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache, lru_cache
from typing import NamedTuple

from itsdangerous import BadData, Signer, TimestampSigner, URLSafeSerializer
from itsdangerous.signer import SigningAlgorithm

from waitlist.errors import LinkInvalid

NAMESPACE = "waitlist."
MOST = 2**63 - 1  # of a row's id
PAYLOADS = URLSafeSerializer("")  # spells what is signed; each purpose has a signer of its own


class Purpose(StrEnum):
    """What a link is for; none opens anything else."""

    CONFIRM = "confirm"
    PLACE = "place"
    INVITE = "invite"
    WELCOME = "welcome"
    UNDO = "undo"
    ACT = "act"
    DISPUTE = "dispute"


class Ref(NamedTuple):
    """What a token names: a row's id, its generation and its nonce."""

    id: int
    generation: int
    nonce: str

    def opens(self, generation: int, nonce: str) -> bool:
        """Whether this is that row's link; compared in constant time."""
        return self.generation == generation and hmac.compare_digest(self.nonce, nonce)


def dumps(keys: Sequence[str], purpose: Purpose, ref: Ref) -> str:
    """The token of `ref`, signed by the newest key (the first)."""
    return _signer(tuple(keys), purpose).sign(PAYLOADS.dump_payload(list(ref))).decode()


def loads(keys: Sequence[str], purpose: Purpose, token: str) -> Ref:
    """What the token names; `LinkInvalid` unless one of the keys signed it for `purpose`."""
    try:
        match PAYLOADS.load_payload(_signer(tuple(keys), purpose).unsign(token)):
            case [int(row_id), int(generation), str(nonce)] if (
                0 < row_id <= MOST and nonce.isascii()
            ):
                return Ref(row_id, generation, nonce)
    except (BadData, UnicodeError) as error:
        raise LinkInvalid("this link was not made here") from error
    raise LinkInvalid("this link names nothing")


def opened(keys: Sequence[str], invitation_id: int) -> str:
    """A signed note that the form of this invitation was opened now."""
    return noted(keys, "opened", str(invitation_id))


def opened_at(keys: Sequence[str], note: str, invitation_id: int) -> datetime | None:
    """When the form was opened, in whole seconds; None for a note that isn't this invitation's."""
    return noted_at(keys, "opened", note, str(invitation_id))


def noted(keys: Sequence[str], what: str, of: str) -> str:
    """A signed note that this happened now, of whom or what."""
    return _noting(keys, what).sign(of).decode()


def noted_at(keys: Sequence[str], what: str, note: str, of: str) -> datetime | None:
    """When it was noted, in whole seconds; None for a note that isn't of this."""
    try:
        value, at = _noting(keys, what).unsign(note, return_timestamp=True)
    except (BadData, UnicodeError):
        return None
    return at.astimezone(UTC) if value == of.encode() else None


class _HmacSha1(SigningAlgorithm):
    """What itsdangerous signs with, in one call of OpenSSL's."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        """The HMAC (RFC 2104) of the value."""
        return hmac.digest(key, value, "sha1")


class _Signer(Signer):
    """A signer that derives each key only once: many people ask for their place at a time."""

    @cache  # noqa: B019  there are as few of these as purposes, and they stay
    def derive_key(self, secret_key: str | bytes | None = None) -> bytes:
        """The key of this purpose that is derived from a secret one."""
        return super().derive_key(secret_key)


@lru_cache(maxsize=64)
def _signer(keys: tuple[str, ...], purpose: Purpose) -> Signer:
    # itsdangerous signs with the last of its keys and tries them all
    return _Signer(list(reversed(keys)), salt=NAMESPACE + purpose, algorithm=_HmacSha1())


def _noting(keys: Sequence[str], what: str) -> TimestampSigner:
    return TimestampSigner(list(reversed(keys)), salt=NAMESPACE + what)
