"""Cohorts: people who wait in one line, with an opening date, a quota and a weight."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from sqlalchemy import select

from waitlist import audit, projection
from waitlist.errors import CohortExists, CohortUnknown, LineUnavailable, ValueRefused
from waitlist.extensions import db, insert_unless_known
from waitlist.models import Cohort

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
    actor: str,
    now: datetime,
    reason: str = "",
) -> Cohort:
    """A new cohort with an empty line; `CohortExists`, or `ValueRefused` for a bad value."""
    if not NAME.fullmatch(name):
        raise ValueRefused(f"a cohort's name is of a-z, 0-9, - and _, not {name!r}")
    _check(quota=quota, weight=weight)
    added = db.session.scalar(
        insert_unless_known(Cohort, Cohort.name)
        .values(name=name, opens_at=opens_at, quota=quota, weight=weight, created_at=now)
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
    """The cohort with these of `opens_at`, `quota` and `weight` set anew."""
    _check(**{key: value for key, value in values.items() if key != "opens_at"})
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


def opening(words: str, *, now: datetime) -> datetime | None:
    """The time that `now`, `never` or an ISO 8601 date to come names (UTC unless it says else)."""
    if words in ("now", "never"):
        return now if words == "now" else None
    try:
        at = datetime.fromisoformat(words)
    except ValueError as error:
        raise ValueRefused(
            f"opens is now, never or a date such as 2027-02-21T15:00Z, not {words!r}"
        ) from error
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if at <= now:
        raise ValueRefused(f"{words} is past: say when it will open, or --opens now")
    return at


def settings_of(cohort: Cohort) -> dict[str, object]:
    """What an operator can set, as JSON."""
    return {
        "opens_at": cohort.opens_at.isoformat() if cohort.opens_at else None,
        "quota": cohort.quota,
        "weight": cohort.weight,
    }


def _check_quota(cohort: Cohort, quota: object) -> None:
    """`ValueRefused` for a quota that is used up already: nobody's seat is taken back by it."""
    if isinstance(quota, int) and quota < cohort.seats_used:
        raise ValueRefused(
            f"{cohort.seats_used:,} seats of {cohort.name} are used already, so its quota can't be "
            f"{quota:,}. To admit nobody else of it: flask cohort set {cohort.name} --opens never"
        )


def _check(**values: object) -> None:
    for name, value in values.items():
        least = 1 if name == "weight" else 0
        if value is not None and not (isinstance(value, int) and least <= value <= MOST):
            raise ValueRefused(f"{name} is a whole number from {least}, not {value!r}")
