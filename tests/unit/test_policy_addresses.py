"""Addresses, shown positions, handles and deadlines: pure decisions at their borders."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from waitlist.errors import AddressInvalid
from waitlist.policy import credentials, deadlines, identity, wait

DEADLINE = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
A_MOMENT = timedelta(microseconds=1)


@pytest.mark.parametrize(
    "position,shown",
    [
        (0, 0),
        (1, 1),
        (99, 99),
        (100, 100),
        (101, 110),
        (110, 110),
        (990, 990),
        (991, 1_000),
        (999, 1_000),
        (1_000, 1_000),
        (1_001, 1_100),
        (9_901, 10_000),
        (9_999, 10_000),
        (10_000, 10_000),
        (10_001, 11_000),
        (1_234_567, 1_235_000),
    ],
)
def test_a_position_is_exact_below_100_and_then_rounded_up(position: int, shown: int) -> None:
    assert wait.shown_position(position) == shown


def test_a_better_position_is_never_shown_as_a_worse_one() -> None:
    shown = [wait.shown_position(position) for position in range(1, 12_000)]
    assert shown == sorted(shown)
    assert all(number >= position for position, number in enumerate(shown, start=1))


@pytest.mark.parametrize(
    "typed,key,mail_to",
    [
        ("ada@example.org", "ada@example.org", "ada@example.org"),
        ("  Ada@Example.ORG\t", "ada@example.org", "Ada@example.org"),
        ("a.d.a+tag@example.org", "a.d.a+tag@example.org", "a.d.a+tag@example.org"),
        ("Hans@faß.de", "hans@xn--fa-hia.de", "Hans@xn--fa-hia.de"),
        ("hans@fass.de", "hans@fass.de", "hans@fass.de"),
        ("b@boîte.example.org", "b@xn--bote-1pa.example.org", "b@xn--bote-1pa.example.org"),
        ("b@BOÎTE.example.org", "b@xn--bote-1pa.example.org", "b@xn--bote-1pa.example.org"),
        ("b@XN--BOTE-1PA.example.org", "b@xn--bote-1pa.example.org", "b@xn--bote-1pa.example.org"),
    ],
)
def test_an_address_has_one_key_however_it_is_spelled(typed: str, key: str, mail_to: str) -> None:
    address = identity.canonical_address(typed)
    assert address == (typed.strip(), key, mail_to)


def test_an_address_is_kept_as_it_was_typed() -> None:
    assert identity.canonical_address(" Hans@Faß.de ").typed == "Hans@Faß.de"


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "ada",
        "@example.org",
        "ada@",
        "ada@localhost",
        "ada@example.org, eve@example.org",
        "Ada <ada@example.org>",
        "ada@example.org\r\nBcc: eve@example.org",
        "ada\r\n@example.org",
        "ada@exam\nple.org",
        "ada\x00@example.org",
        "jürgen@example.org",
        "ada@[127.0.0.1]",
        f"{'a' * 65}@example.org",
        f"a@{'b' * 250}.org",
        "ada..b@example.org",
    ],
)
def test_what_cant_be_mailed_is_no_address(typed: str) -> None:
    with pytest.raises(AddressInvalid):
        identity.canonical_address(typed)


@pytest.mark.parametrize(
    "opened_before,now_after,passed",
    [
        (None, -A_MOMENT, False),
        (None, timedelta(), True),
        (A_MOMENT, -A_MOMENT, False),
        (A_MOMENT, timedelta(), False),
        (A_MOMENT, deadlines.GRACE - A_MOMENT, False),
        (A_MOMENT, deadlines.GRACE, True),
        (timedelta(days=2), deadlines.GRACE - A_MOMENT, False),
        (timedelta(), timedelta(), True),
        (-A_MOMENT, A_MOMENT * 2, True),
    ],
)
def test_a_form_opened_before_the_deadline_has_thirty_minutes_more(
    opened_before: timedelta | None, now_after: timedelta, passed: bool
) -> None:
    """P11."""
    opened_at = None if opened_before is None else DEADLINE - opened_before
    assert deadlines.deadline_passed(DEADLINE, opened_at, DEADLINE + now_after) is passed


def test_an_invitation_that_was_never_mailed_has_no_deadline() -> None:
    assert not deadlines.deadline_passed(None, None, DEADLINE + timedelta(days=10_000))


def test_a_confirmation_is_in_time_up_to_its_last_moment() -> None:
    assert deadlines.confirmed_in_time(DEADLINE, DEADLINE)
    assert not deadlines.confirmed_in_time(DEADLINE, DEADLINE + A_MOMENT)
    assert deadlines.confirmed_in_time(None, DEADLINE)


@pytest.mark.parametrize(
    "handle,reason",
    [
        ("ada", None),
        ("a" * 30, None),
        ("_7_", None),
        ("", "missing"),
        ("ad", "handle-form"),
        ("a" * 31, "handle-form"),
        ("Ada", "handle-form"),
        ("ada-b", "handle-form"),
        ("ada\n", "handle-form"),
        ("adà", "handle-form"),
        ("٣٣٣", "handle-form"),
        ("admin", "handle-reserved"),
        ("waitlist", "handle-reserved"),
        ("admin1", None),
    ],
)
def test_a_handle_is_of_three_to_thirty_plain_signs(handle: str, reason: str | None) -> None:
    assert credentials.handle_reason(handle) == reason


def test_proposed_handles_are_free_and_of_the_right_form() -> None:
    longest = "x" * 30
    taken = [f"{'x' * 27}_2"]
    found = credentials.handle_proposals(longest, taken)
    assert len(found) == 3
    assert not set(found) & set(taken)
    assert all(credentials.handle_reason(handle) is None for handle in found)


LOCAL = st.text(st.sampled_from("aZ09._+-'\"@ !#é\\"), max_size=70)
DOMAIN = st.text(st.sampled_from("aZ0.-_é[]"), max_size=20)


@given(LOCAL, st.one_of(DOMAIN, st.sampled_from(["example.com", "FAß.de", "a." + "b" * 63])))
def test_an_address_is_what_the_library_makes_of_it(local: str, domain: str) -> None:
    typed = f"{local}@{domain}"
    try:
        checked = validate_email(
            typed.strip(), check_deliverability=False, allow_smtputf8=False, strict=True
        )
    except EmailNotValidError:
        with pytest.raises(AddressInvalid):
            identity.canonical_address(typed)
        return
    found = identity.canonical_address(typed)
    assert found.mail_to == f"{checked.local_part}@{checked.ascii_domain.lower()}"
    assert found.key == f"{checked.local_part.lower()}@{checked.ascii_domain.lower()}"


def test_an_address_is_as_long_as_rfc_5321_lets_it_be() -> None:
    domain = ".".join(["d" * 63, "d" * 63, "d" * 55, "com"])
    assert identity.canonical_address(f"{'l' * 64}@{domain}").key.startswith("l")
    for typed in (f"{'l' * 65}@{domain}", f"{'l' * 64}@d{domain}"):
        with pytest.raises(AddressInvalid):
            identity.canonical_address(typed)


@pytest.mark.parametrize(
    "client,counted",
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("unix:", None),
        ("", None),
        (None, None),
    ],
)
def test_a_network_is_an_ipv4_address_or_the_64_of_an_ipv6_one(
    client: str | None, counted: str | None
) -> None:
    assert identity.network(client) == counted
