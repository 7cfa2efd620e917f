"""The dry run of a wave: whom it would take, by the very decisions by which it takes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import NamedTuple

from sqlalchemy import select

from waitlist import projection
from waitlist.admission import mailtimes, passing, plans, rounds
from waitlist.admission.drawing import Able, Drawing, Drawn, able
from waitlist.admission.mailtimes import MailTimes
from waitlist.admission.passing import PassedOver
from waitlist.admission.plans import AT_ONCE, When
from waitlist.extensions import db, reading
from waitlist.line import NOWHERE
from waitlist.models import Cohort, Entry, Gate
from waitlist.policy import pace, waves
from waitlist.policy.pace import Budget
from waitlist.rows import ids

SHOWN = 10  # people at either end


class Foreseen(NamedTuple):
    """Somebody who would be admitted: the nth of the wave, and where they stand now."""

    nth: int
    position: int | None
    entry_id: int
    address: str
    cohort: str


class Seats(NamedTuple):
    """Seats used before and after, and how many there may be (None: no quota)."""

    before: int
    after: int
    most: int | None


@dataclass(frozen=True)
class Preview:
    """What a wave would do if nothing changed before it. `people` are all ids, in order."""

    asked: int
    limit: str
    people: list[int]
    by_cohort: dict[str, int]
    ends: list[Foreseen]
    seats: dict[str, Seats]
    mail: MailTimes
    passed_over: PassedOver


class _Taken(NamedTuple):
    cohort_id: int
    rank: int
    entry_id: int


def of_next(asked: int, *, cohort: str | None, now: datetime, when: When = AT_ONCE) -> Preview:
    """What `waves.admit` would do. Nobody's state changes; a line that was lost is rebuilt."""
    projection.require_valid()
    begins_at, found = _begin(cohort, when, now=now)
    drawn = {id_: Drawn(*one, [], one[1].length()) for id_, one in found.lines.items()}
    drawing = Drawing(drawn, next_at=found.next_at)
    with reading():
        budget = _budget(asked, when, now=now)
        shares, _ = rounds.decide(budget.people, rounds.claims_on(drawing.waiting))
    turns = waves.turns(shares, budget.people)
    standing = {id_: chain.from_iterable(one.line.pages()) for id_, one in drawn.items()}
    drawn_in_turn = ((cohort_id, next(standing[cohort_id], None)) for cohort_id in turns)
    taken = [_Taken(cohort_id, *one) for cohort_id, one in drawn_in_turn if one]  # some may leave
    limit = rounds.limit_of(budget, budget.people, drawing, turns)
    with reading():
        last = {one.cohort_id: (one.rank, one.entry_id) for one in taken}
        passed_over = passing.before(last)
    return _preview(asked, limit, taken, passed_over, when, begins_at=begins_at, now=now)


def of_named(entry_ids: Sequence[int], *, now: datetime, when: When = AT_ONCE) -> Preview:
    """What `waves.invite` would do with these people, who wait and can be mailed."""
    projection.require_valid()
    with reading():
        named = _standing(entry_ids)
        budget = _budget(len(entry_ids), when, now=now)
        claims = rounds.claims_on(Counter(one.cohort_id for one in named))
    room = {id_: claim.room for id_, claim in claims.items()}
    turns = waves.named_turns([one.cohort_id for one in named], room, budget.people)
    taken, left = [], Counter(turns)
    for one in named:
        if left[one.cohort_id]:
            left[one.cohort_id] -= 1
            taken.append(one)
    limit = budget.limit if len(turns) == budget.people else "quota" if named else "nobody"
    begins_at = when.starts_at or now
    return _preview(len(entry_ids), limit, taken, PassedOver(), when, begins_at=begins_at, now=now)


def _begin(cohort: str | None, when: When, *, now: datetime) -> tuple[datetime, Able]:
    """When the wave would find somebody to draw from, and from whom: it waits for their hours."""
    at = when.starts_at or now
    found = able(cohort, now=at, at_any_hour=when.is_at_once)
    if found.lines or found.next_at is None:
        return at, found
    return found.next_at, able(cohort, now=found.next_at)


def _budget(asked: int, when: When, *, now: datetime) -> Budget:
    """As the wave would find it: what isn't at once waits until nothing holds it but the seats."""
    gate = db.session.scalars(select(Gate)).one()
    if when.is_at_once:
        return plans.may_take(gate, asked, now=now)
    return pace.wave_budget(paused=False, asked=asked, free=gate.capacity - gate.seats_used)


def _standing(entry_ids: Sequence[int]) -> list[_Taken]:
    """Where those of these people stand who wait, in the order that is given."""
    rows = db.session.execute(
        select(Entry.cohort_id, Entry.rank, Entry.id).where(
            Entry.id.in_(ids(entry_ids)), projection.in_line()
        )
    )
    found = {row[-1]: _Taken._make(row) for row in rows}
    return [found[entry_id] for entry_id in entry_ids if entry_id in found]


def _preview(
    asked: int,
    limit: str,
    taken: Sequence[_Taken],
    passed_over: PassedOver,
    when: When,
    *,
    begins_at: datetime,
    now: datetime,
) -> Preview:
    by_cohort = Counter(one.cohort_id for one in taken)
    with reading():
        cohorts = {one.id: one for one in db.session.scalars(select(Cohort).order_by(Cohort.id))}
        seats = _seats(by_cohort, cohorts)
        giving = [cohorts[id_] for id_ in by_cohort]
        mail = mailtimes.of(len(taken), giving, when, begins_at=begins_at, now=now)
        lines = {id_: (one.name, one.line_epoch) for id_, one in cohorts.items()}
    return Preview(
        asked=asked,
        limit=limit,
        people=[one.entry_id for one in taken],
        by_cohort={lines[id_][0]: people for id_, people in sorted(by_cohort.items())},
        ends=_ends(taken, lines),
        seats=seats,
        mail=mail,
        passed_over=passed_over,
    )


def _ends(taken: Sequence[_Taken], lines: Mapping[int, tuple[str, str | None]]) -> list[Foreseen]:
    """The first and the last, by the names and epochs of their lines."""
    shown = list(enumerate(taken, 1))
    shown = shown if len(shown) <= 2 * SHOWN else shown[:SHOWN] + shown[-SHOWN:]
    places = projection.places((one.entry_id, *lines[one.cohort_id]) for _, one in shown)
    who = [one.entry_id for _, one in shown]
    with reading():
        rows = db.session.execute(select(Entry.id, Entry.address).where(Entry.id.in_(who)))
        address_of: dict[int, str] = dict(rows.all())
    return [
        Foreseen(
            nth,
            places.get(one.entry_id, NOWHERE).position,
            one.entry_id,
            address_of[one.entry_id],
            lines[one.cohort_id][0],
        )
        for nth, one in shown
    ]


def _seats(of_cohort: Mapping[int, int], cohorts: Mapping[int, Cohort]) -> dict[str, Seats]:
    """Those of the gate, and of each cohort that has a quota or gives somebody."""
    gate, people = db.session.scalars(select(Gate)).one(), sum(of_cohort.values())
    found = {"gate": Seats(gate.seats_used, gate.seats_used + people, gate.capacity)}
    for id_, one in cohorts.items():
        if one.quota is not None or id_ in of_cohort:
            after = one.seats_used + of_cohort.get(id_, 0)
            found[f"cohort {one.name}"] = Seats(one.seats_used, after, one.quota)
    return found
