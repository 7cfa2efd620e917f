"""When something is over, and what coming back too late costs."""

from __future__ import annotations

from datetime import datetime, timedelta

GRACE = timedelta(minutes=30)
OUTAGE = timedelta(seconds=60)
UNDO_WITHIN = timedelta(days=7)
ACT_WITHIN = timedelta(minutes=30)
RENEWALS = 3
REMIND_BEFORE = timedelta(hours=24)
SHORT = timedelta(hours=36)  # a lifetime of an invitation, in which a day before the end is early
ERASED_AGAIN = timedelta(days=30)  # between two confirmations to who was erased and joins anew


def deadline_passed(expires_at: datetime | None, opened_at: datetime | None, now: datetime) -> bool:
    """Whether an invitation's time is over for this form.

    Not before `expires_at`; and who opened the form before it has 30 minutes more.
    Unmailed, an invitation has no deadline.
    """
    if expires_at is None or now < expires_at:
        return False
    in_grace = opened_at is not None and opened_at < expires_at and now < expires_at + GRACE
    return not in_grace


def extended(
    expires_at: datetime, by: timedelta | None, until: datetime | None, now: datetime
) -> datetime | None:
    """The later end of an invitation; None if it wouldn't be later. One that is over begins now."""
    end = until if until is not None else max(expires_at, now) + (by or timedelta())
    return end if end > expires_at else None


def reminder_lead(lifetime: timedelta) -> timedelta:
    """How long before its end somebody is reminded of an invitation that is open for so long."""
    return REMIND_BEFORE if lifetime > SHORT else lifetime / 3


def confirmed_in_time(confirm_by: datetime | None, now: datetime) -> bool:
    """Whether the place counts from the joining; the time runs from the mail's sending."""
    return confirm_by is None or now <= confirm_by


def keeps_place(
    left_at: datetime | None, confirmed_at: datetime | None, renewals: int, now: datetime
) -> bool:
    """Whether coming back now gives the old place back.

    Who never confirmed had none, and who left an invitation more often than it can be
    renewed doesn't get to the front once more.
    """
    had_one = left_at is not None and confirmed_at is not None and renewals <= RENEWALS
    return had_one and left_at is not None and now <= left_at + UNDO_WITHIN
