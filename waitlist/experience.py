"""What the last hour taught of waiting: the pace that was kept, who left, and how ranges fared.

The clock learns it with every sweep of the estimates, and all processes read the one row. Every
question here is about a bounded number of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Row, func, select, update

from waitlist.extensions import db
from waitlist.models import Audit, Cohort, Entry, Estimate, Experience, Gate, Invitation, Wave
from waitlist.policy import opening, trends
from waitlist.policy.calibration import PRIOR, Sample, Spread, learn
from waitlist.policy.forecast import OpenTime

HOUR = timedelta(hours=1)
LATELY = timedelta(seconds=trends.LATELY)
TICKS = 4_000  # of which an hour has 3,600
INVITED = 1_000  # the latest, of whom it is asked whether they came back, and when they came
TAIL = 200  # of a line, who are asked when they came
LEARNED_FROM = 600  # samples: older ones would count next to nothing
LEFT = ("withdrawn", "removed")

ToldOf = Row[Any]  # an estimate, with its entry's state and the time at which that one left


class Lessons(NamedTuple):
    """Numbers for `policy.flow.Gate`, and the spread around what they foretell."""

    admitted: int = 0  # by ticks, while somebody always waited
    allowed: float = 0.0  # by the rate, in that time
    leaving: float = 0.0
    front: float = 0.0
    arriving: Mapping[int, float] = {}  # by cohort, people an hour
    spread: Spread = PRIOR


def known() -> Lessons:
    """What was learned last; in the caller's transaction."""
    row: dict[str, Any] = db.session.scalars(select(Experience.lessons)).one()
    if not row:
        return Lessons()
    arriving = {int(cohort): people for cohort, people in row["arriving"].items()}
    spread = Spread(tuple((low, middle, high) for low, middle, high in row["spread"]))
    return Lessons(**row | {"arriving": arriving, "spread": spread})


def store(lessons: Lessons, *, now: datetime) -> None:
    """Let every process know, in the caller's transaction."""
    row = {**lessons._asdict(), "spread": lessons.spread.at}
    db.session.execute(update(Experience).values(learned_at=now, lessons=row))


def learned(*, now: datetime) -> Lessons:
    """What can be learned by now; in the caller's transaction, which may be one that reads."""
    cohorts = db.session.scalars(select(Cohort)).all()
    told = _told()
    since = _busy_since(told, cohorts, now=now)
    invited = _lately_invited(now=now)
    rate = db.session.scalars(select(Gate.rate)).one()
    return Lessons(
        admitted=_by_ticks(since),
        allowed=rate * ((now - since) / HOUR),
        leaving=_leaving(told, now=now),
        front=trends.front(sum(row.renewals > 0 for row in invited), len(invited)),
        arriving={one.id: _arriving(one.id, invited, now=now) for one in cohorts},
        spread=_spread(told, cohorts, now=now),
    )


def _by_ticks(since: datetime) -> int:
    """How many people ticks let in."""
    latest = (
        select(Wave.at, Wave.admitted, Wave.actor).order_by(Wave.id.desc()).limit(TICKS).subquery()
    )
    people = select(func.sum(latest.c.admitted))
    return db.session.scalar(people.where(latest.c.actor == "clock", latest.c.at >= since)) or 0


def _told() -> Sequence[ToldOf]:
    """Those who still wait, and the latest who were let in; the table is bounded."""
    columns = (
        *(Estimate.cohort_id, Estimate.made_at, Estimate.foretold_seconds, Estimate.low_seconds),
        *(Estimate.high_seconds, Estimate.waited_seconds, Estimate.scored_at),
        *(Estimate.settings_changed, Entry.state, Entry.left_at),
    )
    rows: Any = db.session.execute(select(*columns).join(Entry, Entry.id == Estimate.entry_id))
    return list(rows)


def _busy_since(told: Sequence[ToldOf], cohorts: Sequence[Cohort], *, now: datetime) -> datetime:
    """Since when somebody always waited who could be let in, under the settings of now."""
    begin = now - LATELY
    opened = {one.id: _opened(one, begin, now=now) for one in cohorts}
    waits = [
        (max(row.made_at, opened[row.cohort_id]).timestamp(), (row.scored_at or now).timestamp())
        for row in told
        if row.cohort_id in opened and (row.scored_at or row.state == "waiting")
    ]
    busy = datetime.fromtimestamp(trends.busy_since(waits, now.timestamp()), now.tzinfo)
    changed = db.session.scalar(
        select(Audit.at).where(Audit.subject == "gate").order_by(Audit.id.desc()).limit(1)
    )
    return min(now, max(busy, begin, changed or begin))


def _opened(cohort: Cohort, since: datetime, *, now: datetime) -> datetime:
    """Since when a cohort is open without a break; `now` if it isn't."""
    spans = opening.spans(cohort.opens_at, cohort.hours, cohort.timezone, since)
    seconds = (now - since).total_seconds()
    begins = [begin for begin, end in spans if begin < seconds <= end]
    return since + timedelta(seconds=begins[0]) if begins else now


def _leaving(told: Sequence[ToldOf], *, now: datetime) -> float:
    """Of those who wait, the share who leave in an hour: a constant hazard, by its likelihood."""
    gone = [row for row in told if row.state in LEFT and not row.scored_at]
    ends = [row.scored_at or (row.left_at if row.state in LEFT else None) or now for row in told]
    hours: float = sum((end - row.made_at) / HOUR for row, end in zip(told, ends, strict=True))
    return len(gone) / (hours + trends.HOURS_OF_PATIENCE)


def _lately_invited(*, now: datetime) -> Sequence[Row[Any]]:
    """Who was let in through a line: re-issues took no place of it."""
    latest: Any = (
        select(Invitation.cohort_id, Invitation.created_at, Entry.renewals, Entry.confirmed_at)
        .join(Entry, Entry.id == Invitation.entry_id)
        .where(Invitation.generation == 1)
        .order_by(Invitation.id.desc())
        .limit(INVITED)
    )
    return [row for row in db.session.execute(latest) if row.created_at >= now - LATELY]


def _arriving(cohort_id: int, invited: Sequence[Row[Any]], *, now: datetime) -> float:
    """People an hour who were confirmed lately: those at the end of the line, and who is in."""
    tail = (
        select(Entry.confirmed_at)
        .where(Entry.state == "waiting", Entry.cohort_id == cohort_id)
        .order_by(Entry.rank.desc())
        .limit(TAIL)
    )
    begin = now - LATELY
    waiting = [at for at in db.session.scalars(tail) if at is not None]
    came = [at for at in waiting if at >= begin]
    if len(came) == TAIL:
        return TAIL / max((now - min(came)) / HOUR, 1 / 3600)
    came += [
        row.confirmed_at
        for row in invited
        if row.cohort_id == cohort_id and row.confirmed_at and row.confirmed_at >= begin
    ]
    return len(came) / (LATELY / HOUR)


def _spread(told: Sequence[ToldOf], cohorts: Sequence[Cohort], *, now: datetime) -> Spread:
    begin = min((row.made_at for row in told), default=now)
    open_time = {
        one.id: OpenTime(opening.spans(one.opens_at, one.hours, one.timezone, begin))
        for one in cohorts
        if one.opens_at is not None
    }
    samples = []
    for row in sorted(told, key=lambda row: row.scored_at or now)[-LEARNED_FROM:]:
        counts = not row.settings_changed and row.cohort_id in open_time
        if counts and (row.scored_at or row.state == "waiting"):
            until = _admitted_at(row) or now
            made, over = ((at - begin).total_seconds() for at in (row.made_at, until))
            of = open_time[row.cohort_id]
            samples.append(_sample(row, max(0.0, of.until(over) - of.until(made))))
    return learn(samples)


def _admitted_at(row: ToldOf) -> datetime | None:
    if row.waited_seconds is None:
        return None
    at: datetime = row.made_at + timedelta(seconds=row.waited_seconds)
    return at


def _sample(row: ToldOf, open_seconds: float) -> Sample:
    if row.waited_seconds is None:
        return Sample(row.foretold_seconds, open_seconds, is_over=False)
    off = int(row.waited_seconds > row.high_seconds) - int(row.waited_seconds < row.low_seconds)
    return Sample(row.foretold_seconds, open_seconds, is_over=True, off=off)
