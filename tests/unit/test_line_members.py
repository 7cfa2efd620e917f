"""Members of the line: five signs that are ordered as the ids they stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitlist import line

IDS = st.integers(0, line.MOST_ID)


@given(IDS, IDS)
def test_members_are_ordered_as_their_ids(one: int, other: int) -> None:
    assert (line.member(one).encode() < line.member(other).encode()) == (one < other)


@given(IDS)
def test_a_member_stands_for_one_person(entry_id: int) -> None:
    assert len(line.member(entry_id)) == 5
    assert line.entry_of(line.member(entry_id)) == entry_id


@pytest.mark.parametrize("entry_id", [-1, line.MOST_ID + 1])
def test_an_id_that_would_be_ordered_wrongly_is_refused(entry_id: int) -> None:
    with pytest.raises(OverflowError):
        line.member(entry_id)
