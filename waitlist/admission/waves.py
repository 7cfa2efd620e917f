"""Waves: the one way in, whether the clock's tick or an operator asks.

Heads are read from a valid line; then, under the gate's lock, the budget is computed and a
guarded UPDATE takes those who still wait there. One lock, so order and capacity hold
whoever admits, and however many do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import select, update

from waitlist import audit, cohorts, notes, projection, seats
from waitlist.admission import bounds, taking
from waitlist.admission.drawing import Drawn, able, draw
from waitlist.admission.taking import Taken
from waitlist.errors import LineUnavailable, ValueRefused
from waitlist.extensions import db, reading
from waitlist.failpoints import failpoint
from waitlist.models import Cohort, Gate, Wave
from waitlist.policy import deadlines, pace, sharing
from waitlist.policy.pace import Budget
from waitlist.policy.sharing import Claim
from waitlist.wake import wake

ROUND = 1_000  # people admitted in one transaction
MOST_ASKED = 1_000_000
MOST_IN_VAIN = 3  # rounds in a row that wanted people and found none of them waiting

Decide = Callable[[Gate, int], Budget]


@dataclass
class Outcome:
    """What a wave did, or would do: how many, of which cohorts, and what limited it."""

    asked: int | None
    limit: str = ""
    wave_id: int | None = None
    by_cohort: Counter[str] = field(default_factory=Counter)

    @property
    def admitted(self) -> int:
        """How many people in all."""
        return self.by_cohort.total()


def tick(*, now: datetime) -> Outcome:
    """Admit what the pace allows at `now`. Two clocks that tick at once admit no more than one."""

    def decide(gate: Gate, _admitted: int) -> Budget:
        _accrue(gate, now=now)
        return bounds.of_tick(gate, now=now)

    return _run(Outcome(asked=None), decide, None, actor="clock", reason="", now=now)


def admit(
    asked: int, *, cohort: str | None, actor: str, reason: str = "", now: datetime
) -> Outcome:
    """A wave by an operator: the next `asked` people of a cohort (open or not), or of all open.

    The rate doesn't bind it; free seats and the pause do.
    """
    outcome = Outcome(asked=_checked(asked))

    def decide(gate: Gate, admitted: int) -> Budget:
        free = gate.capacity - gate.seats_used
        return pace.wave_budget(paused=gate.paused, asked=asked - admitted, free=free)

    return _run(outcome, decide, cohort, actor=actor, reason=reason, now=now)


def rehearse(asked: int, *, cohort: str | None, now: datetime) -> Outcome:
    """What `admit` would do now. Nobody's state changes; a line that was lost is rebuilt first."""
    outcome = Outcome(asked=_checked(asked))
    projection.require_valid()
    waiting = {id_: line.length() for id_, (_, line) in able(cohort, by_hand=True, now=now).items()}
    with reading():
        gate = db.session.scalars(select(Gate)).one()
        budget = pace.wave_budget(
            paused=gate.paused, asked=asked, free=gate.capacity - gate.seats_used
        )
        names = _names()
        shares = sharing.shares(budget.people, _claims(waiting))
    outcome.limit = budget.limit
    outcome.by_cohort.update(
        {names[key]: people for key, people in shares.people.items() if people}
    )
    return outcome


def _checked(asked: int) -> int:
    if not 1 <= asked <= MOST_ASKED:
        raise ValueRefused(f"a wave is of 1 to {MOST_ASKED} people, not {asked}")
    return asked


def _run(
    outcome: Outcome,
    decide: Decide,
    cohort: str | None,
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> Outcome:
    """Rounds of one transaction each, until the budget or the people are used up."""
    run_id = projection.require_valid()
    in_vain = 0
    more, done = True, list[int]()
    while more:
        before = outcome.admitted
        read_at = notes.clock()
        by_hand = outcome.asked is not None
        drawn = draw(cohort, ROUND, run_id, by_hand=by_hand, now=now)
        more, taken = _round(outcome, decide, drawn, done, actor=actor, reason=reason, now=now)
        done = [
            note
            for id_, theirs in taken.items()
            for note in notes.take_out(drawn[id_].line, theirs.gone, read_at=read_at)
        ]
        projection.settle(*(id_ for id_, theirs in taken.items() if theirs.in_vain))
        in_vain = in_vain + 1 if outcome.admitted == before else 0
        if more and in_vain == MOST_IN_VAIN:
            raise LineUnavailable("the line isn't what SQL says: see flask line check")
    notes.forget(done)
    db.session.commit()
    if outcome.admitted:
        wake("mail")
    return outcome


def _round(
    outcome: Outcome,
    decide: Decide,
    drawn: Mapping[int, Drawn],
    done: Collection[int],
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> tuple[bool, dict[int, Taken]]:
    """One transaction under the gate's lock; whether another may admit more, and who came in.

    It also forgets the notes that the last one left and that are `done`.
    """
    gate = seats.lock()
    failpoint("admission.locked")
    budget = decide(gate, outcome.admitted)
    waiting = {cohort_id: len(one.heads) for cohort_id, one in drawn.items()}
    outcome.limit = budget.limit if any(waiting.values()) or not budget.people else "nobody"
    this_round = min(budget.people, ROUND)
    claims = _claims(waiting)
    shares = sharing.shares(this_round, claims)
    taken = {
        cohort_id: taking.take(cohort_id, drawn[cohort_id].heads[:people])
        for cohort_id, people in sorted(shares.people.items())
        if people
    }
    came = {cohort_id: theirs.people for cohort_id, theirs in taken.items()}
    people = sum(map(len, came.values()))
    if people:
        _remember_credit(shares.credit, claims)
        _invite(outcome, came, actor=actor, reason=reason, now=now)
        outcome.by_cohort.update({drawn[id_].name: len(ids) for id_, ids in came.items()})
        if outcome.asked is None:
            gate.allowance = max(0.0, gate.allowance - people)
    notes.forget(done)
    failpoint("admission.before-commit")
    db.session.commit()
    failpoint("admission.committed")
    wanted = sum(shares.people.values())
    more = people < wanted or (this_round < budget.people and wanted == this_round)
    return more, taken


def _accrue(gate: Gate, *, now: datetime) -> None:
    elapsed = now - (gate.ticked_at or now)
    if not gate.paused and gate.seats_used < gate.capacity:
        gate.allowance = pace.accrue(gate.allowance, bounds.rate_in_force(gate, now=now), elapsed)
    if gate.ticked_at is None or elapsed > timedelta() or elapsed < -deadlines.OUTAGE:
        gate.ticked_at = now  # a clock a little behind another changes nothing; a step is taken


def _claims(waiting: Mapping[int, int]) -> dict[int, Claim]:
    found = db.session.scalars(select(Cohort).where(Cohort.id.in_(waiting)).order_by(Cohort.id))
    return {
        cohort.id: Claim(
            weight=cohort.weight,
            waiting=waiting[cohort.id],
            credit=cohort.credit,
            room=None if cohort.quota is None else cohort.quota - cohort.seats_used,
        )
        for cohort in found.all()
    }


def _invite(
    outcome: Outcome, taken: Mapping[int, list[int]], *, actor: str, reason: str, now: datetime
) -> None:
    """Invitations, seats and owed mails of one round, in its transaction."""
    wave_id = _wave(outcome, sum(map(len, taken.values())), actor=actor, reason=reason, now=now)
    taking.invite(taken, wave_id, now=now)
    seats.take(Counter({cohort_id: len(ids) for cohort_id, ids in taken.items()}))


def _wave(outcome: Outcome, people: int, *, actor: str, reason: str, now: datetime) -> int:
    """The wave's row: begun by its first round, counted up by the others."""
    if outcome.wave_id is None:
        wave = Wave(at=now, actor=actor, reason=reason, asked=outcome.asked or 0, admitted=0)
        db.session.add(wave)
        db.session.flush()
        outcome.wave_id = wave.id
        if outcome.asked is not None:
            audit.record(
                "wave.admit",
                f"wave:{wave.id}",
                actor=actor,
                now=now,
                after={"asked": outcome.asked},
                reason=reason,
            )
    db.session.execute(
        update(Wave)
        .where(Wave.id == outcome.wave_id)
        .values(admitted=Wave.admitted + people)
        .execution_options(synchronize_session=False)
    )
    return outcome.wave_id


def _remember_credit(credit: Mapping[int, float], claims: Mapping[int, Claim]) -> None:
    for cohort_id, value in sorted(credit.items()):
        if value != claims[cohort_id].credit:
            db.session.execute(update(Cohort).where(Cohort.id == cohort_id).values(credit=value))


def _names() -> dict[int, str]:
    return {cohort.id: cohort.name for cohort in cohorts.every()}
