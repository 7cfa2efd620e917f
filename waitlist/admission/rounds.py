"""Rounds: the one way in, whether the clock's tick or an operator's wave asks.

People are drawn from valid lines; then, under the gate's lock, the budget is computed and a
guarded UPDATE takes those who still wait there. One lock, so order and capacity hold whoever
admits, and however many do.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from sqlalchemy import select, update

from waitlist import notes, projection, seats
from waitlist.admission import taking
from waitlist.admission.drawing import Drawing
from waitlist.admission.taking import Taken
from waitlist.errors import LineUnavailable
from waitlist.extensions import db
from waitlist.failpoints import failpoint
from waitlist.models import Cohort, Gate
from waitlist.policy import sharing
from waitlist.policy.pace import Budget
from waitlist.policy.sharing import Claim
from waitlist.policy.waves import Share
from waitlist.wake import wake

ROUND = 1_000  # people admitted in one transaction
MOST_IN_VAIN = 3  # rounds in a row that wanted people and found none of them waiting


class Turns(NamedTuple):
    """Whose turn it is, by cohort, person by person; and the credits that this changes."""

    order: list[int]
    credit: Mapping[int, float] = {}


@dataclass
class Outcome:
    """What a wave did: how many came in, of which cohorts, and what limited it.

    `more` says whether another round might admit more.
    """

    asked: int | None
    limit: str = ""
    wave_id: int | None = None
    by_cohort: Counter[str] = field(default_factory=Counter)
    more: bool = True

    @property
    def admitted(self) -> int:
        """How many people in all."""
        return self.by_cohort.total()


class Asking(Protocol):
    """Who asks for people: the tick, or a wave by hand."""

    mails_after: timedelta  # from the admission on, before which no mail goes

    def draw(self, run_id: str, *, now: datetime) -> Drawing:
        """Whom it may take, from the very run of Redis that is meant; asked before the lock."""
        ...

    def budget(self, gate: Gate, *, now: datetime) -> Budget:
        """How many it may take; asked under the gate's lock, as are the others."""
        ...

    def turns(self, most: int, drawing: Drawing, claims: Mapping[int, Claim]) -> Turns:
        """Whose turn it is, at most so many."""
        ...

    def enter(self, gate: Gate, came: Counter[int], *, now: datetime) -> int:
        """Keep that so many of each cohort came in; the id of their wave."""
        ...


def run(asking: Asking, outcome: Outcome, *, now: datetime, most: int | None = None) -> Outcome:
    """Rounds of one transaction each, until nobody else may come in, or `most` of them are over.

    What the last one leaves to be done in SQL is the caller's transaction.
    """
    run_id, began = projection.require_valid(), time.monotonic()
    in_vain, rounds, done = 0, 0, list[int]()
    while outcome.more and rounds != most:
        before, at = outcome.admitted, now + _whole_seconds_since(began)
        read_at = notes.clock()
        drawing = asking.draw(run_id, now=at)
        taken = _round(asking, outcome, drawing, done, now=at)
        done = _follow(drawing, taken, read_at=read_at)
        rounds += 1
        in_vain = in_vain + 1 if outcome.admitted == before else 0
        if outcome.more and in_vain == MOST_IN_VAIN:
            raise LineUnavailable("the line isn't what SQL says: see flask line check")
    if outcome.admitted:
        wake("mail")
    notes.forget(done)
    return outcome


def decide(budget: int, claims: Mapping[int, Claim]) -> tuple[dict[int, Share], dict[int, float]]:
    """The shares of a wave, or of a tick, and the credits that they change; a dry run's too."""
    shares = sharing.shares(budget, claims)
    credit = {id_: at for id_, at in shares.credit.items() if at != claims[id_].credit}
    return {id_: Share(0, people) for id_, people in shares.people.items() if people}, credit


def claims_on(waiting: Mapping[int, int]) -> dict[int, Claim]:
    """What cohorts in which so many wait bring to the sharing, as SQL has them now."""
    found = db.session.scalars(
        select(Cohort)
        .where(Cohort.id.in_(waiting))
        .order_by(Cohort.id)
        .execution_options(populate_existing=True)
    )
    return {
        cohort.id: Claim(
            weight=cohort.weight,
            waiting=waiting[cohort.id],
            credit=cohort.credit,
            room=None if cohort.quota is None else cohort.quota - cohort.seats_used,
        )
        for cohort in found.all()
    }


def limit_of(budget: Budget, wanted: int, drawing: Drawing, turns: Sequence[int]) -> str:
    """The word for what limits it: the budget, or why the cohorts don't fill it."""
    if len(turns) == wanted:
        return budget.limit
    taken = Counter(turns)
    if any(people > taken[id_] for id_, people in drawing.waiting.items()):
        return "quota"
    if drawing.next_at is not None:
        return "hours"
    return "nobody" if drawing.cohorts or drawing.turns is not None else "closed"


def _whole_seconds_since(began: float) -> timedelta:
    return timedelta(seconds=int(time.monotonic() - began))


def _round(
    asking: Asking, outcome: Outcome, drawing: Drawing, done: Collection[int], *, now: datetime
) -> dict[int, Taken]:
    """One transaction under the gate's lock; who came in, by cohort.

    It also forgets the notes that the last one left and that are `done`.
    """
    gate = seats.lock()
    failpoint("admission.locked")
    budget = asking.budget(gate, now=now)
    wanted = min(budget.people, ROUND)
    claims = claims_on(drawing.waiting) if wanted else {}
    turns = asking.turns(wanted, drawing, claims) if wanted else Turns([])
    outcome.limit = limit_of(budget, wanted, drawing, turns.order)
    taken = {
        cohort_id: taking.take(cohort_id, drawing.cohorts[cohort_id].heads[:people])
        for cohort_id, people in sorted(Counter(turns.order).items())
    }
    came = _in_turn(turns.order, taken)
    if came:
        by_cohort = Counter(cohort_id for _, cohort_id in came)
        _remember(turns.credit)
        outcome.wave_id = asking.enter(gate, by_cohort, now=now)
        taking.invite(came, outcome.wave_id, now=now, mails_from=now + asking.mails_after)
        seats.take(by_cohort)
        outcome.by_cohort.update({drawing.cohorts[id_].name: n for id_, n in by_cohort.items()})
    notes.forget(done)
    failpoint("admission.before-commit")
    db.session.commit()
    failpoint("admission.committed")
    filled = len(turns.order) == wanted
    follow = wanted < budget.people if filled else bool(came) and drawing.is_cut
    outcome.more = len(came) < len(turns.order) or follow
    return taken


def _in_turn(order: Sequence[int], taken: Mapping[int, Taken]) -> list[tuple[int, int]]:
    """Those who came in, with their cohorts, as it was their turn."""
    people = {cohort_id: iter(theirs.people) for cohort_id, theirs in taken.items()}
    turns = ((next(people[cohort_id], None), cohort_id) for cohort_id in order)
    return [(entry_id, cohort_id) for entry_id, cohort_id in turns if entry_id is not None]


def _remember(credit: Mapping[int, float]) -> None:
    for cohort_id, value in sorted(credit.items()):
        db.session.execute(update(Cohort).where(Cohort.id == cohort_id).values(credit=value))


def _follow(drawing: Drawing, taken: Mapping[int, Taken], *, read_at: int) -> list[int]:
    """Take those who came in out of their lines; the notes that may be forgotten."""
    if taken:
        failpoint("admission.before-removal")
    done = [
        note
        for id_, theirs in taken.items()
        for note in notes.take_out(drawing.cohorts[id_].line, theirs.gone, read_at=read_at)
    ]
    projection.settle(*(id_ for id_, theirs in taken.items() if theirs.in_vain))
    return done
