"""Who has to prove that they aren't a machine, and whether they did."""

from __future__ import annotations

import hashlib
from datetime import datetime

from waitlist import lately, switches, tokens
from waitlist.errors import ProofNeeded, TooMany
from waitlist.extensions import settings
from waitlist.policy import proof
from waitlist.policy.proof import Proof

KEPT = "challenge"


def check(address: str, sent: Proof, *, times: int, now: datetime) -> None:
    """`ProofNeeded` of who must prove it and doesn't; `TooMany` where that helps no more.

    `times` is how often their network joined in this minute. While joining is challenged
    everybody must, else those of a network from which very many join.
    """
    most = settings().joins_a_minute
    if times > proof.FAR_ABOVE * most:
        raise TooMany("this network joins too often")
    if not (times > most or switches.current().joining_is_challenged):
        return
    if not _is_proven(address, sent, now=now):
        raise _needed(address, sent, now=now)


def challenge() -> str:
    """The challenge of this second, the same for everybody, as the join page is."""
    return lately.read(KEPT, lambda: tokens.noted(settings().secret_keys, "challenge", ""))


def _is_proven(address: str, sent: Proof, *, now: datetime) -> bool:
    issued_at = tokens.noted_at(settings().secret_keys, "challenge", sent.challenge, "")
    if proof.is_current(issued_at, now) and proof.solves(sent.challenge, address, sent.number):
        return True
    return proof.has_waited(_began_at(address, sent), now)


def _needed(address: str, sent: Proof, *, now: datetime) -> ProofNeeded:
    began_at = _began_at(address, sent)
    fits = began_at is not None and now - began_at < proof.VALID
    waiting = sent.waiting if fits else _waiting(address)
    return ProofNeeded(challenge(), waiting, proof.seconds_left(began_at if fits else None, now))


def _waiting(address: str) -> str:
    return tokens.noted(settings().secret_keys, "waiting", _digest(address))


def _began_at(address: str, sent: Proof) -> datetime | None:
    return tokens.noted_at(settings().secret_keys, "waiting", sent.waiting, _digest(address))


def _digest(address: str) -> str:
    return hashlib.sha256(address.encode(errors="replace")).hexdigest()[:16]
