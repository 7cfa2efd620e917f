"""All that is checked, in an order in which it is read well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from waitlist.config import Relay
from waitlist.extensions import settings
from waitlist.mailcheck import names, relay, sender, site
from waitlist.mailcheck.findings import Finding
from waitlist.mailcheck.names import Names
from waitlist.mailcheck.sender import Sender
from waitlist.policy.routes import FIRST, SECOND


def check(
    *, to: str | None, nameserver: str | None, sends_from: Sequence[str], now: datetime
) -> Iterator[Finding]:
    """Each finding, as it is found; where `to` is given one real mail goes there by each route.

    `sends_from` are the addresses from which the relays send, if those are known; else the
    addresses at which they listen are tried.
    """
    of = settings()
    returns = of.mail_return or of.mail_from
    who = Sender(_domain(of.mail_from), _domain(returns), of.dkim_selectors)
    servers = relays()
    seen = [at for one in servers.values() for at in names.addresses(one.server)]
    known = bool(sends_from)
    at = list(sends_from) or sender.public(seen)
    yield from sender.check(who, Names(nameserver), sends_from=at, known=known)
    yield from site.check(of.public_url, who.author)
    for name, server in servers.items():
        yield from relay.check(name, server, returns)
        if to:
            yield relay.send(name, to, now=now)


def relays() -> dict[str, Relay]:
    """The mail servers that there are, by their routes' names."""
    second = settings().mail2
    return {FIRST: settings().mail1} | ({SECOND: second} if second else {})


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()
