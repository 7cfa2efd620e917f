"""Leaving the line, and coming back: only by a link mailed to the stored address."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import literal, select, update

from waitlist import arrivals, links, outbox, projection, seats
from waitlist.extensions import db, rows_changed
from waitlist.models import Entry, Invitation, Message, PlaceChange
from waitlist.policy import deadlines
from waitlist.signup import strangers
from waitlist.tokens import Purpose
from waitlist.wake import wake

MAY_LEAVE = ("pending", "unconfirmed", "waiting", "invited", "lapsed")


def ask_to_act(token: str, *, now: datetime) -> Entry:
    """Mail the owner of this place a link by which to act, within limits; the entry."""
    entry = links.entry_of(Purpose.PLACE, token)
    owing = strangers.owing(literal("act"), Entry.id == entry.id, like=("act",))
    db.session.execute(owing, strangers.moments(now))
    db.session.commit()
    wake("mail")
    return entry


def leave(token: str, *, now: datetime) -> Entry:
    """Take this person out, and their seat back; the entry. Twice is the same as once.

    `LinkInvalid` or `LinkOver` for a link that doesn't let anybody act.
    """
    entry = links.acting_entry(token, now=now)
    if entry.state in MAY_LEAVE:
        _leave(entry.id, entry.cohort_id, now=now)
        projection.settle(entry.cohort_id)
        wake("mail")
    return entry


def _leave(entry_id: int, cohort_id: int, *, now: datetime) -> None:
    seats.lock()
    state = db.session.scalar(select(Entry.state).where(Entry.id == entry_id))
    left_invitation = int(state in ("invited", "lapsed"))  # counts as one renewal
    open_ones = db.session.scalars(
        select(Invitation.id).where(Invitation.entry_id == entry_id, Invitation.state == "open")
    ).all()
    seats.give_back(open_ones, as_="revoked", entries_as="waiting", now=now)
    left = rows_changed(
        update(Entry)
        .where(Entry.id == entry_id, Entry.state.in_(MAY_LEAVE))
        .values(state="withdrawn", left_at=now, renewals=Entry.renewals + left_invitation)
    )
    if left:
        outbox.cancel(Message.entry_id == entry_id, reason="withdrawn")
        projection.note_people([entry_id])
        db.session.add(PlaceChange(entry_id=entry_id, at=now, reason="left the line"))
        outbox.stage("left", [entry_id], now=now)
    db.session.commit()


def come_back(token: str, *, now: datetime) -> Entry:
    """Undo a leaving: the old place within seven days, later a new one at the end; the entry."""
    entry = links.entry_of(Purpose.UNDO, token)
    if entry.state == "withdrawn":
        _come_back(entry, now=now)
        projection.settle(entry.cohort_id)
        wake("mail")
    return entry


def _come_back(entry: Entry, *, now: datetime) -> None:
    old_place = deadlines.keeps_place(entry.left_at, entry.confirmed_at, entry.renewals, now)
    rank = entry.rank if old_place else arrivals.next_arrival()
    back = rows_changed(
        update(Entry)
        .where(Entry.id == entry.id, Entry.state == "withdrawn")
        .values(state="waiting", rank=rank, left_at=None, confirmed_at=entry.confirmed_at or now)
    )
    if back:
        db.session.add(
            PlaceChange(
                entry_id=entry.id,
                at=now,
                reason="came back" if old_place else "came back too late for the old place",
                arrival=None if old_place else rank,
            )
        )
        projection.note_people([entry.id])
        outbox.stage("standing", [entry.id], now=now)
    db.session.commit()
