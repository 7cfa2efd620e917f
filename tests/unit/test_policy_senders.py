"""What domains say of those who send in their name: SPF, DKIM, DMARC."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from waitlist.errors import RecordWrong
from waitlist.policy import dkim, dmarc, spf
from waitlist.policy.spf import Verdict

RELAY, STRANGER, SIX = "192.0.2.10", "198.51.100.1", "2001:db8::7"
ZONE: Mapping[tuple[str, str], list[str]] = {
    ("TXT", "relay.test"): ["v=spf1 ip4:192.0.2.0/28 ip6:2001:db8::/64 -all"],
    ("TXT", "all.test"): ["v=spf1 +all"],
    ("TXT", "soft.test"): ["other=1", "V=SPF1 include:relay.test ~all"],
    ("TXT", "two.test"): ["v=spf1 -all", "v=spf1 ~all"],
    ("TXT", "not.test"): ["v=spf10 +all"],
    ("TXT", "redirected.test"): ["v=spf1 redirect=relay.test"],
    ("TXT", "loop.test"): ["v=spf1 include:loop.test -all"],
    ("TXT", "own.test"): ["v=spf1 a mx -all"],
    ("A", "own.test"): [RELAY],
    ("MX", "own.test"): ["10 mx.own.test"],
    ("A", "mx.own.test"): ["203.0.113.5"],
    ("TXT", "near.test"): ["v=spf1 a:own.test/28 ?all"],
    ("TXT", "nobody.test"): ["v=spf1 include:absent.test -all"],
    ("TXT", "typo.test"): ["v=spf1 ipv4:192.0.2.1 -all"],
    ("TXT", "number.test"): ["v=spf1 ip4:192.0.2.300 -all"],
    ("TXT", "macro.test"): ["v=spf1 exists:%{i}.listed.test ptr -all"],
    ("TXT", "silent.test"): ["v=spf1 ip4:192.0.2.10"],
}


def _look(kind: str, name: str) -> list[str]:
    return list(ZONE.get((kind, name), []))


def _says(domain: str, address: str) -> Verdict:
    return spf.evaluate(domain, address, _look)


@pytest.mark.parametrize(
    "domain,address,result",
    [
        ("relay.test", RELAY, "pass"),
        ("relay.test", STRANGER, "fail"),
        ("relay.test", SIX, "pass"),
        ("soft.test", RELAY, "pass"),
        ("soft.test", STRANGER, "softfail"),
        ("all.test", STRANGER, "pass"),
        ("redirected.test", RELAY, "pass"),
        ("redirected.test", STRANGER, "fail"),
        ("own.test", RELAY, "pass"),
        ("own.test", "203.0.113.5", "pass"),
        ("own.test", STRANGER, "fail"),
        ("near.test", "192.0.2.1", "pass"),
        ("near.test", STRANGER, "neutral"),
        ("silent.test", STRANGER, "neutral"),
        ("not.test", RELAY, "none"),
        ("absent.test", RELAY, "none"),
    ],
)
def test_spf_says_who_may_send(domain: str, address: str, result: str) -> None:
    assert _says(domain, address).result == result


@pytest.mark.parametrize(
    "domain,words",
    [
        ("two.test", "2 SPF records"),
        ("loop.test", "more than 10 lookups"),
        ("nobody.test", "absent.test, which has none"),
        ("typo.test", "'ipv4'"),
        ("number.test", "192.0.2.300"),
    ],
)
def test_a_wrong_spf_record_is_named_with_its_fault(domain: str, words: str) -> None:
    with pytest.raises(RecordWrong, match=words):
        _says(domain, STRANGER)


def test_what_spf_cant_tell_here_is_told() -> None:
    verdict = _says("macro.test", STRANGER)
    assert verdict.unknown == ("exists:%{i}.listed.test", "ptr")
    assert verdict.result == "fail"
    assert _says("redirected.test", RELAY).lets_others == "as relay.test says"
    assert _says("all.test", RELAY).lets_others == "pass"


TERMS = st.sampled_from(["a", "mx", "a/", "mx//", "a:x/9", "ip4:", "all", "include:x", "%", "-"])
WORDS = st.lists(st.one_of(TERMS, st.text(max_size=8))).map(" ".join)


@given(WORDS)
def test_any_text_is_a_record_or_isnt_and_nothing_else_is_raised(text: str) -> None:
    answers = {"TXT": f"v=spf1 {text}", "MX": "10 mx.test", "A": RELAY, "AAAA": SIX}

    def look(kind: str, _name: str) -> list[str]:
        return [answers[kind]]

    with suppress(RecordWrong):
        assert spf.evaluate("any.test", RELAY, look).result
    dmarc.read(text)
    assert dkim.read(text).wrong


def _record(key: rsa.RSAPublicKey, tags: str = "v=DKIM1; k=rsa; ") -> str:
    octets = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"{tags}p={b64encode(octets).decode()}"


@pytest.mark.parametrize("bits,wrong", [(2048, ""), (1024, "")])
def test_a_key_tells_its_length(bits: int, wrong: str) -> None:
    key = dkim.read(_record(rsa.generate_private_key(65537, bits).public_key()))
    assert (key.kind, key.bits, key.wrong, key.is_testing) == ("rsa", bits, wrong, False)


def test_a_key_of_another_kind_is_known_too() -> None:
    octets = ed25519.Ed25519PrivateKey.generate().public_key()
    raw = octets.public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert dkim.read(f"v=DKIM1; k=ed25519; p={b64encode(raw).decode()}").wrong == ""
    assert dkim.read("v=DKIM1; k=ed25519; p=AAAA").wrong


def test_a_key_that_nobody_believes_says_why() -> None:
    good = _record(rsa.generate_private_key(65537, 1024).public_key())  # noqa: S505
    assert dkim.read(good.replace("v=DKIM1; ", "v=DKIM1; t=y:s; ")).is_testing
    assert "revoked" in dkim.read("v=DKIM1; p=").wrong
    assert "cut" in dkim.read(good[:-20]).wrong
    assert "isn't" in dkim.read("google-site-verification=abc").wrong
    assert "isn't" in dkim.read(good.replace("DKIM1", "DKIM2")).wrong


def test_a_selector_may_name_who_signs() -> None:
    assert dkim.place("s1", "us.test") == ("s1._domainkey.us.test", "us.test")
    found = dkim.place("s1._domainkey.relay.test", "us.test")
    assert found == ("s1._domainkey.relay.test", "relay.test")


RECORDS = {
    "example.com": "v=DMARC1; p=reject; sp=quarantine; adkim=s",
    "strange.example.com": "v=DMARC1; p=none; psd=n",
    "co.uk": "v=DMARC1; p=none; psd=y",
    "old.test": "v=DMARC1; p=quarantine",
}


def _find(domain: str) -> dmarc.Tags | None:
    return dmarc.read(RECORDS.get(domain, ""))


@pytest.mark.parametrize(
    "domain,organization",
    [
        ("example.com", "example.com"),
        ("join.example.com", "example.com"),
        ("a.b.c.d.e.f.g.h.i.j.example.com", "example.com"),
        ("a.strange.example.com", "strange.example.com"),
        ("shop.firm.co.uk", "firm.co.uk"),
        ("co.uk", "co.uk"),
        ("nobody.test", "nobody.test"),
    ],
)
def test_whose_organization_a_domain_is_of_is_found_by_walking_up(
    domain: str, organization: str
) -> None:
    """RFC 9989, section 4.10."""
    assert dmarc.organization(domain, _find) == organization


def test_what_is_asked_of_a_domain_may_stand_above_it() -> None:
    own = dmarc.policy("example.com", _find)
    assert own is not None
    assert (own.at, own.asks, own.strict_dkim, own.strict_spf) == (
        *("example.com", "reject"),
        *(True, False),
    )
    above = dmarc.policy("join.example.com", _find)
    assert above is not None
    assert (above.at, above.asks) == ("example.com", "quarantine")
    old = dmarc.policy("mail.old.test", _find)
    assert old is not None
    assert old.asks == "quarantine"
    assert dmarc.policy("nobody.test", _find) is None


def test_two_domains_are_aligned_if_one_organization_has_both_unless_it_must_be_the_same() -> None:
    pair = "join.example.com", "mail.example.com"
    assert dmarc.is_aligned(*pair, _find, strict=False)
    assert not dmarc.is_aligned(*pair, _find, strict=True)
    assert dmarc.is_aligned("join.example.com", "join.example.com", _find, strict=True)
    assert not dmarc.is_aligned("join.example.com", "relay.test", _find, strict=False)
