"""Whether a domain lets a machine send its mail: the Sender Policy Framework (RFC 7208).

What needs more than the sender's address (macros, `exists`, `ptr`) isn't evaluated: it is taken
as no match, and told in the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

from waitlist.errors import RecordWrong

Address = IPv4Address | IPv6Address
Look = Callable[[str, str], list[str]]  # the records of a kind (TXT, A, AAAA, MX) at a name

VERSION = "v=spf1"
MOST_LOOKUPS = 10  # section 4.6.4
RESULTS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
ASKS = ("include", "a", "mx", "ptr", "exists", "redirect")


class Verdict(NamedTuple):
    """What the domain's record says of an address; `lets_others` what it says of any other."""

    result: str
    record: str
    lets_others: str
    lookups: int
    unknown: tuple[str, ...] = ()  # terms that weren't evaluated


def record_of(domain: str, look: Look) -> str:
    """The domain's record; "" if it has none, `RecordWrong` if it has two (section 4.5)."""
    found = [text for text in look("TXT", domain) if text.lower().split(" ")[0] == VERSION]
    if len(found) > 1:
        raise RecordWrong(f"{domain} has {len(found)} SPF records, and only one may be")
    return found[0] if found else ""


def evaluate(domain: str, address: str, look: Look) -> Verdict:
    """What the record of `domain` says of mail from this address; `none` where there is none."""
    asked = _Asked(ip_address(address), look)
    record = record_of(domain, look)
    if not record:
        return Verdict("none", "", "none", 0)
    result = asked.check(domain, record)
    anybody = [qualifier for qualifier, name, _ in _terms(record) if name == "all"]
    lets_others = RESULTS[anybody[-1]] if anybody else "neutral"
    if not anybody and (target := _redirect(record)):
        lets_others = f"as {target} says"
    return Verdict(result, record, lets_others, asked.lookups, tuple(asked.unknown))


class _Asked:
    """One evaluation, which counts its lookups over every record that it reads."""

    def __init__(self, address: Address, look: Look) -> None:
        self.address, self._look = address, look
        self.lookups = 0
        self.unknown: list[str] = []

    def check(self, domain: str, record: str) -> str:
        for qualifier, name, value in _terms(record):
            if self._matches(name, value, domain):
                return RESULTS[qualifier]
        if target := _redirect(record):
            self._count("redirect")
            return self._included(target)
        return "neutral"

    def _matches(self, name: str, value: str, domain: str) -> bool:
        self._count(name)
        if "%" in value or name in ("exists", "ptr"):
            self.unknown.append(name + (f":{value}" if value else ""))
            return False
        match name:
            case "all":
                return True
            case "ip4" | "ip6":
                return self._is_in(value)
            case "include":
                return self._included(value) == "pass"
            case "a" | "mx":
                return self._is_of(name, value, domain)
        raise RecordWrong(f"the SPF record has {name!r}, which is nothing")

    def _included(self, domain: str) -> str:
        record = record_of(domain, self._look)
        if not record:
            raise RecordWrong(f"the SPF record includes {domain}, which has none")
        return self.check(domain, record)

    def _is_in(self, network: str) -> bool:
        try:
            return self.address in ip_network(network, strict=False)
        except ValueError as error:
            raise RecordWrong(f"the SPF record has the address {network!r}") from error

    def _is_of(self, name: str, value: str, domain: str) -> bool:
        """Whether the address is the domain's own, or one of its mail servers'."""
        host, _, bits = value.partition("/")
        four, _, six = bits.partition("//")
        is_four = self.address.version == 4
        size = (four or "32") if is_four else (six or "128")
        hosts = [host or domain]
        if name == "mx":
            hosts = [record.split(" ")[-1] for record in self._look("MX", hosts[0])][:MOST_LOOKUPS]
        kind = "A" if is_four else "AAAA"
        return any(self._is_in(f"{one}/{size}") for at in hosts for one in self._look(kind, at))

    def _count(self, name: str) -> None:
        self.lookups += name in ASKS
        if self.lookups > MOST_LOOKUPS:
            raise RecordWrong(
                f"the SPF record needs more than {MOST_LOOKUPS} lookups, so receivers give it up"
            )


def _terms(record: str) -> Iterator[tuple[str, str, str]]:
    """Each mechanism: its qualifier, its name and its value."""
    for term in record.lower().split()[1:]:
        if "=" in term.partition(":")[0].partition("/")[0]:
            continue  # a modifier
        qualifier, rest = (term[0], term[1:]) if term[0] in RESULTS else ("+", term)
        name, colon, value = rest.partition(":")
        if not colon:
            name, slash, bits = rest.partition("/")
            value = slash + bits
        yield qualifier, name, value


def _redirect(record: str) -> str:
    found = [term[9:] for term in record.lower().split() if term.startswith("redirect=")]
    return found[0] if found else ""
