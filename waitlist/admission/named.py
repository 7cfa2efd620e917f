"""People whom an operator names: who of them can be invited, and why the others can't."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import select

from waitlist.errors import AddressInvalid, ValueRefused
from waitlist.extensions import db
from waitlist.models import Entry
from waitlist.policy import identity

BATCH = 1_000

WHY_NOT = {
    "pending": "hasn't confirmed",
    "unconfirmed": "hasn't confirmed",
    "invited": "is invited already",
    "registered": "is registered already",
    "lapsed": "let an invitation lapse and hasn't asked for another",
    "withdrawn": "left the line",
    "removed": "was removed",
}


class Unable(NamedTuple):
    """An address that can't be invited, and why."""

    address: str
    why: str


class Named(NamedTuple):
    """The entries of those who can be invited, in the order of the list; and of whom not."""

    entry_ids: list[int]
    unable: list[Unable]


def find(addresses: Iterable[str]) -> Named:
    """Who of these waits and can be mailed. Whoever is named twice counts once, at the first."""
    keys, unable = _keys(addresses)
    known = _known(list(keys))
    entry_ids = []
    for key, address in keys.items():
        entry = known.get(key)
        why = _why_not(entry)
        if entry is None or why:
            unable.append(Unable(address, why))
        else:
            entry_ids.append(entry.id)
    return Named(entry_ids, unable)


def require_able(named: Named) -> None:
    """`ValueRefused`, with everyone who can't be invited and why, if there is anyone."""
    if named.unable:
        told = "\n".join(f"  {one.address}: {one.why}" for one in named.unable)
        raise ValueRefused(
            f"{len(named.unable):,} of the people named can't be invited, so nobody is:\n{told}\n"
            "To invite the others: --skip-unable"
        )


def _keys(addresses: Iterable[str]) -> tuple[dict[str, str], list[Unable]]:
    """The addresses by what identifies each; and what is none."""
    keys: dict[str, str] = {}
    unable = []
    for address in addresses:
        try:
            keys.setdefault(identity.canonical_address(address).key, address)
        except AddressInvalid:
            unable.append(Unable(address, "isn't a mail address"))
    return keys, unable


class _Known(NamedTuple):
    id: int
    state: str
    suppressed: bool


def _known(keys: Sequence[str]) -> dict[str, _Known]:
    found: dict[str, _Known] = {}
    for start in range(0, len(keys), BATCH):
        rows = db.session.execute(
            select(
                Entry.address_key, Entry.id, Entry.state, Entry.suppressed_at.is_not(None)
            ).where(Entry.address_key.in_(keys[start : start + BATCH]))
        )
        found |= {key: _Known(id_, state, gone) for key, id_, state, gone in rows}
    return found


def _why_not(entry: _Known | None) -> str:
    if entry is None:
        return "isn't known"
    if entry.state == "waiting":
        return "can't be mailed: see flask person unsuppress" if entry.suppressed else ""
    return WHY_NOT.get(entry.state, f"is {entry.state}")
