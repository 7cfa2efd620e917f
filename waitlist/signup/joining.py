"""Joining and confirming."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, case, func, insert, literal, select, update

from waitlist import arrivals, links, outbox, policy, projection
from waitlist.extensions import db, insert_unless_known, rows_changed
from waitlist.failpoints import failpoint
from waitlist.models import Cohort, Entry, Message, PlaceChange
from waitlist.tokens import Purpose
from waitlist.wake import wake

DEFAULT_COHORT = "general"
MAILS_A_DAY = 3
BETWEEN_MAILS = timedelta(minutes=10)
ASKED_BY_STRANGERS = ("confirm", "standing", "renewal", "come_back")


def join(raw_address: str, *, locale: str, now: datetime) -> None:
    """Take an address in, pending until it is confirmed; `AddressInvalid` if it can't be mailed.

    Nothing that the caller could notice depends on whether the address is known: the same
    statements, one commit and one wake-up in either case. What differs goes by mail.
    """
    address = policy.canonical_address(raw_address)
    arrival = arrivals.next_arrivals()
    cohort_id = select(Cohort.id).where(Cohort.name == DEFAULT_COHORT).scalar_subquery()
    db.session.execute(
        insert_unless_known(Entry, Entry.address_key).values(
            state="pending",
            cohort_id=cohort_id,
            address=address.typed,
            address_key=address.key,
            mail_to=address.mail_to,
            locale=locale,
            arrival=arrival,
            rank=arrival,
            joined_at=now,
        )
    )
    by_state = case(
        (Entry.state.in_(("pending", "unconfirmed")), "confirm"),
        (Entry.state == "lapsed", "renewal"),
        (Entry.state == "withdrawn", "come_back"),
        else_="standing",
    )
    owe_within_limits(by_state, Entry.address_key == address.key, like=ASKED_BY_STRANGERS, now=now)
    failpoint("join.before-commit")
    db.session.commit()
    failpoint("join.committed")
    wake("mail")


def owe_within_limits(
    kind: ColumnElement[str], whom: ColumnElement[bool], *, like: tuple[str, ...], now: datetime
) -> None:
    """Owe a mail, in the caller's transaction, unless they had three today or one just now.

    One statement whatever it finds. Removed and suppressed people get none.
    """
    recent = (
        select(func.count())
        .where(
            Message.entry_id == Entry.id,
            Message.kind.in_(like),
            Message.state != "cancelled",
        )
        .correlate(Entry)
    )
    today = recent.where(Message.created_at > now - timedelta(days=1)).scalar_subquery()
    just_now = recent.where(Message.created_at > now - BETWEEN_MAILS).scalar_subquery()
    priority = case(
        *[(kind == name, place) for name, place in outbox.PRIORITIES.items()],
        else_=outbox.LAST_PRIORITY,
    )
    chosen = select(
        kind,
        priority,
        Entry.id,
        literal(now, Message.created_at.type),
        literal(now, Message.due_at.type),
    ).where(
        whom,
        Entry.state != "removed",
        Entry.suppressed_at.is_(None),
        today < MAILS_A_DAY,
        just_now == 0,
    )
    columns: list[Any] = ["kind", "priority", "entry_id", "created_at", "due_at"]
    db.session.execute(insert(Message).from_select(columns, chosen))


def confirm(token: str, *, now: datetime) -> Entry:
    """Confirm a joining; the entry, in whatever state it is now. Twice is the same as once.

    Within the time that ran from the mail's sending, the place counts from the joining;
    later, it is at the end. `LinkInvalid` for a link that isn't ours.
    """
    entry = links.entry_of(Purpose.CONFIRM, token)
    if entry.state in ("pending", "unconfirmed"):
        _confirm(entry, now=now)
        projection.settle(entry.cohort_id)
        wake("mail")
    return entry


def _confirm(entry: Entry, *, now: datetime) -> None:
    in_time = entry.state == "pending" and policy.confirmed_in_time(entry.confirm_by, now)
    rank = entry.rank if in_time else arrivals.next_arrivals()
    confirmed = rows_changed(
        update(Entry)
        .where(Entry.id == entry.id, Entry.state == entry.state)
        .values(state="waiting", confirmed_at=now, rank=rank)
    )
    if confirmed:
        if not in_time:
            db.session.add(
                PlaceChange(entry_id=entry.id, at=now, reason="confirmed late", arrival=rank)
            )
        projection.note_people([entry.id])
        outbox.cancel(
            (Message.entry_id == entry.id) & (Message.kind == "confirm"), reason="confirmed"
        )
        outbox.stage("standing", [entry.id], now=now)
    failpoint("confirm.before-commit")
    db.session.commit()


def expire_unconfirmed(*, now: datetime) -> int:
    """Mark those who didn't confirm in time; commits; how many. Their link goes on working."""
    found = rows_changed(
        update(Entry)
        .where(Entry.state == "pending", Entry.confirm_by < now)
        .values(state="unconfirmed")
        .execution_options(synchronize_session=False)
    )
    db.session.commit()
    return found
