"""Estimates put to the test: taken of people all along the line, scored when they are let in.

The clock calls `sweep`. What it keeps is bounded: `KEPT` that were scored, about as many that
still wait. The longer a wait is foretold, the more rarely it is taken, as it is kept for longer.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from flask import current_app
from sqlalchemy import Row, and_, delete, func, insert, select, update

from waitlist import experience, outlook, projection
from waitlist.errors import LineUnavailable
from waitlist.extensions import db, reading, settings
from waitlist.models import Cohort, Entry, Estimate, Gate, Invitation
from waitlist.policy import wait

EVERY = timedelta(seconds=20)  # the clock sweeps
AT_A_TIME = 4  # places of a line that are looked at in a sweep
WAITING = 400  # estimates of a line that still wait, about; while there are fewer, any is taken
KEPT = 2_000  # estimates that were scored, and of those that still wait
SCORED = 1_000  # the latest, by which coverage is told
LEFT_KEPT = timedelta(days=7)  # in which those who left tell how many leave


@dataclass(frozen=True)
class Coverage:
    """Of the latest estimates that were scored: how many waits lay in the range that was told."""

    scored: int
    covered: int
    changed_scored: int  # the settings changed meanwhile
    changed_covered: int

    @property
    def share(self) -> float | None:
        """The share that was covered, of those for whom the settings stayed as they were."""
        return self.covered / self.scored if self.scored else None

    @property
    def changed_share(self) -> float | None:
        """The same of the others."""
        return self.changed_covered / self.changed_scored if self.changed_scored else None

    def as_json(self) -> dict[str, Any]:
        """The same as JSON."""
        return {**asdict(self), "share": self.share, "changed_share": self.changed_share}


def sweep_if_due(*, now: datetime) -> None:
    """Sweep, unless this process did a moment ago."""
    swept_at: datetime | None = current_app.extensions.get("estimates_swept_at")
    if swept_at is None or not swept_at <= now < swept_at + EVERY:
        current_app.extensions["estimates_swept_at"] = now
        sweep(now=now)


def sweep(*, now: datetime) -> None:
    """Score who was let in, take a few more, forget the oldest, learn. Commits."""
    with reading():
        mark = settings_mark()
        scores, lessons = _scores(), experience.learned(now=now)
    taken = list(_take(mark, now=now))
    waits, changed = Estimate.scored_at.is_(None), Estimate.settings_mark != mark
    others = and_(waits, changed, Estimate.settings_changed.is_(False))
    db.session.execute(update(Estimate).where(others).values(settings_changed=True))
    for estimate_id, waited in scores:
        db.session.execute(
            update(Estimate)
            .where(Estimate.id == estimate_id, Estimate.scored_at.is_(None))
            .values(waited_seconds=waited, scored_at=now)
        )
    if taken:
        db.session.execute(insert(Estimate), taken)
    _forget(now=now)
    experience.store(lessons, now=now)
    db.session.commit()


def coverage() -> Coverage:
    """How the latest estimates fared."""
    covered = Estimate.waited_seconds.between(Estimate.low_seconds, Estimate.high_seconds)
    latest = (
        select(Estimate.settings_changed, covered.label("covered"))
        .where(Estimate.scored_at.is_not(None))
        .order_by(Estimate.scored_at.desc(), Estimate.id.desc())
        .limit(SCORED)
        .subquery()
    )
    counts = {
        (bool(changed), bool(was_covered)): people
        for changed, was_covered, people in db.session.execute(
            select(latest.c.settings_changed, latest.c.covered, func.count()).group_by(
                latest.c.settings_changed, latest.c.covered
            )
        )
    }
    same, other = counts.get((False, True), 0), counts.get((True, True), 0)
    return Coverage(
        scored=same + counts.get((False, False), 0),
        covered=same,
        changed_scored=other + counts.get((True, False), 0),
        changed_covered=other,
    )


def settings_mark() -> str:
    """A digest of every setting that a wait depends on."""
    gate = db.session.execute(
        select(Gate.capacity, Gate.rate, Gate.paused, Gate.health_ignored_until)
    ).one()
    cohorts = db.session.execute(
        select(
            *(Cohort.id, Cohort.opens_at, Cohort.quota, Cohort.weight),
            *(Cohort.hours, Cohort.timezone),
        ).order_by(Cohort.id)
    )
    mail = settings()
    words = [
        *gate,
        *(value for row in cohorts for value in row),
        *(mail.mail_per_minute, mail.mail_per_day, mail.mail_warm_up, mail.invite_within),
    ]
    return blake2b(json.dumps(words, default=str).encode(), digest_size=16).hexdigest()


def _scores() -> list[tuple[int, float]]:
    """Estimates of people who were let in since, and how many seconds they waited."""
    let_in = (
        select(Estimate.id, Estimate.made_at, func.min(Invitation.created_at))
        .join(Invitation, Invitation.entry_id == Estimate.entry_id)
        .where(Estimate.scored_at.is_(None), Invitation.created_at >= Estimate.made_at)
        .group_by(Estimate.id, Estimate.made_at)
    )
    return [
        (id_, (at - made_at).total_seconds()) for id_, made_at, at in db.session.execute(let_in)
    ]


def _take(mark: str, *, now: datetime) -> Iterator[dict[str, Any]]:
    """Estimates of a few people, from the front to the end of each line."""
    outlooks = outlook.of_cohorts(now=now)
    with reading():
        which = select(Cohort.id, Cohort.name, Cohort.line_epoch).order_by(Cohort.id)
        cohorts: Sequence[Row[Any]] = db.session.execute(which).all()  # type: ignore[assignment]
        waiting = _still_waiting()
    for cohort in cohorts:
        if cohort.id not in outlooks:
            continue
        for ahead, entry_id in _some_of(cohort).items():
            told = wait.estimate(ahead, outlooks[cohort.id])
            if told is not None and _wanted(told.foretold, waiting.get(cohort.id, 0)):
                yield {
                    "entry_id": entry_id,
                    "cohort_id": cohort.id,
                    "made_at": now,
                    "ahead": ahead,
                    "low_seconds": told.low,
                    "middle_seconds": told.middle,
                    "high_seconds": told.high,
                    "foretold_seconds": told.foretold,
                    "settings_mark": mark,
                }


def _some_of(cohort: Row[Any]) -> dict[int, int]:
    """A few people of a line by how many are ahead: half of them anywhere, half near the front."""
    try:
        line = projection.of(cohort.name, cohort.line_epoch)
        length = line.length()
        if not length:
            return {}
        anywhere = [random.randrange(length) for _ in range(AT_A_TIME // 2)]
        near = [int((length + 1) ** random.random()) - 1 for _ in range(AT_A_TIME // 2)]
        return line.at(sorted({*anywhere, *near}))
    except LineUnavailable:
        return {}


def _wanted(foretold: float, waiting: int) -> bool:
    """Whether to keep an estimate: of longer waits fewer are, as each waits for so long."""
    return waiting < WAITING or random.random() < WAITING * EVERY.total_seconds() / max(
        foretold, 1.0
    )


def _still_waiting() -> dict[int, int]:
    rows = db.session.execute(
        select(Estimate.cohort_id, func.count())
        .where(Estimate.scored_at.is_(None), Estimate.settings_changed.is_(False))
        .group_by(Estimate.cohort_id)
    )
    return dict(rows.all())


def _forget(*, now: datetime) -> None:
    """Delete what is too much, who moved to another line, and who left long ago."""
    scored, waits = Estimate.scored_at.is_not(None), Estimate.scored_at.is_(None)
    old = select(Estimate.id).order_by(Estimate.scored_at.desc()).where(scored).offset(KEPT)
    many = select(Estimate.id).order_by(Estimate.id.desc()).where(waits).offset(KEPT)
    elsewhere = (
        select(Estimate.id)
        .join(Entry, Entry.id == Estimate.entry_id)
        .where(waits, Entry.cohort_id != Estimate.cohort_id)
    )
    left = (
        select(Estimate.id)
        .join(Entry, Entry.id == Estimate.entry_id)
        .where(waits, Entry.state != "waiting", Estimate.made_at < now - LEFT_KEPT)
    )
    for which in (old.limit(KEPT), many.limit(KEPT), elsewhere, left):
        ids: Sequence[int] = db.session.scalars(which).all()
        if ids:
            db.session.execute(delete(Estimate).where(Estimate.id.in_(ids)))
