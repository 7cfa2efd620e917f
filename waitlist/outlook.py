"""The outlook of every line: by it each estimate is made, whoever shows it.

Drawn every other second and process, so that a place costs no statement of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, select

from waitlist import experience, lately, postage, projection
from waitlist.errors import LineUnavailable
from waitlist.experience import Lessons
from waitlist.extensions import db, reading, settings
from waitlist.models import Cohort, Health, NoShows
from waitlist.models import Gate as GateRow
from waitlist.policy import mailing, opening, pace, survival, trends, wait
from waitlist.policy.deadlines import GRACE
from waitlist.policy.flow import Contender, Gate, Seats
from waitlist.policy.survival import Share
from waitlist.policy.wait import Outlook, ShownRange

KEPT = 2.0  # seconds; many cohorts that wait for seats take some hundredths of one to draw

Outlooks = Mapping[int, Outlook]  # by cohort


class _Drawn(NamedTuple):
    """The outlooks, and the ranges that were asked for since: by cohort and shown position."""

    outlooks: Outlooks
    ranges: dict[tuple[int, int], ShownRange | None]


def of_cohorts(*, now: datetime) -> Outlooks:
    """The outlook of each cohort whose line can be read. Call it outside of a transaction."""
    return _drawn(now=now).outlooks


def range_of(cohort_id: int, shown_position: int, *, now: datetime) -> ShownRange | None:
    """The range that is shown with a position of a cohort's line; None where nobody can say.

    Of many who stand far back the same position is shown, so it is computed but once.
    """
    drawn, key = _drawn(now=now), (cohort_id, shown_position)
    if key not in drawn.ranges:
        outlook = drawn.outlooks.get(cohort_id)
        told = None if outlook is None else wait.estimate(shown_position - 1, outlook)
        drawn.ranges[key] = None if told is None else wait.shown_range(told)
    return drawn.ranges[key]


def forget() -> None:
    """Draw them anew the next time."""
    lately.forget("outlooks")


def _drawn(*, now: datetime) -> _Drawn:
    return lately.read("outlooks", lambda: _Drawn(_draw(now=now), {}), kept_for=KEPT)


def _draw(*, now: datetime) -> Outlooks:
    with reading():
        lived = experience.known()
        cohorts = db.session.execute(select(Cohort.__table__).order_by(Cohort.id)).all()
        gate = _gate(lived, now=now)
    readable = {one.id: waiting for one in cohorts if (waiting := _waiting(one)) is not None}
    told = [one for one in cohorts if one.id in readable]
    used = sum(one.seats_used for one in told)
    contenders = [
        Contender(
            waiting=readable[one.id],
            weight=one.weight,
            spans=opening.spans(one.opens_at, one.hours, one.timezone, now),
            room=math.inf if one.quota is None else one.quota - one.seats_used,
            part=one.seats_used / max(1, used),
            arriving=lived.arriving.get(one.id, 0.0),
        )
        for one in told
    ]
    drawn = wait.outlooks(gate, contenders, lived.spread)
    return {one.id: outlook for one, outlook in zip(told, drawn, strict=True)}


def _waiting(cohort: Row[Any]) -> int | None:
    try:
        return projection.of(cohort.name, cohort.line_epoch).length()
    except LineUnavailable:
        return None


def _gate(lived: Lessons, *, now: datetime) -> Gate:
    row = db.session.scalars(select(GateRow)).one()
    health = db.session.scalars(select(Health)).one()
    mail = postage.read(now=now)
    is_ignored = row.health_ignored_until is not None and now < row.health_ignored_until
    factor = 1.0 if is_ignored or health.reported_at is None else health.factor
    pace_now = pace.part_in_force(factor=factor, is_slowed=mail.is_slowed)
    free = max(0, row.capacity - row.seats_used)
    no_show, coming_back = _no_shows()
    is_stopped = mail.stopped_at is not None
    by_mail = mailing.foreseen(mail.pace, mail.spent, row.rate, is_stopped=is_stopped)
    return Gate(
        rate=0.0 if row.paused else by_mail.rate,
        free=free,
        pace_now=pace_now,
        pace_lately=trends.pace_lately(row.rate, free, lived.admitted, lived.allowed, pace_now),
        pace_limit=trends.pace_limit(pace_now, _strain(health) if factor < 1 else None),
        mails=by_mail.by_day,
        day_ends=by_mail.day_ends,
        coming_back=coming_back,
        no_show=no_show,
        back_after=(settings().invite_within + GRACE).total_seconds(),
        leaving=lived.leaving,
        front=lived.front,
    )


def _strain(health: Health) -> float | None:
    """What the product carries, of what it should at most, as the loop last saw it."""
    loop = health.state.get("loop")
    return None if loop is None else float(loop["strain"])


def _no_shows() -> tuple[float, Seats]:
    """Of those still to be invited the share who never come; and the seats that come back."""
    curve = db.session.scalars(select(NoShows.curve)).one()
    if not curve:
        return trends.NO_SHOW, ()
    not_later = [row[0] for row in curve]
    open_by_age = {age: row[3] for age, row in enumerate(curve) if row[3]}
    coming = survival.coming(open_by_age, not_later, len(curve))
    return trends.no_show(Share(*curve[-1][:3])), tuple(one.expired for one in coming)
