"""Return paths that name their mail, and that nobody can forge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitlist import returnpath

KEYS = ("a key", "an older key")
HOME = "bounces@join.example.com"
NONCE = "00112233445566ff"
IDS = st.integers(1, 2**63 - 1)


@given(IDS, st.text("0123456789abcdef", min_size=16, max_size=16))
def test_what_comes_back_names_its_mail(message_id: int, nonce: str) -> None:
    path = returnpath.address(KEYS, HOME, message_id, nonce)
    returned = returnpath.found(path)
    assert returned is not None
    assert returned.id == message_id
    assert returned.opens(KEYS, nonce)


@given(IDS)
def test_it_fits_into_a_local_part_and_servers_may_change_its_case(message_id: int) -> None:
    """RFC 5321, sections 2.4 and 4.5.3.1.1."""
    home = f"{'b' * returnpath.LONGEST_LOCAL_PART}@join.example.com"
    path = returnpath.address(KEYS, home, message_id, NONCE)
    assert len(path.partition("@")[0]) == 64
    for changed in (path.upper(), path.lower(), f"Returned to <{path.title()}>, sorry"):
        returned = returnpath.found(changed)
        assert returned is not None
        assert returned.opens(KEYS, NONCE)


def test_a_key_that_was_replaced_opens_what_it_signed_and_one_that_went_doesnt() -> None:
    returned = returnpath.found(returnpath.address(KEYS[1:], HOME, 7, NONCE))
    assert returned is not None
    assert returned.opens(KEYS, NONCE)
    assert not returned.opens(KEYS[:1], NONCE)


@given(IDS, IDS)
def test_a_signature_is_of_one_mail_only(mine: int, other: int) -> None:
    path = returnpath.address(KEYS, HOME, mine, NONCE)
    returned = returnpath.found(path)
    assert returned is not None
    assert returned._replace(id=other).opens(KEYS, NONCE) is (mine == other)
    assert not returned.opens(KEYS, NONCE[::-1])


@given(st.integers(0, 31), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_changed_letter_opens_nothing(at: int, letter: str) -> None:
    path = returnpath.address(KEYS, HOME, 7, NONCE)
    start = path.index("+") + 1 + at
    changed = path[:start] + letter + path[start + 1 :]
    returned = returnpath.found(changed)
    assert returned is not None
    assert (returned.id == 7 and returned.opens(KEYS, NONCE)) is (changed == path)


@pytest.mark.parametrize(
    "text", ["", HOME, "bounces+7@join.example.com", f"bounces+{'a' * 33}@x", "\0+@é" * 20]
)
def test_whatever_else_stands_there_names_nothing(text: str) -> None:
    assert returnpath.found(text) is None
