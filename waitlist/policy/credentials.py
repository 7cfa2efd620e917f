"""What a handle and a password must be."""

from __future__ import annotations

import re
from collections.abc import Sequence

HANDLE = re.compile(r"[a-z0-9_]{3,30}")
RESERVED_HANDLES = frozenset(
    """abuse account admin administrator api app auth billing blog contact dev everyone help here
    info invite join legal line login logout mail me moderator news noreply null official ops
    owner postmaster press privacy register root security settings signup staff status support
    system team terms undefined waitlist webmaster welcome www""".split()  # noqa: SIM905
)
PASSWORD_LENGTH = range(8, 257)
PASSWORD_SCORE = 2


def handle_reason(handle: str) -> str | None:
    """The code of what is wrong with a handle, or None."""
    if not handle:
        return "missing"
    if not HANDLE.fullmatch(handle):
        return "handle-form"
    return "handle-reserved" if handle in RESERVED_HANDLES else None


def handle_proposals(handle: str, taken: Sequence[str]) -> tuple[str, ...]:
    """Up to three handles near the wished one that are not among `taken`."""
    return tuple(name for name in handle_candidates(handle) if name not in set(taken))[:3]


def handle_candidates(handle: str) -> tuple[str, ...]:
    """Handles near the wished one, the nearest first, all of the right form."""
    stem = handle[:27]
    return tuple(f"{stem}_{number}" for number in range(2, 12))
