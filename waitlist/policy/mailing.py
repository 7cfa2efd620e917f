"""The pace of mail: how much may go now, and when the nth invitation will be out.

The minute's budget is a token bucket (Turner, "New directions in communications", 1986) that
holds one mail and those of two seconds, and fills so much slower that no minute, wherever it
begins, sees more than the setting says. A day is one of UTC. Of its budget the last tenth isn't
for invitations, so that a wave can't leave those without mail who confirm or ask for a link.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from waitlist.policy.deadlines import OUTAGE

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
HORIZON = timedelta(minutes=15)  # ticks admit no more than can be mailed within it
AT_ONCE = timedelta(seconds=2)  # of pace, so that nothing is lost between two looks
KEPT = 10  # one in so many of a day's mails isn't for invitations
TURN = 20  # mails; in every tenth turn what people ask for goes before invitations
NO_LIMIT = sys.maxsize
LEAST = 1e-9  # of a mail, as fractions are summed up
DAYS = 60  # of which the budgets are foreseen one by one


class Pace(NamedTuple):
    """The most mail of any minute, of a day, and of the first days on which any went.

    An invitation takes the place of `cost` mails of its minute.
    """

    per_minute: int
    per_day: int | None = None
    warm_up: tuple[int, ...] = ()
    cost: int = 1

    @property
    def at_once(self) -> float:
        """How many mails may go together after a pause, with what is there of the next."""
        return 1 + self.per_minute * (AT_ONCE / MINUTE)

    @property
    def per_second(self) -> float:
        """How many mails a second may go on after them."""
        return self.per_minute * (1 - AT_ONCE / MINUTE) / MINUTE.total_seconds()


class Spent(NamedTuple):
    """What went so far: the mails that may go now, as of `counted_at`, and those of the day."""

    allowance: float = 0.0
    counted_at: datetime | None = None
    day: date | None = None
    sent_today: int = 0
    first_day: date | None = None


class Grant(NamedTuple):
    """How many mails may go now, how many of these may be invitations, and whether last."""

    mails: int
    invitations: int
    asked_first: bool = False


def refilled(pace: Pace, spent: Spent, now: datetime) -> Spent:
    """The same at `now`: what may go grows with the time, and a new day begins at nought.

    A clock a little behind another's changes nothing; one that was set back is believed.
    """
    if spent.counted_at is not None and now < spent.counted_at <= now + OUTAGE:
        now = spent.counted_at
    elapsed = max(timedelta(), now - (spent.counted_at or now))
    grown = spent.allowance + pace.per_second * elapsed.total_seconds()
    full = spent.counted_at is None
    today = now.astimezone(UTC).date()
    return spent._replace(
        allowance=pace.at_once if full else min(grown, pace.at_once),
        counted_at=now,
        day=today,
        sent_today=spent.sent_today if spent.day == today else 0,
    )


def grant(pace: Pace, spent: Spent) -> Grant:
    """What may go now, of what was refilled for now. To grant spends nothing: see `spend`."""
    mails = max(0, min(math.floor(spent.allowance + LEAST), _left(pace, spent)))
    at_their_cost = max(1, math.floor((spent.allowance + LEAST) / pace.cost))
    invitations = max(0, min(mails, at_their_cost, _left(pace, spent, for_invitations=True)))
    return Grant(mails, invitations, spent.sent_today // TURN % KEPT == KEPT - 1)


def spend(pace: Pace, spent: Spent, *, invitations: int, others: int) -> Spent:
    """The same after these went; or, of negative numbers, after these didn't go after all.

    What costs more than there is makes the next wait.
    """
    sent_today = max(0, spent.sent_today + invitations + others)
    today_is_first = spent.first_day in (None, spent.day)
    return spent._replace(
        allowance=spent.allowance - invitations * pace.cost - others,
        sent_today=sent_today,
        first_day=(spent.day if sent_today else None) if today_is_first else spent.first_day,
    )


def most_on(pace: Pace, day: date, first_day: date | None) -> int | None:
    """The most mails of a day; None if it has no limit but the minutes'."""
    nth = max(0, (day - (first_day or day)).days)
    return pace.warm_up[nth] if nth < len(pace.warm_up) else pace.per_day


def left_today(pace: Pace, spent: Spent) -> int | None:
    """How many more mails may go today; None if the day has no limit."""
    left = _left(pace, spent)
    return None if left == NO_LIMIT else max(0, left)


def waits_until(pace: Pace, spent: Spent, *, for_invitations: bool = False) -> datetime | None:
    """When the next mail may go, or the next invitation; None if one may now."""
    now = _counted(spent)
    if _left(pace, spent, for_invitations=for_invitations) <= 0:
        return _day_after(now)
    missing = 1 - spent.allowance - LEAST
    return now + timedelta(seconds=missing / pace.per_second) if missing > 0 else None


def within(pace: Pace, spent: Spent, horizon: timedelta = HORIZON) -> int:
    """How many invitations can be out by then, if no other mail goes."""
    until, fit = _counted(spent) + horizon, 0
    for span in _spans(pace, spent):
        fit += span.fit(pace, min(span.end, until))
        if span.end >= until:
            break
    return fit


def out_at(pace: Pace, spent: Spent, nth: int, *, queued_before: int = 0) -> datetime:
    """When the nth invitation of a batch can be out, if no other mail goes."""
    ahead = queued_before + nth
    for span in _spans(pace, spent):
        fit = span.fit(pace, span.end)
        if ahead <= fit:
            missing = max(0.0, ahead * pace.cost - span.allowance)
            return span.start + timedelta(seconds=missing / pace.per_second)
        ahead -= fit
    raise AssertionError("there is always another day")


class Foreseen(NamedTuple):
    """What mail leaves of a rate: people an hour, and how many invitations a day lets out.

    `by_day` begins with what is left of today, which ends in `day_ends` seconds, and is empty
    where days have no budget; later days are as the last one.
    """

    rate: float
    by_day: tuple[float, ...]
    day_ends: float


def foreseen(pace: Pace, spent: Spent, rate: float, *, is_stopped: bool) -> Foreseen:
    """What the budgets will leave of a rate, of what was refilled for now.

    Nothing while too many invitations bounce (`is_stopped`).
    """
    now = _counted(spent)
    an_hour = pace.per_second * 3600 / pace.cost
    return Foreseen(
        rate=0.0 if is_stopped else min(rate, an_hour),
        by_day=_by_day(pace, spent),
        day_ends=(_day_after(now) - now).total_seconds(),
    )


def _by_day(pace: Pace, spent: Spent) -> tuple[float, ...]:
    if pace.per_day is None and not pace.warm_up:
        return ()
    today = _counted(spent).date()
    spent = spent._replace(day=today, first_day=spent.first_day or today)
    days = [spent, *(spent._replace(day=today + n * DAY, sent_today=0) for n in range(1, DAYS))]
    most = (_left(pace, day, for_invitations=True) for day in days)
    return tuple(math.inf if left == NO_LIMIT else max(0.0, left) for left in most)


class _Span(NamedTuple):
    """A day, or what is left of today: what may go at its start, and the most invitations."""

    start: datetime
    end: datetime
    allowance: float
    most: int

    def fit(self, pace: Pace, end: datetime) -> int:
        """How many invitations can go in it until `end`."""
        grown = self.allowance + pace.per_second * (end - self.start).total_seconds()
        return max(0, min(self.most, math.floor((grown + LEAST) / pace.cost)))


def _spans(pace: Pace, spent: Spent) -> Iterator[_Span]:
    start, allowance = _counted(spent), spent.allowance
    first_day = spent.first_day or spent.day
    spent = spent._replace(first_day=first_day)
    while True:
        end = _day_after(start)
        most = _left(pace, spent, for_invitations=True)
        span = _Span(start, end, allowance, most)
        yield span
        grown = allowance + pace.per_second * (end - start).total_seconds()
        allowance = min(grown - span.fit(pace, end) * pace.cost, pace.at_once)
        start, spent = end, spent._replace(day=end.date(), sent_today=0)


def _left(pace: Pace, spent: Spent, *, for_invitations: bool = False) -> int:
    most = most_on(pace, spent.day or _counted(spent).date(), spent.first_day)
    if most is None:
        return NO_LIMIT
    return most - (most // KEPT if for_invitations else 0) - spent.sent_today


def _counted(spent: Spent) -> datetime:
    assert spent.counted_at is not None, "to be refilled first"
    return spent.counted_at.astimezone(UTC)


def _day_after(now: datetime) -> datetime:
    return datetime.combine(now.date() + DAY, datetime.min.time(), UTC)
