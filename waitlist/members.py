"""How the line spells a person: the entry's id, in as few characters as keep the order.

People of one rank stand in the order of their members as text, so members sort as ids do.
Five characters, of 64 that stand in ASCII's order, spell the first thousand million ids and
make a person cost a sixth less than ten digits would; an id beyond is spelled after a sign
that sorts after all of them. `docs/architecture.md` has the table of what was tried.
"""

from __future__ import annotations

SPELLING = "64"  # another spelling of members wants another name: lines of this one are rebuilt
DIGITS = "0123456789:ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
SHORT, LONG = 5, 11  # characters: 11 spell any id that SQL can hold
LONG_SIGN = "~"
_PAIRS = [first + second for first in DIGITS for second in DIGITS]
_VALUES = {digit: value for value, digit in enumerate(DIGITS)}


def member(entry_id: int) -> str:
    """The member of the sorted set that stands for this person; `ValueError` if none can."""
    if 0 <= entry_id < 64**SHORT:
        return DIGITS[entry_id >> 24] + _PAIRS[entry_id >> 12 & 0xFFF] + _PAIRS[entry_id & 0xFFF]
    if not 0 < entry_id < 64**LONG:
        raise ValueError(f"no member of the line can stand for the id {entry_id}")
    return LONG_SIGN + "".join(DIGITS[entry_id >> 6 * n & 0x3F] for n in reversed(range(LONG)))


def entry_id(member: str) -> int:
    """The id of the person for whom this member stands."""
    found = 0
    for digit in member.removeprefix(LONG_SIGN):
        found = found << 6 | _VALUES[digit]
    return found
