"""Waves: people who are admitted together, by the clock's tick or because an operator asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Integer, insert, literal, select, update

from waitlist import audit, cohorts
from waitlist.admission import bounds, plans, recall, rounds
from waitlist.admission.drawing import Drawing, draw
from waitlist.admission.plans import AT_ONCE, When
from waitlist.admission.rounds import Outcome, Turns
from waitlist.errors import LineUnavailable, ValueRefused
from waitlist.extensions import db
from waitlist.models import Gate, Wave, WavePerson
from waitlist.policy import deadlines, pace
from waitlist.policy import waves as policy
from waitlist.policy.pace import Budget
from waitlist.policy.sharing import Claim
from waitlist.rows import given

MOST_ASKED = 1_000_000
LONGEST = timedelta(days=30)


def tick(*, now: datetime) -> Outcome:
    """Admit what the pace allows at `now`. Two clocks that tick at once admit no more than one."""
    outcome = rounds.run(Tick(), Outcome(asked=None), now=now)
    db.session.commit()
    return outcome


def admit(
    asked: int,
    *,
    cohort: str | None,
    actor: str,
    reason: str = "",
    now: datetime,
    when: When = AT_ONCE,
) -> Outcome:
    """A wave by an operator: the next `asked` people of a cohort (open or not), or of all open.

    The rate doesn't bind it; free seats and the pause do. What isn't at once the clock does.
    """
    wave = _ordered(asked, when, actor=actor, reason=reason, now=now)
    wave.cohort_id = cohorts.find(cohort).id if cohort else None
    return _begin(wave, [], action="wave.admit", now=now)


def invite(
    entry_ids: Sequence[int],
    *,
    actor: str,
    reason: str,
    now: datetime,
    when: When = AT_ONCE,
) -> Outcome:
    """A wave of these people, in this order, wherever they stand: they overtake by its reason.

    Seats, the pause and their cohorts' quotas bind it, as any wave by an operator.
    """
    if not reason:
        raise ValueRefused("say why these people go before the others: --reason")
    wave = _ordered(len(entry_ids), when, actor=actor, reason=reason, now=now)
    wave.by_list = True
    return _begin(wave, entry_ids, action="wave.invite", now=now)


def check(asked: int, when: When, *, now: datetime) -> None:
    """`ValueRefused` for a wave of no sensible size, a time in the past, or too long a while."""
    if not 1 <= asked <= MOST_ASKED:
        raise ValueRefused(f"a wave is of 1 to {MOST_ASKED} people, not {asked}")
    if when.starts_at is not None and when.starts_at <= now:
        raise ValueRefused(f"{when.starts_at:%F %H:%M}Z is past: give a time to come, or none")
    if when.over is not None and not timedelta(0) < when.over <= LONGEST:
        raise ValueRefused(f"a wave is spread over at most {LONGEST.days} days, not {when.over}")


class Tick:
    """The clock's tick, as it asks rounds for people (`rounds.Asking`)."""

    def __init__(self) -> None:
        self.mails_after = timedelta()
        self.wave_id: int | None = None

    def draw(self, run_id: str, *, now: datetime) -> Drawing:
        """The front of every open line."""
        return draw(None, rounds.ROUND, run_id, now=now)

    def budget(self, gate: Gate, *, now: datetime) -> Budget:
        """What the pace allows."""
        _accrue(gate, now=now)
        return bounds.of_tick(gate, now=now)

    def turns(self, most: int, _drawing: Drawing, claims: Mapping[int, Claim]) -> Turns:
        """By weight."""
        shares, credit = rounds.decide(most, claims)
        return Turns(policy.turns(shares, most), credit)

    def enter(self, gate: Gate, came: Counter[int], *, now: datetime) -> int:
        """Spend the allowance. A tick's wave is begun by its first round."""
        gate.allowance = max(0.0, gate.allowance - came.total())
        if self.wave_id is None:
            wave = Wave(at=now, actor="clock", asked=0, admitted=0)
            db.session.add(wave)
            db.session.flush()
            self.wave_id = wave.id
        more = Wave.admitted + came.total()
        db.session.execute(
            update(Wave)
            .where(Wave.id == self.wave_id)
            .values(admitted=more)
            .execution_options(synchronize_session=False)
        )
        return self.wave_id


def _accrue(gate: Gate, *, now: datetime) -> None:
    elapsed = now - (gate.ticked_at or now)
    if not gate.paused and gate.seats_used < gate.capacity:
        gate.allowance = pace.accrue(gate.allowance, bounds.rate_in_force(gate, now=now), elapsed)
    if gate.ticked_at is None or elapsed > timedelta() or elapsed < -deadlines.OUTAGE:
        gate.ticked_at = now  # a clock a little behind another changes nothing; a step is taken


def _ordered(asked: int, when: When, *, actor: str, reason: str, now: datetime) -> Wave:
    check(asked, when, now=now)
    at_once, over = when.is_at_once, when.over or timedelta()
    return Wave(
        at=now,
        actor=actor,
        reason=reason[:200],
        asked=asked,
        admitted=0,
        state="planned" if when.starts_at else "running",
        starts_at=now + plans.LEFT_ALONE if at_once else when.starts_at or now,
        over_seconds=None if at_once else int(over.total_seconds()),
    )


def _begin(wave: Wave, named: Sequence[int], *, action: str, now: datetime) -> Outcome:
    """Keep the wave's row; and where nothing is planned, admit whom it can at once."""
    db.session.add(wave)
    db.session.flush()
    if named:
        _name(wave.id, named)
    subject, after = f"wave:{wave.id}", plans.order_of(wave)
    audit.record(action, subject, actor=wave.actor, now=now, after=after, reason=wave.reason)
    db.session.commit()
    if not plans.is_at_once(wave):
        return Outcome(asked=wave.asked, wave_id=wave.id, limit="plan", more=False)
    with _halted_if_it_breaks(wave.id, actor=wave.actor, now=now):
        return plans.carry_on(wave.id, now=now)


def _name(wave_id: int, entry_ids: Sequence[int]) -> None:
    named = given(enumerate(entry_ids), nth=Integer(), entry_id=BigInteger())
    rows = select(literal(wave_id, BigInteger()), named.c.nth, named.c.entry_id)
    db.session.execute(insert(WavePerson).from_select(["wave_id", "nth", "entry_id"], rows))


@contextmanager
def _halted_if_it_breaks(wave_id: int, *, actor: str, now: datetime) -> Iterator[None]:
    """Who is told that it failed, or stopped it, isn't to find that the clock went on with it."""
    whole = False
    try:
        yield
        whole = True
    except LineUnavailable as error:
        raise LineUnavailable(
            f"{error}. Wave {wave_id} is halted; whom it admitted before: flask wave show {wave_id}"
        ) from error
    finally:
        if not whole:
            db.session.rollback()
            with suppress(ValueRefused):  # it was over already
                recall.halt(wave_id, actor=actor, reason="its command broke off", now=now)
