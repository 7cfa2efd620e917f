"""Which addresses a webhook may be sent to: public ones, and those that the setting names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052, section 2.1
EVERYTHING = ("0.0.0.0/0", "::/0")


class Allowed(NamedTuple):
    """What may be reached beside public addresses: hosts by name, and networks."""

    hosts: frozenset[str]
    networks: tuple[Network, ...]

    def names(self, host: str, address: Address) -> bool:
        """Whether this is one of those hosts, or an address of those networks."""
        return host.lower() in self.hosts or any(address in network for network in self.networks)


def allowed(words: Iterable[str]) -> Allowed:
    """Of host names, addresses and networks (CIDR); `ValueError` for what is none of them."""
    hosts, networks = set(), list[Network]()
    for word in words:
        if "/" in word or ":" in word or word.replace(".", "").isdecimal():
            networks.append(ip_network(word))
        else:
            hosts.add(_host(word))
    return Allowed(frozenset(hosts), tuple(networks))


def refused(host: str, addresses: Sequence[str], also: Allowed, *, plain: bool) -> str | None:
    """Why this host mustn't be connected to, if one of its addresses is wrong; None if none is.

    All of them must be right: else who answers for the name could mix in one of ours. Over
    `plain` HTTP only what the setting names may be reached.
    """
    for address in map(ip_address, addresses):
        if also.names(host, address):
            continue
        if not is_public(address):
            return f"its address {address} isn't public: see WEBHOOK_ALLOW"
        if plain:
            return "plain http goes only to hosts of WEBHOOK_ALLOW: use https"
    return None


def is_public(address: Address) -> bool:
    """Whether it is a single host's that anybody on the internet may reach (RFC 6890)."""
    meant = _meant(address)
    return meant.is_global and not meant.is_multicast and not meant.is_reserved


def _meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, if it stands for one; else itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address


def _host(word: str) -> str:
    labels = word.lower().split(".")
    if not all(
        label.replace("-", "").replace("_", "").isalnum() and label.isascii() for label in labels
    ):
        raise ValueError(f"{word!r} is no host name")
    return word.lower()
