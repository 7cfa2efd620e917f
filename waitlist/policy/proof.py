"""Proof of work: a little sum, which only who joins a thousand times notices.

Hashcash (Back, "Hashcash: a denial of service counter-measure", 2002): find a number of which the
SHA-256, together with the challenge and the address, begins with so many zero bits. The sum is of
this address, so it lets nobody else in; the challenge is the same for everybody for a while.
Where a browser runs no script, waiting is the work.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import NamedTuple

BITS = 16  # some 65,000 hashes: a second of a laptop, a few of a phone
WAIT = timedelta(seconds=20)
VALID = timedelta(hours=1)  # of a challenge, and of having begun to wait
NUMBER_LENGTH = 20  # digits at most
FAR_ABOVE = 10  # times the joins of a network for which a sum is asked, after which none helps


class Proof(NamedTuple):
    """What came with an address: a challenge and its number, or a note of when waiting began."""

    challenge: str = ""
    number: str = ""
    waiting: str = ""


NO_PROOF = Proof()


def solves(challenge: str, address: str, number: str, *, bits: int = BITS) -> bool:
    """Whether this number is the sum of the challenge for an address, as it was typed."""
    if not (number.isascii() and number.isdecimal() and len(number) <= NUMBER_LENGTH):
        return False
    digest = hashlib.sha256(f"{challenge}:{address}:{number}".encode()).digest()
    return int.from_bytes(digest) >> (len(digest) * 8 - bits) == 0


def is_current(issued_at: datetime | None, now: datetime) -> bool:
    """Whether a challenge of that moment still counts; of a clock a little ahead it does."""
    return issued_at is not None and abs(now - issued_at) <= VALID


def has_waited(began_at: datetime | None, now: datetime) -> bool:
    """Whether somebody who began to wait then has waited for long enough."""
    return began_at is not None and WAIT <= now - began_at <= VALID


def seconds_left(began_at: datetime | None, now: datetime) -> int:
    """How many seconds they have to wait yet."""
    left = WAIT - (now - began_at) if began_at is not None else WAIT
    return max(0, -(-left // timedelta(seconds=1)))
