"""What a domain asks of mail in its name (DMARC), and whose domains belong together (RFC 9989).

Policies and organizational domains are found by the tree walk of section 4.10, which needs no
list of public suffixes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

Tags = Mapping[str, str]
FindTags = Callable[[str], Tags | None]  # of the record at `_dmarc.` of a domain

VERSION = "DMARC1"
MOST_LABELS = 8
POLICIES = ("none", "quarantine", "reject")


class Policy(NamedTuple):
    """What is asked of mail from a domain, at which domain that stands, and how close it binds."""

    at: str
    asks: str
    strict_dkim: bool
    strict_spf: bool


def read(record: str) -> Tags | None:
    """The tags of a DMARC record; None if it isn't one."""
    pairs = [part.partition("=") for part in record.split(";")]
    tags = {name.strip().lower(): value.strip() for name, _, value in pairs if name.strip()}
    return tags if tags.get("v") == VERSION else None


def policy(domain: str, find: FindTags) -> Policy | None:
    """What is asked of mail from `domain`; None where nothing is."""
    own = find(domain)
    at = domain if own else organization(domain, find)
    tags = own or find(at)
    if not tags:
        return None
    asks = tags.get("p", "none") if at == domain else tags.get("sp", tags.get("p", "none"))
    return Policy(at, asks.lower(), tags.get("adkim") == "s", tags.get("aspf") == "s")


def organization(domain: str, find: FindTags) -> str:
    """The domain of the organization that `domain` belongs to; itself where nothing tells."""
    found = domain
    for at, below in _walk(domain):
        tags = find(at)
        if tags is None:
            continue
        if tags.get("psd") == "n":
            return at
        if tags.get("psd") == "y":
            return below or at
        found = at
    return found


def is_aligned(one: str, other: str, find: FindTags, *, strict: bool) -> bool:
    """Whether two domains are the same to DMARC: alike, or of one organization."""
    if one == other:
        return True
    return not strict and organization(one, find) == organization(other, find)


def _walk(domain: str) -> Iterator[tuple[str, str]]:
    """The domain and those above it, each with the one below that it came from."""
    labels, below = domain.split("."), ""
    while labels:
        at = ".".join(labels)
        yield at, below
        below = at
        labels = labels[1:] if len(labels) <= MOST_LABELS else labels[1 - MOST_LABELS :]
