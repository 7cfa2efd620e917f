"""When the mails of a wave would be out, and what that leaves of the mail budget."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from waitlist import leasing, postage
from waitlist.admission import bounds
from waitlist.admission.plans import When
from waitlist.extensions import settings
from waitlist.models import Cohort
from waitlist.policy import hours, mailing
from waitlist.postage import Postage

MOST = 1_000_000  # mails ahead that are counted


class MailTimes(NamedTuple):
    """Invitations that can be out within 15 minutes, before and after; when the wave's would be.

    `first` and `last` are None where there are none, or invitations are held.
    """

    before: int
    after: int
    first: datetime | None
    last: datetime | None


def of(
    people: int, cohorts: Sequence[Cohort], when: When, *, begins_at: datetime, now: datetime
) -> MailTimes:
    """The times of a wave of so many from these cohorts, if no other invitation is added."""
    mail = postage.read(now=now)
    before = max(0, bounds.mailable(mail, now=now))
    if not people or mail.holds_invitations:
        return MailTimes(before, max(0, before - people), None, None)
    due_at = begins_at + settings().wave_undo
    begin = min(_within_hours(cohort, due_at) for cohort in cohorts)
    end = due_at + (when.over or timedelta())
    end = max(_within_hours(cohort, end) for cohort in cohorts)
    ahead = _ahead(mail, begin, now=now)
    spent = mailing.refilled(mail.pace, mail.spent, begin)
    first, last = (
        mailing.out_at(mail.pace, spent, nth, queued_before=ahead) for nth in (1, people)
    )
    return MailTimes(before, max(0, before - people), first, max(last, end))


def _ahead(mail: Postage, at: datetime, *, now: datetime) -> int:
    """How many invitations that are queued go first; of those due now some are gone by then."""
    due_now = leasing.invitations_queued(until=now, most=MOST)
    due_then = leasing.invitations_queued(until=at, most=MOST)
    return due_then - min(due_now, mailing.within(mail.pace, mail.spent, at - now))


def _within_hours(cohort: Cohort, at: datetime) -> datetime:
    return hours.next_moment(cohort.hours, cohort.timezone, at)
