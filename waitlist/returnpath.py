"""Return paths that name their mail (VERP): what comes back says of itself which mail it is.

`bounces+<token>@join.example.com`: the token names a row of the outbox, and is signed, with the
row's nonce, so that nobody forges a bounce and a reused id means nothing. Servers may change the
case of a local part, so it is base32 (RFC 4648, section 6); 32 signs, since a local part has at
most 64 octets (RFC 5321, section 4.5.3.1.1). Knows no Flask and no SQL.
"""

from __future__ import annotations

import hmac
import re
from base64 import b32decode, b32encode
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

SALT = b"waitlist.return"
NUMBER, SIGNED = 8, 12  # octets: of the row's id, and of what remains of the signature
TOKEN = re.compile(r"\+([a-z2-7]{32})@", re.IGNORECASE)
LONGEST_LOCAL_PART = 64 - 1 - 32  # octets, before the plus


class Returned(NamedTuple):
    """What a token names, which is nothing before `opens` says so."""

    id: int
    signature: bytes

    def opens(self, keys: Sequence[str], nonce: str) -> bool:
        """Whether one of the keys signed this for the row of that nonce."""
        return any(
            hmac.compare_digest(_signature(key, self.id, nonce), self.signature) for key in keys
        )


def address(keys: Sequence[str], home: str, message_id: int, nonce: str) -> str:
    """The return path of this row's mail at `home`, signed by the newest key (the first)."""
    local, _, domain = home.rpartition("@")
    named = message_id.to_bytes(NUMBER, "big") + _signature(keys[0], message_id, nonce)
    return f"{local}+{b32encode(named).decode().lower()}@{domain}"


def found(text: str) -> Returned | None:
    """What the first return path in this text names, if there is one."""
    token = TOKEN.search(text)
    if token is None:
        return None
    named = b32decode(token[1].upper())
    return Returned(int.from_bytes(named[:NUMBER], "big"), named[NUMBER:])


def _signature(key: str, message_id: int, nonce: str) -> bytes:
    return hmac.digest(_derived(key), f"{message_id}:{nonce}".encode(), "sha256")[:SIGNED]


@lru_cache(maxsize=64)
def _derived(key: str) -> bytes:
    return hmac.digest(key.encode(), SALT, "sha256")
