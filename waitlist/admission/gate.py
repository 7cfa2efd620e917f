"""The gate: capacity, admission rate, open or paused; and the proof of its counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Unpack

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute

from waitlist import audit, estimates, postage, projection, seats, switches
from waitlist.admission import bounds, controls, health, laststep, mails
from waitlist.admission.controls import Wanted
from waitlist.admission.laststep import LastStepView
from waitlist.admission.mails import BouncesView, MailView
from waitlist.errors import VersionStale
from waitlist.estimates import Coverage
from waitlist.extensions import db
from waitlist.models import Cohort, Entry, Gate, Invitation, Registration


@dataclass(frozen=True)
class GateView:
    """The gate as an operator sees it. `limit` is the word for what limits admission now.

    `rate` is what was set, `rate_in_force` what is left of it where something slows the gate.
    """

    capacity: int
    rate: int
    rate_in_force: float
    paused: bool
    seats_used: int
    seats_free: int
    held: int
    taken: int
    waiting: int
    waiting_open: int
    limit: str
    health: health.Shown
    version: int
    ticked_at: str | None
    joining: str
    referral: bool
    notices: Mapping[str, str]
    health_ignored_until: str | None
    mail: MailView
    bounces: BouncesView
    last_step: LastStepView
    estimates: Coverage


LIMITS = {
    "paused": "the gate is paused",
    "capacity": "every seat is used: held by an open invitation or taken by a registration",
    "rate": "the admission rate",
    "health": "the product's health: see flask gate show",
    "bounces": "too many invitations come back. See why, then: flask gate accept-bounces",
    "last-step": "the rate, slowed as too many who finish meet an error of ours: "
    "see flask invitation stuck",
    "mail": "mail that is still to be sent, or is held: see flask gate show",
    "hours": "whoever waits in an open cohort waits for its hours: see flask cohort list",
    "nobody": "nobody waits in an open cohort",
}


def show(*, now: datetime) -> GateView:
    """The gate, its counters, and what limits it now."""
    gate = db.session.scalars(select(Gate)).one()
    held, taken = _held(), _taken()
    waiting = _waiting_by_cohort()
    opened = [cohort for cohort in db.session.scalars(select(Cohort)) if cohort.is_open(now)]
    waiting_open = sum(waiting.get(cohort.id, 0) for cohort in opened)
    waiting_now = sum(waiting.get(one.id, 0) for one in opened if one.is_within_hours(now))
    mail = postage.read(now=now)
    ignored = gate.health_ignored_until
    return GateView(
        capacity=gate.capacity,
        rate=gate.rate,
        rate_in_force=bounds.rate_in_force(gate, now=now),
        paused=gate.paused,
        seats_used=gate.seats_used,
        seats_free=max(0, gate.capacity - gate.seats_used),
        held=held,
        taken=taken,
        waiting=sum(waiting.values()),
        waiting_open=waiting_open,
        limit=_limit(gate, waiting_open, waiting_now, now=now),
        health=health.shown(gate, now=now),
        version=gate.version,
        ticked_at=_iso(gate.ticked_at),
        joining=gate.joining,
        referral=gate.referral,
        notices=gate.notices,
        health_ignored_until=_iso(ignored if ignored and ignored > now else None),
        mail=mails.budgets(mail, now=now),
        bounces=mails.bounces(mail, gate),
        last_step=laststep.shown(gate, now=now),
        estimates=estimates.coverage(),
    )


def change(
    *,
    actor: str,
    now: datetime,
    reason: str = "",
    if_version: int | None = None,
    **wanted: Unpack[Wanted],
) -> None:
    """Set what is given; the next tick goes by it. `ValueRefused` for what is out of bounds.

    A capacity below what is used stops admission and revokes nobody. `VersionStale` if the
    gate isn't of `if_version` any more: then nothing was set.
    """
    controls.check(wanted, now=now)
    gate = seats.lock()
    if if_version not in (None, gate.version):
        db.session.rollback()
        raise VersionStale(
            f"the gate was changed meanwhile: it is of version {gate.version}, not {if_version}. "
            "See flask gate history, then set it with the version of flask gate show"
        )
    values = controls.values(wanted, gate, now=now)
    before = controls.as_json({key: getattr(gate, key) for key in values})
    for key, value in values.items():
        setattr(gate, key, value)
    gate.version += 1
    after = controls.as_json(values)
    audit.record(
        "gate.set", "gate", actor=actor, now=now, before=before, after=after, reason=reason
    )
    if wanted.get("accept_bounces"):
        postage.forgive(now=now)
    if wanted.get("mail_route"):
        postage.choose_anew(now=now)
    db.session.commit()
    switches.forget()


def held_by_health(*, now: datetime) -> str | None:
    """The word for why the product's health lets nobody in by ticks now, if it doesn't."""
    return bounds.held(db.session.scalars(select(Gate)).one(), now=now)


def verify() -> dict[str, tuple[int, int]]:
    """Counters that differ from the rows behind them: name -> (counter, rows). Empty: all agree."""
    held_by = _count_by(Invitation.cohort_id, Invitation.state == "open")
    taken_by = _taken_by_cohort()
    gate = db.session.scalars(select(Gate)).one()
    found = {"gate": (gate.seats_used, sum(held_by.values()) + sum(taken_by.values()))}
    for cohort in db.session.scalars(select(Cohort)):
        rows = held_by.get(cohort.id, 0) + taken_by.get(cohort.id, 0)
        found[f"cohort {cohort.name}"] = (cohort.seats_used, rows)
    return {name: pair for name, pair in found.items() if pair[0] != pair[1]}


def as_json(view: GateView) -> dict[str, object]:
    """The view as JSON."""
    return {**asdict(view), "estimates": view.estimates.as_json()}


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _limit(gate: Gate, waiting_open: int, waiting_now: int, *, now: datetime) -> str:
    budget = bounds.of_tick(gate, now=now)
    is_full = budget.limit == "capacity" and not budget.people
    if is_full or budget.limit in ("paused", "bounces", "health") or waiting_now:
        return budget.limit
    return "hours" if waiting_open else "nobody"


def _held() -> int:
    query = select(func.count()).select_from(Invitation).where(Invitation.state == "open")
    return db.session.scalar(query) or 0


def _taken() -> int:
    return db.session.scalar(select(func.count()).select_from(Registration)) or 0


def _taken_by_cohort() -> Mapping[int, int]:
    registered = select(Registration.invitation_id)
    return _count_by(Invitation.cohort_id, Invitation.id.in_(registered))


def _waiting_by_cohort() -> Mapping[int, int]:
    return _count_by(Entry.cohort_id, projection.in_line())


def _count_by(
    cohort_id: InstrumentedAttribute[int], where: ColumnElement[bool]
) -> Mapping[int, int]:
    rows = db.session.execute(select(cohort_id, func.count()).where(where).group_by(cohort_id))
    return dict(rows.all())
