"""Who somebody is: the forms of an address, the network of a client, the language of a tag."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from email_validator import EmailNotValidError, validate_email

from waitlist.errors import AddressInvalid

PLAIN_LOCAL_PART = re.compile(r"(?=.{1,64}\Z)[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*")
ADDRESS_LENGTH = 254


class Address(NamedTuple):
    """An address as typed, the key of its identity, and the form that is mailed."""

    typed: str
    key: str
    mail_to: str


def canonical_address(raw: str) -> Address:
    """The address in its three forms; `AddressInvalid` with the reason.

    The key lower-cases the local part and takes the domain in ASCII (IDNA 2008);
    plus tags and dots are kept. Mail goes to the local part as typed at that domain.
    """
    typed = raw.strip()
    local, _, domain = typed.rpartition("@")
    if PLAIN_LOCAL_PART.fullmatch(local) and len(typed) <= ADDRESS_LENGTH:
        domain = _domain(domain)
    else:
        local, domain = _parts(typed)
    return Address(typed, f"{local.lower()}@{domain}", f"{local}@{domain}")


@lru_cache(maxsize=4096)
def _domain(typed: str) -> str:
    """A domain in ASCII. Most people share a few, and checking one takes longer than the rest."""
    return _parts(f"x@{typed}")[1]


def _parts(typed: str) -> tuple[str, str]:
    try:
        checked = validate_email(
            typed, check_deliverability=False, allow_smtputf8=False, strict=True
        )
    except EmailNotValidError as error:
        raise AddressInvalid(str(error)) from error
    return checked.local_part, checked.ascii_domain.lower()


def network(client: str | None) -> str | None:
    """Whom a limit counts: an IPv4 address, or the /64 of an IPv6 one (RFC 6177), or None."""
    with suppress(OSError, TypeError, ValueError):
        socket.inet_pton(socket.AF_INET, client or "")  # a tenth of the time of what follows
        return client
    try:
        address = ipaddress.ip_address(client or "")
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.IPv6Address(int(address) >> 64 << 64))
        address = address.ipv4_mapped
    return str(address)


def language(tag: str, known: Sequence[str]) -> str | None:
    """The one of the known languages that a tag such as `fr-CA` asks for (RFC 5646), or None."""
    primary = tag.replace("_", "-").split("-")[0].lower()
    return primary if primary in known else None
