"""Links: each opens only what it was made for (P22)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
import time_machine
from itsdangerous import URLSafeSerializer

from waitlist import tokens
from waitlist.errors import LinkInvalid
from waitlist.tokens import Purpose, Ref

OLD, NEW, FOREIGN = ("old" * 12, "new" * 12, "foreign" * 6)
REF = Ref(7, 1, "0123456789abcdef")
AT = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("purpose", Purpose)
def test_a_link_names_what_it_was_made_for(purpose: Purpose) -> None:
    assert tokens.loads([NEW], purpose, tokens.dumps([NEW], purpose, REF)) == REF


@pytest.mark.parametrize("made_for,tried_for", list(permutations(Purpose, 2)))
def test_a_link_opens_nothing_of_another_purpose(made_for: Purpose, tried_for: Purpose) -> None:
    """P22."""
    token = tokens.dumps([NEW], made_for, REF)
    with pytest.raises(LinkInvalid):
        tokens.loads([NEW], tried_for, token)


def test_the_newest_key_signs() -> None:
    token = tokens.dumps([NEW, OLD], Purpose.PLACE, REF)
    assert tokens.loads([NEW], Purpose.PLACE, token) == REF


def test_an_older_key_that_is_still_listed_opens() -> None:
    token = tokens.dumps([OLD], Purpose.PLACE, REF)
    assert tokens.loads([NEW, OLD], Purpose.PLACE, token) == REF


@pytest.mark.parametrize("key", [OLD, FOREIGN])
def test_a_key_that_isnt_listed_opens_nothing(key: str) -> None:
    """P22."""
    token = tokens.dumps([key], Purpose.PLACE, REF)
    with pytest.raises(LinkInvalid):
        tokens.loads([NEW], Purpose.PLACE, token)


def test_a_link_holds_nothing_personal_and_is_the_same_each_time() -> None:
    assert tokens.dumps([NEW], Purpose.PLACE, REF) == tokens.dumps([NEW], Purpose.PLACE, REF)


@pytest.mark.parametrize(
    "token", ["", ".", "x", "WzcsMV0.", "a.b.c", "\x00", "é" * 40, "x" * 5_000]
)
def test_what_was_never_a_link_is_refused(token: str) -> None:
    with pytest.raises(LinkInvalid):
        tokens.loads([NEW], Purpose.PLACE, token)


def test_no_other_row_is_named_by_changing_a_sign() -> None:
    """P22: a token is malleable in its last sign, but whatever still opens names the same."""
    token = tokens.dumps([NEW], Purpose.PLACE, REF)
    for place in range(len(token)):
        for sign in "Aa0_.":
            changed = token[:place] + sign + token[place + 1 :]
            try:
                assert tokens.loads([NEW], Purpose.PLACE, changed) == REF
            except LinkInvalid:
                continue


@pytest.mark.parametrize("payload", [7, [7], [7, 1], ["7", 1, "n"], [7, 1, 5], {"id": 7}, None])
def test_a_signed_payload_of_another_shape_is_refused(payload: object) -> None:
    signed = URLSafeSerializer(NEW, salt="waitlist.place").dumps(payload)
    with pytest.raises(LinkInvalid):
        tokens.loads([NEW], Purpose.PLACE, str(signed))


def test_a_link_is_signed_as_itsdangerous_signs_it() -> None:
    signed = URLSafeSerializer([OLD, NEW], salt="waitlist.place").dumps(list(REF))
    assert tokens.dumps([NEW, OLD], Purpose.PLACE, REF) == signed
    assert tokens.loads([NEW, OLD], Purpose.PLACE, str(signed)) == REF


@pytest.mark.parametrize(
    "generation,nonce,opens",
    [(1, REF.nonce, True), (2, REF.nonce, False), (1, "f" * 16, False), (1, "", False)],
)
def test_a_row_is_opened_by_its_own_generation_and_nonce_only(
    generation: int, nonce: str, opens: bool
) -> None:
    """P22."""
    assert REF.opens(generation, nonce) is opens


def test_a_note_tells_when_the_form_was_opened() -> None:
    with time_machine.travel(AT, tick=False) as clock:
        note = tokens.opened([OLD], 7)
        clock.shift(timedelta(hours=1))
        assert tokens.opened_at([NEW, OLD], note, 7) == AT


@pytest.mark.parametrize("note", ["", "7", "7.abc", "7.abc.def"])
def test_a_note_that_nobody_signed_tells_nothing(note: str) -> None:
    assert tokens.opened_at([NEW], note, 7) is None


def test_a_note_of_another_invitation_or_key_tells_nothing() -> None:
    note = tokens.opened([NEW], 7)
    assert tokens.opened_at([NEW], note, 8) is None
    assert tokens.opened_at([FOREIGN], note, 7) is None


def test_no_link_is_a_note() -> None:
    token = tokens.dumps([NEW], Purpose.INVITE, REF)
    assert tokens.opened_at([NEW], token, 7) is None
