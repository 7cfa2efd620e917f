"""Drawing: who stands at the front of the lines that a wave may take people from."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from waitlist import cohorts, projection
from waitlist.extensions import reading
from waitlist.line import Head, Line


class Drawn(NamedTuple):
    """A cohort that a wave may draw from, its line, and who stands at its front."""

    name: str
    line: Line
    heads: list[Head]


def draw(
    cohort: str | None, most: int, run_id: str, *, by_hand: bool, now: datetime
) -> dict[int, Drawn]:
    """Up to so many people at the front of each able cohort, from the very Redis that is meant."""
    return {
        id_: Drawn(name, line, line.heads(most, run_id=run_id))
        for id_, (name, line) in able(cohort, by_hand=by_hand, now=now).items()
    }


def able(cohort: str | None, *, by_hand: bool, now: datetime) -> dict[int, tuple[str, Line]]:
    """The named cohort, open or not, or all open ones: their names and lines.

    Ticks keep to the cohorts' hours; an operator who admits by hand knows what time it is.
    """
    with reading():
        found = [cohorts.find(cohort)] if cohort else [c for c in cohorts.every() if c.is_open(now)]
        return {
            one.id: (one.name, projection.of(one.name, one.line_epoch))
            for one in found
            if by_hand or one.is_within_hours(now)
        }
