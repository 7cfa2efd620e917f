"""What a domain publishes of the key that signs its mail (DKIM, RFC 6376; RFC 8301)."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

LEAST_BITS, GOOD_BITS = 1024, 2048  # RFC 8301, section 3.2


class Key(NamedTuple):
    """What a key record holds; `wrong` if nothing signed by it would be believed."""

    kind: str
    bits: int
    is_testing: bool
    wrong: str = ""


def read(record: str) -> Key:
    """The key of this record."""
    pairs = [part.partition("=") for part in record.split(";")]
    tags = {name.strip(): "".join(value.split()) for name, _, value in pairs}
    kind, testing = tags.get("k", "rsa"), "y" in tags.get("t", "").split(":")
    key = Key(kind, 0, testing)
    if tags.get("v", "DKIM1") != "DKIM1" or "p" not in tags:
        return key._replace(wrong="isn't a DKIM key")
    if not tags["p"]:
        return key._replace(wrong="was revoked (its p= is empty)")
    try:
        return _with_bits(key, b64decode(tags["p"], validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        return key._replace(wrong="can't be read: it may have been cut when it was pasted")


def place(selector: str, domain: str) -> tuple[str, str]:
    """Where the key of a selector stands, and which domain signs: the one it names, or `domain`."""
    name, dot, named = selector.partition("._domainkey.")
    signs = named if dot else domain
    return f"{name}._domainkey.{signs}", signs


def _with_bits(key: Key, octets: bytes) -> Key:
    if key.kind == "ed25519":  # RFC 8463
        return key._replace(bits=256, wrong="" if len(octets) == 32 else "can't be read")
    loaded = load_der_public_key(octets)
    bits = loaded.key_size if isinstance(loaded, RSAPublicKey) else 0
    short = f"is too short: {bits} bits, of which nobody believes fewer than {LEAST_BITS}"
    return key._replace(bits=bits, wrong=short if bits < LEAST_BITS else "")
