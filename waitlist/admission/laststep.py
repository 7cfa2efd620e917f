"""How those fare whom the gate let in: while too many meet an error of ours, it goes slower.

Decided once a tick, from what two indexes tell of the last minutes, and kept with the gate: all
that goes by it (ticks, mails, estimates) reads the gate anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Select, case, func, literal, select, union_all, update

from waitlist.extensions import db, reading, rows_changed, settings
from waitlist.models import FinishFailure, Gate, Registration
from waitlist.policy import laststep as policy
from waitlist.policy.laststep import Tries

log = structlog.get_logger()
MOST = 1_000  # tries of either table that are looked at: enough, whoever hammers
MOST_TOLD = 20_000  # failures that are told by their kinds


@dataclass(frozen=True)
class LastStepView:
    """The last step as an operator sees it; `alarm_since` None: it is well."""

    alarm_since: str | None
    people: int
    failed: int
    limit: float


def watch(*, now: datetime) -> None:
    """Decide whether the gate is to be slower; the log tells when that begins and ends."""
    with reading():
        since = db.session.scalars(select(Gate.last_step_alarm_at)).one()
        tries = seen(now=now)
    alarms = policy.alarms(tries, limit(), alarmed=since is not None)
    if alarms == (since is not None):
        return
    column = Gate.last_step_alarm_at
    which = column.is_(None) if alarms else column.is_not(None)
    turned = update(Gate).where(which).values(last_step_alarm_at=now if alarms else None)
    changed = rows_changed(turned.execution_options(synchronize_session=False))
    db.session.commit()
    if changed:
        _say(alarms, tries)


def seen(*, now: datetime) -> Tries:
    """How those fared who tried lately: within ten minutes, or among the last so many."""
    since = now - policy.WINDOW
    for at in (FinishFailure.at, Registration.created_at):
        before = select(at).where(at > since).order_by(at.desc()).offset(MOST).limit(1)
        since = db.session.scalar(before) or since
    people, failed = db.session.execute(_by_people(since)).one()
    return Tries(people, failed or 0)


def _by_people(since: datetime) -> Select[int, int | None]:
    """How many people tried since then, and how many of them met an error of ours."""
    failure, is_ours = FinishFailure.__table__.c, FinishFailure.kind.in_(policy.OURS)
    tries = union_all(
        select(failure.invitation_id, case((is_ours, 1), else_=0).label("failed")).where(
            failure.at > since
        ),
        select(Registration.invitation_id, literal(0)).where(Registration.created_at > since),
    ).subquery()
    each = select(func.max(tries.c.failed).label("failed")).group_by(tries.c.invitation_id)
    people = each.subquery()
    return select(func.count(), func.sum(people.c.failed)).select_from(people)


def kinds(*, now: datetime) -> dict[str, int]:
    """How many tries failed within ten minutes, by their kind."""
    lately = (
        select(FinishFailure.kind, FinishFailure.times)
        .where(FinishFailure.at > now - policy.WINDOW)
        .order_by(FinishFailure.at.desc())
        .limit(MOST_TOLD)
        .subquery()
    )
    found = select(lately.c.kind, func.sum(lately.c.times)).group_by(lately.c.kind)
    return {kind: int(times) for kind, times in db.session.execute(found)}


def shown(gate: Gate, *, now: datetime) -> LastStepView:
    """How it stands."""
    since, tries = gate.last_step_alarm_at, seen(now=now)
    return LastStepView(since.isoformat() if since else None, *tries, limit())


def limit() -> float:
    """The share of people past which it alarms."""
    return settings().last_step_alarm / 100


def _say(alarms: bool, tries: Tries) -> None:
    if alarms:
        log.warning("the last step fails: the gate goes at a quarter", **tries._asdict())
    else:
        log.warning("the last step works again: the gate goes at its pace", **tries._asdict())
