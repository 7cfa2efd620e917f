"""How the line spells people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitlist import members

EDGES = [0, 1, 63, 64, 4_095, 4_096, 2**24, 64**5 - 1, 64**5, 64**5 + 1, 2**53, 2**63 - 1]
ids = st.one_of(st.integers(0, 2**63 - 1), st.integers(0, 10**7), st.sampled_from(EDGES))


@given(ids, ids)
def test_members_sort_as_ids_do(one: int, other: int) -> None:
    spelled = members.member(one).encode(), members.member(other).encode()
    assert (spelled[0] < spelled[1]) == (one < other)


@given(ids)
def test_a_member_leads_back_to_its_id(one: int) -> None:
    assert members.entry_id(members.member(one)) == one


def test_the_ids_of_a_usual_line_take_five_characters() -> None:
    assert [len(members.member(one)) for one in (1, 10**7, 64**5 - 1)] == [5, 5, 5]


@pytest.mark.parametrize("wrong", [-1, 64**11])
def test_an_id_that_cant_be_spelled_in_order_is_refused(wrong: int) -> None:
    with pytest.raises(ValueError, match="no member"):
        members.member(wrong)
