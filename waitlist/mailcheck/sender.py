"""What others find in the DNS of those who send: SPF, DKIM, DMARC, and whether replies arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from ipaddress import ip_address
from typing import NamedTuple

from waitlist.errors import NamesSilent, RecordWrong
from waitlist.mailcheck.findings import FAIL, PASS, WARN, Finding
from waitlist.mailcheck.names import Names
from waitlist.policy import dkim, dmarc, spf
from waitlist.policy.dmarc import Tags
from waitlist.policy.spf import Verdict

SILENT = "could not be looked up, as the DNS is silent ({why}): check the network, or --nameserver"


class Sender(NamedTuple):
    """Whose mail it is: the domains of its From and of its return path, and who signs."""

    author: str
    returns: str
    selectors: tuple[str, ...]


def check(sender: Sender, names: Names, *, sends_from: Sequence[str], known: bool) -> list[Finding]:
    """Each finding. Mail goes out from the addresses `sends_from`, as far as that is `known`."""

    def find_tags(domain: str) -> Tags | None:
        read = (dmarc.read(text) for text in names.look("TXT", f"_dmarc.{domain}"))
        return next((tags for tags in read if tags), None)

    return [
        _said("SPF", lambda: _spf(sender, names, sends_from, known=known)),
        *_of_keys(sender, names),
        _said("DMARC", lambda: _dmarc(sender, find_tags)),
        _said("alignment", lambda: _aligned(sender, find_tags)),
        _said("replies", lambda: _replies(sender, names)),
    ]


def _said(name: str, look: Callable[[], tuple[str, str]]) -> Finding:
    """What a look gave, or why it gave nothing."""
    try:
        return Finding(name, *look())
    except NamesSilent as error:
        return Finding(name, FAIL, SILENT.format(why=error))
    except RecordWrong as error:
        return Finding(name, FAIL, f"{error}: mend it in the DNS")


def _spf(
    sender: Sender, names: Names, sends_from: Sequence[str], *, known: bool
) -> tuple[str, str]:
    domain = sender.returns
    verdicts = {at: spf.evaluate(domain, at, names.look) for at in sends_from}
    verdict = next(iter(verdicts.values()), None) or spf.evaluate(domain, "192.0.2.1", names.look)
    if not verdict.record:
        return FAIL, (
            f"{domain} has no SPF record: publish a TXT record there such as "
            '"v=spf1 include:… -all", with what your relay\'s documentation names'
        )
    if verdict.lets_others == "pass":
        return FAIL, f"the record of {domain} ends in +all, so anybody may send: end it in -all"
    if refused := [at for at, one in verdicts.items() if one.result != "pass"]:
        return _not_listed(domain, refused, verdicts[refused[0]], known=known)
    if not verdicts:
        return WARN, (
            f"{domain} has the record {verdict.record!r}, but from which address the relay sends "
            "can't be known here: read it off a mail that arrived, and say --sends-from ADDRESS"
        )
    if verdict.lets_others == "neutral":
        return WARN, f"the record of {domain} says nothing of others: end it in -all or ~all"
    return PASS, f"{domain} lets {', '.join(verdicts)} send its mail"


def _not_listed(
    domain: str, refused: Sequence[str], verdict: Verdict, *, known: bool
) -> tuple[str, str]:
    unknown = f" ({', '.join(verdict.unknown)} can't be tried here)" if verdict.unknown else ""
    said = f"{domain} says {verdict.result} of mail from {', '.join(refused)}{unknown}"
    if known and not verdict.unknown:
        return FAIL, f"{said}: add what your relay's documentation names to {verdict.record!r}"
    return WARN, (
        f"{said}. Relays often send from other addresses than they listen at: read one off a mail "
        "that arrived, and say --sends-from ADDRESS"
    )


def _of_keys(sender: Sender, names: Names) -> Iterator[Finding]:
    if not sender.selectors:
        yield Finding(
            "DKIM",
            WARN,
            "no selector is known: set DKIM_SELECTOR to the s= in the DKIM-Signature of a mail "
            "that arrived; if there is none, have the relay sign",
        )
    for selector in sender.selectors:
        place, _ = dkim.place(selector, sender.author)
        yield _said("DKIM", partial(_key, place, names))


def _key(place: str, names: Names) -> tuple[str, str]:
    records = names.look("TXT", place)
    if not records:
        return FAIL, f"there is no key at {place}: publish the one that your relay gives you"
    key = dkim.read(records[0])
    if key.wrong:
        return FAIL, f"the key at {place} {key.wrong}: publish the one that your relay gives you"
    if key.is_testing:
        return WARN, f"the key at {place} is for tests only (t=y): take that away"
    if key.kind == "rsa" and key.bits < dkim.GOOD_BITS:
        return WARN, f"the key at {place} has {key.bits} bits: have the relay make one of 2048"
    return PASS, f"the key at {place} is of {key.bits} bits ({key.kind})"


def _dmarc(sender: Sender, find_tags: dmarc.FindTags) -> tuple[str, str]:
    policy = dmarc.policy(sender.author, find_tags)
    if policy is None:
        return FAIL, (
            f"{sender.author} has no DMARC record, which large mailbox providers ask of whoever "
            f'mails thousands: publish "v=DMARC1; p=none; rua=mailto:…" at _dmarc.{sender.author}'
        )
    if policy.asks not in dmarc.POLICIES:
        return WARN, f"the record at _dmarc.{policy.at} asks {policy.asks!r}: mend its p="
    return PASS, f"_dmarc.{policy.at} asks {policy.asks} of mail that proves nothing"


def _aligned(sender: Sender, find_tags: dmarc.FindTags) -> tuple[str, str]:
    """DMARC wants one of both: SPF by a return path, or DKIM by a signer, of the From's own."""
    policy = dmarc.policy(sender.author, find_tags)
    strict_spf, strict_dkim = (policy.strict_spf, policy.strict_dkim) if policy else (False, False)
    author, signers = sender.author, {dkim.place(one, sender.author)[1] for one in sender.selectors}
    by_spf = dmarc.is_aligned(author, sender.returns, find_tags, strict=strict_spf)
    by_dkim = sorted(
        one for one in signers if dmarc.is_aligned(author, one, find_tags, strict=strict_dkim)
    )
    ways = [f"its return path ({sender.returns})"] if by_spf else []
    ways += [f"its signature ({', '.join(by_dkim)})"] if by_dkim else []
    if not ways:
        return FAIL, (
            f"From is of {author}, but mail returns to {sender.returns}"
            f"{' and is signed by ' + ', '.join(sorted(signers)) if signers else ''}: have the "
            f"relay sign as {author}, or set MAIL_FROM to an address of that domain"
        )
    return PASS, f"From ({author}) is of one domain with {' and '.join(ways)}"


def _replies(sender: Sender, names: Names) -> tuple[str, str]:
    domain = sender.author
    servers = [record.split(" ")[-1] for record in names.look("MX", domain)]
    if servers == ["."] or servers == [""]:  # RFC 7505
        return WARN, f"{domain} takes no mail: who answers an invitation is told so by a bounce"
    if servers:
        return PASS, f"{domain} takes mail at {', '.join(sorted(servers))}"
    if names.look("A", domain) or names.look("AAAA", domain):
        return WARN, f"{domain} has no MX record, only an address: publish one"
    return FAIL, f"{domain} takes no mail, so who answers an invitation isn't heard: give it an MX"


def public(found: Sequence[str]) -> list[str]:
    """Those of these addresses that the world can see."""
    return [at for at in found if ip_address(at.partition("%")[0]).is_global]
