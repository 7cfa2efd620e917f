"""Which addresses webhooks may go to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitlist.policy import reach

NOTHING = reach.allowed([])
PUBLIC = ("8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8")
PRIVATE = (
    *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
    *("0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "192.0.2.1"),  # noqa: S104
    *("::", "::1", "fe80::1", "fc00::1", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::1", "::10.0.0.1"),
    "2001:0:53aa:64c:0:ffff:f5ff:fffe",  # Teredo of 10.0.0.1
)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_reached(address: str) -> None:
    assert reach.refused("example.com", [address], NOTHING, plain=False) is None


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_isnt_in_whatever_way_it_is_written(address: str) -> None:
    why = reach.refused("example.com", [address], NOTHING, plain=False)
    assert why is not None
    assert "WEBHOOK_ALLOW" in why


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_the_same_inside_of_an_ipv6_one(address: IPv4Address) -> None:
    number = int(address)
    mapped, nat64 = IPv6Address((0xFFFF << 32) | number), IPv6Address((0x64FF9B << 96) | number)
    assert reach.is_public(mapped) == reach.is_public(nat64) == reach.is_public(address)


@given(
    st.lists(st.ip_addresses(), min_size=1).filter(
        lambda all_: any(not reach.is_public(one) for one in all_)
    )
)
def test_one_address_that_isnt_public_is_enough_to_refuse(addresses: list[IPv4Address]) -> None:
    words = [str(address) for address in addresses]
    assert reach.refused("example.com", words, NOTHING, plain=False) is not None


def test_what_is_allowed_by_name_or_network_is_reached_by_plain_http_too() -> None:
    allowed = reach.allowed(["App.internal", "10.0.0.0/8", "192.168.1.7", "fd00::/8"])
    for host, address in (
        ("app.internal", "172.16.0.1"),
        ("elsewhere.example", "10.9.9.9"),
        ("elsewhere.example", "192.168.1.7"),
        ("elsewhere.example", "fd00::1"),
    ):
        assert reach.refused(host, [address], allowed, plain=True) is None
    for host, address in (("other.internal", "172.16.0.1"), ("sub.app.internal", "11.0.0.1")):
        assert reach.refused(host, [address], allowed, plain=True) is not None


def test_plain_http_to_a_public_host_is_refused_unless_it_is_named() -> None:
    assert "https" in str(reach.refused("example.com", ["8.8.8.8"], NOTHING, plain=True))
    named = reach.allowed(["example.com"])
    assert reach.refused("example.com", ["8.8.8.8"], named, plain=True) is None


@pytest.mark.parametrize(
    "word", ["10.0.0.1/8", "exa mple", "http://example.com", "", "a..b", "1.2.3"]
)
def test_what_is_neither_host_nor_network_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        reach.allowed([word])


@given(st.ip_addresses())
def test_in_development_everything_is_reached(address: IPv4Address | IPv6Address) -> None:
    everything = reach.allowed(reach.EVERYTHING)
    assert reach.refused("x", [str(ip_address(address))], everything, plain=True) is None
