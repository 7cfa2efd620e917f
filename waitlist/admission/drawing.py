"""Drawing: who stands at the front of the lines that a wave may take people from.

Or, of a wave of named people, who of its list is next.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, select

from waitlist import cohorts, projection
from waitlist.extensions import db, reading
from waitlist.line import Head, Line
from waitlist.models import Cohort, Entry, Invitation, WavePerson
from waitlist.policy import hours


class Drawn(NamedTuple):
    """A cohort that a wave may draw from, its line, whom it may take next, and how many wait."""

    name: str
    line: Line
    heads: list[Head]
    waiting: int


class Able(NamedTuple):
    """Names and lines of cohorts that may be drawn from, and when the hours of others begin."""

    lines: dict[int, tuple[str, Line]]
    next_at: datetime | None = None


class Drawing(NamedTuple):
    """Whom a wave may take, by cohort; of named people also whose turn it is, by cohort.

    `next_at` is when others may be taken too, whose hours aren't now. Of a list that is cut
    others may follow, of other cohorts.
    """

    cohorts: dict[int, Drawn]
    turns: list[int] | None = None
    next_at: datetime | None = None
    is_cut: bool = False

    @property
    def waiting(self) -> dict[int, int]:
        """How many wait in each cohort."""
        return {cohort_id: drawn.waiting for cohort_id, drawn in self.cohorts.items()}


def draw(
    cohort: str | None, most: int, run_id: str, *, now: datetime, at_any_hour: bool = False
) -> Drawing:
    """Up to so many people at the front of each able cohort, from the very Redis that is meant."""
    found = able(cohort, now=now, at_any_hour=at_any_hour)
    drawn = {}
    for id_, (name, line) in found.lines.items():
        heads = line.heads(most, run_id=run_id)
        waiting = len(heads) if len(heads) < most else line.length()
        drawn[id_] = Drawn(name, line, heads, waiting)
    return Drawing(drawn, next_at=found.next_at)


def able(cohort: str | None, *, now: datetime, at_any_hour: bool = False) -> Able:
    """The named cohort, open or not, or all open ones.

    Within their hours, but for an operator who admits at once and knows what time it is.
    """
    with reading():
        found = [cohorts.find(cohort)] if cohort else [c for c in cohorts.every() if c.is_open(now)]
        return _able(found, now=now, at_any_hour=at_any_hour)


def draw_named(wave_id: int, most: int, *, now: datetime, at_any_hour: bool) -> Drawing:
    """Up to so many people of a wave's list, in its order, who wait and weren't invited by it yet.

    Of cohorts whose quota is used up only where nobody else is left: they would stand in the
    way of the others.
    """
    with reading():
        left = _cohorts_left(wave_id)
        found = _able(left, now=now, at_any_hour=at_any_hour)
        roomy = [one.id for one in left if one.quota is None or one.seats_used < one.quota]
        roomy = [id_ for id_ in roomy if id_ in found.lines]
        rows = _named(wave_id, roomy, most) or _named(wave_id, found.lines, most)
    drawn = {}
    for id_, (name, line) in found.lines.items():
        heads = [Head(entry_id, rank) for cohort_id, entry_id, rank in rows if cohort_id == id_]
        drawn[id_] = Drawn(name, line, heads, len(heads))
    turns = [cohort_id for cohort_id, _, _ in rows]
    return Drawing(drawn, turns, found.next_at, is_cut=len(rows) == most)


def _able(found: Iterable[Cohort], *, now: datetime, at_any_hour: bool) -> Able:
    lines, later = {}, []
    for one in found:
        begins = now if at_any_hour else hours.next_moment(one.hours, one.timezone, now)
        if begins > now:
            later.append(begins)
        else:
            lines[one.id] = (one.name, projection.of(one.name, one.line_epoch))
    return Able(lines, min(later, default=None))


def _left(wave_id: int) -> ColumnElement[bool]:
    """Who of a wave's list waits and wasn't invited by it yet."""
    invited = select(Invitation.id).where(
        Invitation.entry_id == Entry.id, Invitation.wave_id == wave_id
    )
    return and_(WavePerson.wave_id == wave_id, projection.in_line(), ~invited.exists())


def _cohorts_left(wave_id: int) -> Sequence[Cohort]:
    theirs = select(Entry.cohort_id).join(WavePerson, WavePerson.entry_id == Entry.id)
    which = Cohort.id.in_(theirs.where(_left(wave_id)))
    return db.session.scalars(select(Cohort).where(which).order_by(Cohort.id)).all()


def _named(wave_id: int, of: Collection[int], most: int) -> list[tuple[int, int, int]]:
    """Cohort, id and rank of these people, in the list's order."""
    rows = db.session.execute(
        select(Entry.cohort_id, Entry.id, Entry.rank)
        .join(WavePerson, WavePerson.entry_id == Entry.id)
        .where(_left(wave_id), Entry.cohort_id.in_(of))
        .order_by(WavePerson.nth)
        .limit(most)
    )
    return [(cohort_id, entry_id, rank) for cohort_id, entry_id, rank in rows]
