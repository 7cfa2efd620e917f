"""Cohorts: people who wait in one line, with an opening date, hours, a quota and a weight."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from sqlalchemy import select

from waitlist import audit, projection
from waitlist.errors import CohortExists, CohortUnknown, LineUnavailable, ValueRefused
from waitlist.extensions import db, insert_unless_known
from waitlist.models import Cohort
from waitlist.policy import hours as clock

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
MOST = 2**31 - 1


def find(name: str) -> Cohort:
    """The cohort of that name; `CohortUnknown` with the names that there are."""
    cohort = db.session.scalars(select(Cohort).where(Cohort.name == name)).one_or_none()
    if cohort is None:
        known = ", ".join(db.session.scalars(select(Cohort.name).order_by(Cohort.name)))
        nearest = difflib.get_close_matches(name, known.split(", "), n=1)
        meant = f"Did you mean {nearest[0]}? " if nearest else ""
        raise CohortUnknown(
            f"there is no cohort {name!r}; there are: {known}. {meant}"
            f"Or add it: flask cohort add {name}"
        )
    return cohort


def every() -> Sequence[Cohort]:
    """All cohorts, in the order they were added."""
    return db.session.scalars(select(Cohort).order_by(Cohort.id)).all()


def add(
    name: str,
    *,
    opens_at: datetime | None,
    quota: int | None,
    weight: int,
    timezone: str = "UTC",
    hours: str | None = None,
    actor: str,
    now: datetime,
    reason: str = "",
) -> Cohort:
    """A new cohort with an empty line; `CohortExists`, or `ValueRefused` for a bad value."""
    if not NAME.fullmatch(name):
        raise ValueRefused(f"a cohort's name is of a-z, 0-9, - and _, not {name!r}")
    values = {"quota": quota, "weight": weight, "timezone": timezone, "hours": hours}
    _check(**values)
    added = db.session.scalar(
        insert_unless_known(Cohort, Cohort.name)
        .values(name=name, opens_at=opens_at, created_at=now, **values)
        .returning(Cohort.id)
    )
    if added is None:
        db.session.rollback()
        raise CohortExists(f"cohort {name!r} is there already; change it: flask cohort set {name}")
    cohort = find(name)
    audit.record(
        "cohort.add",
        f"cohort:{cohort.id}",
        actor=actor,
        now=now,
        after=settings_of(cohort),
        reason=reason,
    )
    db.session.commit()
    with suppress(LineUnavailable):  # then the clock builds it, when Redis is back
        projection.rebuild(cohort.id)
    return cohort


def change(name: str, *, actor: str, now: datetime, reason: str = "", **values: object) -> Cohort:
    """The cohort with these of what `settings_of` tells set anew, `opens_at` as a time."""
    _check(**values)
    cohort = find(name)
    _check_quota(cohort, values.get("quota"))
    before = settings_of(cohort)
    for key, value in values.items():
        setattr(cohort, key, value)
    audit.record(
        "cohort.set",
        f"cohort:{cohort.id}",
        actor=actor,
        now=now,
        before=before,
        after=settings_of(cohort),
        reason=reason,
    )
    db.session.commit()
    return cohort


def settings_of(cohort: Cohort) -> dict[str, object]:
    """What an operator can set, as JSON."""
    return {
        "opens_at": cohort.opens_at.isoformat() if cohort.opens_at else None,
        "quota": cohort.quota,
        "weight": cohort.weight,
        "timezone": cohort.timezone,
        "hours": cohort.hours,
    }


def _check_quota(cohort: Cohort, quota: object) -> None:
    """`ValueRefused` for a quota that is used up already: nobody's seat is taken back by it."""
    if isinstance(quota, int) and quota < cohort.seats_used:
        raise ValueRefused(
            f"{cohort.seats_used:,} seats of {cohort.name} are used already, so its quota can't be "
            f"{quota:,}. To admit nobody else of it: flask cohort set {cohort.name} --opens never"
        )


def _check(**values: Any) -> None:
    """`ValueRefused` for what a cohort can't be set to."""
    for name, value in values.items():
        if value is not None and name in CHECKS:
            CHECKS[name](value)


def _whole(name: str, least: int) -> Callable[[object], None]:
    def check(value: object) -> None:
        if not (isinstance(value, int) and least <= value <= MOST):
            raise ValueRefused(f"{name} is a whole number from {least}, not {value!r}")

    return check


CHECKS: dict[str, Callable[[Any], object]] = {
    "quota": _whole("quota", 0),
    "weight": _whole("weight", 1),
    "timezone": clock.zone,
    "hours": clock.parsed,
}
