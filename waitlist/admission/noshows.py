"""No-shows: how many of those invited finish, how soon, and how many open ones still will."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Integer, cast, func, literal, select

from waitlist.extensions import db, settings
from waitlist.models import Invitation
from waitlist.models.base import Moment
from waitlist.policy import survival
from waitlist.policy.survival import Share, Span

HOUR = timedelta(hours=1)
NEARLY_ALL = 0.95  # of those who finish at all
ENOUGH = 30  # who finished, before an expiry is suggested


@dataclass(frozen=True)
class Showing:
    """What past invitations teach. Times are hours since the mail was accepted."""

    mailed: int
    completed: int
    open: int
    share: Share  # who finish before their invitation expires
    half_within: int | None  # hours in which half of those came who finish
    expected: float  # of the open ones, how many will still finish
    suggested_expiry: int | None  # hours in which nearly all came who finish

    def as_json(self) -> dict[str, Any]:
        """The same as JSON."""
        return {**asdict(self), "share": self.share._asdict()}


def learned(*, now: datetime) -> Showing:
    """What the invitations that were mailed teach by now; little data, wide bounds."""
    completed, others = _by_hour(completed=True, now=now), _by_hour(completed=False, now=now)
    still_open = _by_hour(completed=False, now=now, state="open")
    last = settings().invite_within // HOUR
    spans = [Span(completed[hour], others[hour]) for hour in range(_end(completed, others, last))]
    curve = survival.shares(spans)
    in_the_end = curve[-1] if curve else survival.NOTHING_KNOWN
    enough = completed.total() >= ENOUGH
    return Showing(
        mailed=completed.total() + others.total(),
        completed=completed.total(),
        open=still_open.total(),
        share=in_the_end,
        half_within=_within(0.5, curve) if completed else None,
        expected=_expected(still_open, curve, in_the_end),
        suggested_expiry=_within(NEARLY_ALL, curve) if enough else None,
    )


def _end(completed: Mapping[int, int], others: Mapping[int, int], last: int) -> int:
    return max([last, *completed, *others]) + 1


def _within(part: float, curve: Sequence[Share]) -> int:
    """The hours by whose end this part came of those who come at all."""
    wanted = part * curve[-1].of
    return next(hour for hour, share in enumerate(curve, start=1) if share.of >= wanted)


def _expected(still_open: Mapping[int, int], curve: Sequence[Share], in_the_end: Share) -> float:
    return sum(
        people * survival.still_to_come(curve[hour], in_the_end)
        for hour, people in still_open.items()
    )


def _by_hour(*, completed: bool, now: datetime, state: str | None = None) -> Counter[int]:
    """How many mailed invitations were used (or weren't) after so many whole hours."""
    until = func.coalesce(Invitation.ended_at, literal(now, Moment()))
    hour = _whole_hours(Invitation.mailed_at, until).label("hour")
    was_used = Invitation.state == "used"
    which = [Invitation.mailed_at.is_not(None), was_used if completed else ~was_used]
    if state is not None:
        which.append(Invitation.state == state)
    rows = db.session.execute(select(hour, func.count()).where(*which).group_by("hour"))
    return Counter({max(0, since): people for since, people in rows})


def _whole_hours(begin: Any, end: ColumnElement[Any]) -> ColumnElement[int]:
    if db.engine.dialect.name == "sqlite":
        days = func.julianday(end) - func.julianday(begin)
        return cast(func.round(days * 86_400), Integer) // 3_600
    return cast(func.floor(func.extract("epoch", end - begin) / 3600), Integer)
