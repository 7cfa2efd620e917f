"""What becomes of invitations that aren't completed: lapsing, renewing, and outages."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select, update

from waitlist import links, outbox, postage, projection, seats
from waitlist.errors import NotReissued
from waitlist.extensions import db, insert_unless_known, reading, rows_changed
from waitlist.failpoints import failpoint
from waitlist.handover import leasing as webhooks
from waitlist.models import Entry, Heartbeat, Invitation, PlaceChange
from waitlist.onboarding import reissue
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


def renew(token: str, *, is_held: bool = False, now: datetime) -> str | None:
    """What the button on the page of an invitation that is over did; None if nothing.

    "reissued": a fresh link goes to the stored address at once. "in-line": no seat is free, or
    nobody may be let in now (`is_held`: by the product's health), so they are back at their old
    rank, and invited when admitted. Three times; pressed twice, it says the same again. An
    invitation that is open in time stays as it is. `LinkInvalid` for a link that isn't ours.
    """
    seats.lock()
    pressed = links.invitation_of(token)
    entry_id, cohort_id = pressed.entry_id, pressed.entry.cohort_id
    reissue.end_if_late(entry_id, now=now)
    did: str | None
    if _back_in_line(entry_id, now=now):
        at_once = not is_held and _mail_goes(now=now) and _reissued(entry_id, now=now)
        did = "reissued" if at_once else "in-line"
    else:
        did = _did_before(entry_id, pressed.id)
    failpoint("renewal.before-commit")
    db.session.commit()
    failpoint("renewal.committed")
    projection.settle(cohort_id)
    wake("mail" if did == "reissued" else "admission")
    return did


def _back_in_line(entry_id: int, *, now: datetime) -> bool:
    """Put a lapsed person back at their old rank, if that may be once more."""
    back = rows_changed(
        update(Entry.__table__)
        .where(
            Entry.id == entry_id,
            Entry.state == "lapsed",
            Entry.renewals < deadlines.RENEWALS,
            Entry.suppressed_at.is_(None),
        )
        .values(state="waiting", renewals=Entry.renewals + 1)
    )
    if back:
        projection.note_people([entry_id])
        why = PlaceChange(entry_id=entry_id, at=now, reason="renewed an invitation")
        db.session.add(why)
    return bool(back)


def _mail_goes(*, now: datetime) -> bool:
    """Whether a fresh link would be mailed now: nobody is to hold a seat for a mail that waits."""
    mail = postage.read(now=now)
    return not mail.holds_invitations and "renewal" not in mail.held


def _reissued(entry_id: int, *, now: datetime) -> bool:
    try:
        reissue.reissue(entry_id, now=now)
    except NotReissued:
        return False
    return True


def _did_before(entry_id: int, pressed_id: int) -> str | None:
    """What an earlier press did, as far as it still stands."""
    newest = reissue.last(entry_id)
    state, renewals = db.session.execute(
        select(Entry.state, Entry.renewals).where(Entry.id == entry_id)
    ).one()
    if newest and newest.state == "open" and newest.id != pressed_id:
        return "reissued"
    return "in-line" if state == "waiting" and renewals else None


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
        webhooks.set_back(gap, now=now)
    pulse.at = now
    db.session.commit()
    return gap if gap > deadlines.OUTAGE else timedelta()


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
