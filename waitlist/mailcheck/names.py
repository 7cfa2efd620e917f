"""Asking the DNS, for seconds at most: where it is silent once, it isn't asked again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address

from dns.exception import DNSException
from dns.name import EmptyLabel, LabelTooLong
from dns.nameserver import Do53Nameserver
from dns.resolver import NXDOMAIN, NoAnswer, NoNameservers, Resolver

from waitlist.errors import NamesSilent, ValueRefused

PATIENCE = 4.0  # seconds for one question, with its repeats
DNS_PORT = 53


class Names:
    """A resolver: the system's, or one that was named, such as 9.9.9.9 or 127.0.0.1:5353."""

    def __init__(self, nameserver: str | None = None) -> None:
        self._silent = ""
        self.look: Callable[[str, str], list[str]] = lru_cache(maxsize=None)(self._look)
        try:
            self._resolver = Resolver(configure=nameserver is None)
        except DNSException as error:  # no /etc/resolv.conf, or nobody in it
            self._silent = type(error).__name__
            return
        self._resolver.lifetime, self._resolver.timeout = PATIENCE, PATIENCE / 2
        if nameserver:
            self._resolver.nameservers = [_server(nameserver)]

    def _look(self, kind: str, name: str) -> list[str]:
        """The records of this kind at a name, as text; `NamesSilent`."""
        if self._silent:
            raise NamesSilent(self._silent)
        try:
            answer = self._resolver.resolve(name, kind)
        except (NXDOMAIN, NoAnswer, EmptyLabel, LabelTooLong):
            return []
        except (DNSException, OSError) as error:
            if not isinstance(error, NoNameservers):  # who fails at this name may know others
                self._silent = type(error).__name__
            raise NamesSilent(type(error).__name__) from error
        if kind == "TXT":
            return [b"".join(record.strings).decode(errors="replace") for record in answer]
        return [record.to_text().removesuffix(".") for record in answer]


def addresses(host: str) -> list[str]:
    """The addresses of a host, as this machine finds them; none if that takes too long."""
    found: list[str] = []

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        found.extend(dict.fromkeys(str(answer[4][0]) for answer in answers))

    asking = threading.Thread(target=ask, daemon=True)  # it knows no time-out
    asking.start()
    asking.join(PATIENCE)
    return list(found)


def is_here(host: str) -> bool:
    """Whether this is the machine itself."""
    found = addresses(host)
    return bool(found) and all(ip_address(one.partition("%")[0]).is_loopback for one in found)


def _server(words: str) -> Do53Nameserver:
    """The nameserver of these words: an address, with a port after it or none."""
    host, colon, port = words.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, port = words, str(DNS_PORT)
    host = host.strip("[]")
    try:
        ip_address(host)
        return Do53Nameserver(host, int(port))
    except ValueError as error:
        raise ValueRefused(
            f"--nameserver is an address such as 9.9.9.9 or 127.0.0.1:5353, not {words!r}"
        ) from error
