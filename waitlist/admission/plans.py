"""Waves by hand, as rows: what of one is due, carrying it on, and when it is done.

Whoever carries one on reads under the gate's lock what it is and how far it has come, so its
command and any number of workers may do so, and none admits anybody twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import or_, select, text, update

from waitlist import postage
from waitlist.admission import bounds, rounds
from waitlist.admission.drawing import Drawing, draw, draw_named
from waitlist.admission.gate import LIMITS
from waitlist.admission.rounds import Outcome, Turns
from waitlist.extensions import db, reading, settings
from waitlist.models import Cohort, Gate, Wave
from waitlist.policy import pace, waves
from waitlist.policy.pace import Budget
from waitlist.policy.sharing import Claim
from waitlist.policy.waves import Plan, Share

TO_DO = ("planned", "running")
DUE = text("state IN ('planned', 'running')")  # in the words of the index
LEFT_ALONE = timedelta(seconds=45)  # after which the clock takes up what a command left
ROUNDS_A_TICK = 5  # of one wave: the next tick goes on with it, so that no tick is late

WHY = {
    **LIMITS,
    "bounces": "too many invitations bounce",
    "quota": "the quota of its cohorts is used up",
    "hours": "those whom it could take wait for the hours of their cohort",
    "closed": "no cohort is open",
    "nobody": "nobody else waits whom it could take",
}


class When(NamedTuple):
    """When a wave begins, and over what while it is spread; neither: at once."""

    starts_at: datetime | None = None
    over: timedelta | None = None

    @property
    def is_at_once(self) -> bool:
        """Whether it takes what it can get now, and is done with it. Others wait for more."""
        return self.starts_at is None and self.over is None


AT_ONCE = When()


def carry_on_due(*, now: datetime) -> list[Outcome]:
    """Carry on every wave whose time has come, as far as it may go now."""
    due = select(Wave).where(DUE, Wave.starts_at <= now).order_by(Wave.starts_at, Wave.id)
    with reading():
        ids = [wave.id for wave in db.session.scalars(due) if _has_something_due(wave, now=now)]
    return [carry_on(id_, now=now, most=ROUNDS_A_TICK) for id_ in ids]


def carry_on(wave_id: int, *, now: datetime, most: int | None = None) -> Outcome:
    """Admit those whom this wave may take now, in `most` rounds if told, and keep how it stands."""
    by_hand = ByHand(wave_id)
    outcome = Outcome(asked=by_hand.asked, wave_id=wave_id)
    rounds.run(by_hand, outcome, now=now, most=most)
    if not outcome.more:
        _keep_standing(_read(wave_id), outcome.limit)
    db.session.commit()
    return outcome


def may_take(gate: Gate, asked: int, *, now: datetime) -> Budget:
    """How many a wave by hand may take at `now` of so many; a dry run asks it too."""
    if postage.read(now=now).stopped_at is not None:
        return Budget(0, "bounces")
    free = gate.capacity - gate.seats_used
    return pace.wave_budget(paused=gate.paused, asked=asked, free=free)


def plan_of(wave: Wave) -> Plan:
    """The wave's plan."""
    assert wave.starts_at is not None
    return Plan(wave.asked, wave.starts_at, timedelta(seconds=wave.over_seconds or 0))


def is_at_once(wave: Wave) -> bool:
    """Whether its command admits whom it can, and is done with it."""
    return wave.over_seconds is None


def order_of(wave: Wave) -> dict[str, Any]:
    """What was asked, for the audit."""
    order: dict[str, Any] = {"asked": wave.asked}
    if wave.cohort_id is not None:
        order["cohort"] = wave.cohort_id
    if not is_at_once(wave):
        assert wave.starts_at is not None
        order |= {"starts_at": wave.starts_at.isoformat(), "over_seconds": wave.over_seconds}
    return order


class ByHand:
    """A wave by hand, as it asks rounds for people (`rounds.Asking`)."""

    def __init__(self, wave_id: int) -> None:
        self.wave_id, self.mails_after = wave_id, settings().wave_undo
        with reading():
            wave = _read(wave_id)
            self.asked, self.by_list, self.at_once = wave.asked, wave.by_list, is_at_once(wave)
            named = wave.cohort_id and db.session.get_one(Cohort, wave.cohort_id)
            self.cohort = named.name if named else None

    def draw(self, run_id: str, *, now: datetime) -> Drawing:
        """The next of its list, of its cohort, or of all open ones."""
        most, at_any_hour = rounds.ROUND, self.at_once
        if self.by_list:
            return draw_named(self.wave_id, most, now=now, at_any_hour=at_any_hour)
        return draw(self.cohort, most, run_id, now=now, at_any_hour=at_any_hour)

    def budget(self, gate: Gate, *, now: datetime) -> Budget:
        """What is due by its plan, within the free seats."""
        self.wave = _read(self.wave_id)
        if self.wave.state not in TO_DO:
            return Budget(0, self.wave.state)
        if not self.at_once and bounds.held(gate, now=now):
            return Budget(0, "health")
        left = self.wave.asked - self.wave.admitted
        self.rest = may_take(gate, left, now=now)
        due = left if self.at_once else _due(self.wave, now=now)
        if due == left or self.rest.people < due:
            return self.rest
        return Budget(due, "plan")

    def turns(self, most: int, drawing: Drawing, claims: Mapping[int, Claim]) -> Turns:
        """By its shares, which are decided once for all that it may take, while they hold."""
        if drawing.turns is not None:
            room = {id_: claim.room for id_, claim in claims.items()}
            return Turns(waves.named_turns(drawing.turns, room, most))
        self.shares, credit = _shares_of(self.wave), dict[int, float]()
        able = {id_: claim.most for id_, claim in claims.items()}
        if not waves.still_hold(self.shares, able, most):
            self.shares, credit = rounds.decide(self.rest.people, claims)
        return Turns(waves.turns(self.shares, most), credit)

    def enter(self, gate: Gate, came: Counter[int], *, now: datetime) -> int:
        """Keep how far it has come. Its plan is put off by what was missed of it before."""
        wave, people = self.wave, came.total()
        plan = waves.anchored(plan_of(wave), wave.admitted, now)
        wave.starts_at = now + LEFT_ALONE if self.at_once else plan.starts_at
        wave.mails_from = wave.mails_from or now + self.mails_after
        if not self.by_list:
            wave.shares = {
                str(id_): [share.taken + came[id_], share.of] for id_, share in self.shares.items()
            }
        wave.admitted += people
        wave.state, wave.note = "running", ""
        db.session.flush()
        return self.wave_id


def _read(wave_id: int) -> Wave:
    return db.session.get_one(Wave, wave_id, populate_existing=True)


def _shares_of(wave: Wave) -> dict[int, Share]:
    return {int(id_): Share(*share) for id_, share in wave.shares.items()}


def _due(wave: Wave, *, now: datetime) -> int:
    return waves.due(waves.anchored(plan_of(wave), wave.admitted, now), wave.admitted, now)


def _has_something_due(wave: Wave, *, now: datetime) -> bool:
    """Whether it's worth the gate's lock."""
    begins, ends = wave.state == "planned", wave.admitted >= wave.asked
    return is_at_once(wave) or begins or ends or _due(wave, now=now) > 0


def _keep_standing(wave: Wave, limit: str) -> None:
    """Keep how the wave stands when it can't go on now, in the caller's transaction."""
    if wave.state not in TO_DO:
        return
    if wave.admitted >= wave.asked:
        state, note = "done", ""
    elif is_at_once(wave) or limit == "nobody":
        state, note = "done", WHY.get(limit, "")
    else:
        state, note = "running", f"waits: {WHY[limit]}" if limit in WHY else ""
    differs = or_(Wave.state != state, Wave.note != note)
    db.session.execute(
        update(Wave)
        .where(Wave.id == wave.id, Wave.state.in_(TO_DO), differs)
        .values(state=state, note=note)
        .execution_options(synchronize_session=False)
    )
