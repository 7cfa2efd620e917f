"""What becomes of invitations that aren't completed: lapsing, renewing, and outages."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select, update

from waitlist import links, outbox, projection, seats
from waitlist.extensions import db, insert_unless_known, reading, rows_changed
from waitlist.failpoints import failpoint
from waitlist.models import Entry, Heartbeat, Invitation, PlaceChange
from waitlist.onboarding.registering import Invited
from waitlist.policy import deadlines
from waitlist.wake import wake

BATCH = 1_000  # whose seats go back in one transaction
MOST = 50_000  # in one tick, so that it ends
PULSE = timedelta(seconds=5)


def lapse(*, now: datetime) -> int:
    """End invitations half an hour after their deadline, and free their seats; how many.

    All that are over, a thousand at a time: this very tick is to offer their seats again.
    """
    lapsed = 0
    while lapsed < MOST and (some := _lapse_some(now=now)):
        lapsed += some
    return lapsed


def _lapse_some(*, now: datetime) -> int:
    over = (
        select(Invitation.id)
        .where(Invitation.state == "open", Invitation.expires_at <= now - deadlines.GRACE)
        .order_by(Invitation.id)
        .limit(BATCH)
    )
    with reading():
        any_over = db.session.scalar(over.limit(1)) is not None
    if not any_over:
        return 0
    seats.lock()
    found = db.session.scalars(over).all()  # again: a deadline may have been shifted meanwhile
    lapsed = seats.give_back(found, as_="expired", entries_as="lapsed", now=now)
    failpoint("lapse.before-commit")
    db.session.commit()
    failpoint("lapse.committed")
    return len(lapsed)


def state_of(invitation: Invitation | Invited, *, opened_at: datetime | None, now: datetime) -> str:
    """What an invitation is to who opens it now: expired by time, or superseded by a newer one."""
    late = deadlines.deadline_passed(invitation.expires_at, opened_at, now)
    if invitation.state == "open":
        return "expired" if late else "open"
    newer = select(Invitation.id).where(
        Invitation.entry_id == invitation.entry_id, Invitation.id > invitation.id
    )
    over = invitation.state in ("expired", "revoked")
    return "superseded" if over and db.session.scalar(newer.limit(1)) else invitation.state


def may_renew(invitation: Invitation, *, now: datetime) -> bool:
    """Whether this invitation's page offers a way back to the line."""
    over = invitation.entry.state == "lapsed" or _is_late(invitation, now=now)
    return over and invitation.entry.renewals < deadlines.RENEWALS


def renew(token: str, *, now: datetime) -> bool:
    """Put somebody whose time ran out back in the line at the old rank; False if they can't.

    At most three times; who stands at the front is admitted by the next tick with a free
    seat. `LinkInvalid` for a link that isn't ours.
    """
    seats.lock()
    invitation = links.invitation_of(token)
    if _is_late(invitation, now=now):
        seats.give_back([invitation.id], as_="expired", entries_as="lapsed", now=now)
    back = rows_changed(
        update(Entry)
        .where(
            Entry.id == invitation.entry_id,
            Entry.state == "lapsed",
            Entry.renewals < deadlines.RENEWALS,
        )
        .values(state="waiting", renewals=Entry.renewals + 1)
    )
    cohort_id = invitation.entry.cohort_id
    if back:
        projection.note_people([invitation.entry_id])
        why = PlaceChange(entry_id=invitation.entry_id, at=now, reason="renewed an invitation")
        db.session.add(why)
    db.session.commit()
    projection.settle(cohort_id)
    wake("admission")
    return bool(back)


def beat(*, now: datetime) -> timedelta:
    """Note that the clock is alive; after an outage, or a step of it, shift what fell due in it.

    Gives the gap that was made up for (zero: none), so that downtime never expires anybody. What
    a clock that was ahead put off is owed now that it went back.
    """
    first = insert_unless_known(Heartbeat, Heartbeat.name).values(name="clock", at=now)
    db.session.execute(first)
    pulse = db.session.get_one(Heartbeat, "clock", with_for_update=True)
    gap = now - pulse.at
    if timedelta() <= gap < PULSE:
        db.session.commit()
        return timedelta()
    if gap > deadlines.OUTAGE:
        _shift_deadlines(pulse.at, now)
    if gap < -deadlines.OUTAGE:
        outbox.set_back(gap, now=now)
    pulse.at = now
    db.session.commit()
    return gap if gap > deadlines.OUTAGE else timedelta()


def _is_late(invitation: Invitation, *, now: datetime) -> bool:
    late = deadlines.deadline_passed(invitation.expires_at, None, now)
    return invitation.state == "open" and late


def _shift_deadlines(since: datetime, until: datetime) -> None:
    gap = until - since
    due = select(Invitation).where(
        Invitation.state == "open", Invitation.expires_at.between(since - deadlines.GRACE, until)
    )
    for invitation in db.session.scalars(due.order_by(Invitation.id).with_for_update()):
        assert invitation.expires_at is not None
        invitation.expires_at += gap
    unconfirmed = select(Entry).where(
        Entry.state == "pending", Entry.confirm_by.between(since, until)
    )
    for entry in db.session.scalars(unconfirmed.order_by(Entry.id).with_for_update()):
        assert entry.confirm_by is not None
        entry.confirm_by += gap
