"""No-shows: how many of those invited finish, how soon, and how many open ones still will."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Integer, cast, func, literal, or_, select, update

from waitlist.extensions import db, reading, rows_changed, settings
from waitlist.models import Invitation, NoShows
from waitlist.models.base import Moment
from waitlist.policy import survival
from waitlist.policy.survival import Share, Span
from waitlist.rows import ids

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
NEARLY_ALL = 0.95  # of those who finish at all
ENOUGH = 30  # who finished, before an expiry is suggested
MOST_READ = 20_000  # invitations that are looked at each minute, evenly among all there are
AHEAD = 24  # hours to come that are told of


@dataclass(frozen=True)
class Showing:
    """What past invitations teach. Times are hours since the mail was accepted."""

    mailed: int
    completed: int
    open: int
    share: Share  # who finish before their invitation expires
    half_within: int | None  # hours in which half of those came who finish
    expected: float  # of the open ones, how many will still finish
    expected_1h: float
    expected_24h: float
    suggested_expiry: int | None  # hours in which nearly all came who finish
    curve: Sequence[Share]  # who have finished by the end of each hour

    def as_json(self) -> dict[str, Any]:
        """The same as JSON."""
        shares = {"share": self.share._asdict(), "curve": [one._asdict() for one in self.curve]}
        return {**asdict(self), **shares}


class Known(NamedTuple):
    """What was learned last: who finish by the end of each hour, and how old open ones are."""

    learned_at: datetime | None
    curve: Sequence[Share]
    open_by_age: Mapping[int, float]  # in hours; those whose mail hasn't gone count as new

    def expected(self, hours: int) -> float:
        """How many of the open ones are expected to finish within so many hours."""
        by_then = [share.of for share in self.curve]
        return sum(hour.did for hour in survival.coming(self.open_by_age, by_then, hours))


class _Seen(NamedTuple):
    spans: Sequence[Span]
    open_by_age: Counter[int]


def learned(*, now: datetime) -> Showing:
    """What all the invitations that were mailed teach by now; little data, wide bounds."""
    seen, last = _look(now=now), _last()
    curve = survival.foreseen(seen.spans, last)
    known = Known(now, curve, seen.open_by_age)
    completed = sum(span.did for span in seen.spans)
    enough = completed >= ENOUGH and survival.followed(seen.spans, last) == last
    return Showing(
        mailed=completed + sum(span.left for span in seen.spans),
        completed=completed,
        open=seen.open_by_age.total(),
        share=curve[-1],
        half_within=_within(0.5, curve) if completed else None,
        expected=known.expected(last),
        expected_1h=known.expected(1),
        expected_24h=known.expected(AHEAD),
        suggested_expiry=_within(NEARLY_ALL, curve) if enough else None,
        curve=curve,
    )


def known() -> Known:
    """What was learned within the last minutes: a row that is read at once."""
    learned_at, rows = db.session.execute(select(NoShows.learned_at, NoShows.curve)).one()
    curve = [Share(*row[:3]) for row in rows] or [survival.NOTHING_KNOWN] * _last()
    return Known(learned_at, curve, {age: row[3] for age, row in enumerate(rows) if row[3]})


def learn(*, now: datetime) -> Known | None:
    """Learn anew, once a minute whoever asks; None if somebody just did.

    The row is locked by the caller's transaction then. What is read of invitations is read
    before, and bounded: a sample of them is enough to know a share.
    """
    with reading():
        before = db.session.scalars(select(NoShows.learned_at)).one()
        if before is not None and abs(now - before) < MINUTE:
            return None
        seen = _look(now=now, most=MOST_READ)
    found = Known(now, survival.foreseen(seen.spans, _last()), seen.open_by_age)
    rows = [
        [*(round(part, 6) for part in share), found.open_by_age.get(age, 0)]
        for age, share in enumerate(found.curve)
    ]
    mine = update(NoShows).where(NoShows.learned_at.is_not_distinct_from(literal(before, Moment())))
    return found if rows_changed(mine.values(learned_at=now, curve=rows)) else None


def _last() -> int:
    """How many hours an invitation is open, and the grace after them."""
    return settings().invite_within // HOUR + 1


def _within(part: float, curve: Sequence[Share]) -> int:
    """The hours by whose end this part came of those who come at all."""
    wanted = part * curve[-1].of
    return next(hour for hour, share in enumerate(curve, start=1) if share.of >= wanted)


def _look(*, now: datetime, most: int | None = None) -> _Seen:
    """How many invitations were used, or weren't, after so many whole hours.

    Of more than `most` only every second, third … is read, and stands for as many open ones.
    """
    first, last = db.session.execute(select(func.min(Invitation.id), func.max(Invitation.id))).one()
    every = 1 if most is None or first is None else 1 + (last - first) // most
    mailed, until = (
        func.coalesce(column, literal(now, Moment()))
        for column in (Invitation.mailed_at, Invitation.ended_at)
    )
    hour = _whole_hours(mailed, until).label("hour")
    went, is_open = Invitation.mailed_at.is_not(None), Invitation.state == "open"
    counts = select(hour, Invitation.state, went, func.count()).where(or_(went, is_open))
    if every > 1:
        counts = counts.where(Invitation.id.in_(ids(range(first, last + 1, every))))
    did, left, still_open = Counter[int](), Counter[int](), Counter[int]()
    rows = db.session.execute(counts.group_by(hour, Invitation.state, went))
    for age, state, was_mailed, people in rows:
        age = max(0, age)
        if was_mailed:
            (did if state == "used" else left)[age] += people
        if state == "open":
            still_open[min(age, _last() - 1)] += people * every
    hours = range(max([_last() - 1, *did, *left]) + 1)
    return _Seen([Span(did[at], left[at]) for at in hours], still_open)


def _whole_hours(begin: Any, end: ColumnElement[Any]) -> ColumnElement[int]:
    if db.engine.dialect.name == "sqlite":
        days = func.julianday(end) - func.julianday(begin)
        return cast(func.round(days * 86_400), Integer) // 3_600
    return cast(func.floor(func.extract("epoch", end - begin) / 3600), Integer)
