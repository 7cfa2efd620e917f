"""Taking a report to account: the mail's state, and what follows from it, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import structlog
from sqlalchemy import ColumnElement, select, update

from waitlist import audit, bouncing, lifetimes, mailer, postage, projection, returnpath, seats
from waitlist.errors import AddressInvalid
from waitlist.extensions import db, insert_unless_known, rows_changed, settings
from waitlist.models import DeliveryReport, Entry, Message
from waitlist.policy import identity
from waitlist.policy.reports import SENT, UNTOLD, Kind, moved_by
from waitlist.postage import Told
from waitlist.reports.report import Report

log = structlog.get_logger()
OF_ADDRESS = (Kind.BOUNCED, Kind.COMPLAINED)  # what counts of an address, without a mail
MOST_ID = 2**63 - 1


class Outcome(StrEnum):
    """What was made of a report."""

    TAKEN = "taken"
    KNOWN = "known already"
    NOT_OURS = "not about a mail of ours"


class Mail(NamedTuple):
    """What must be known of a mail of which something is reported."""

    id: int
    kind: str
    nonce: str
    entry_id: int
    invitation_id: int | None
    address_key: str
    cohort_id: int


def take(report: Report, *, now: datetime) -> Outcome:
    """Take one report to account; the same one again changes nothing."""
    message = _mail_of(report)
    if message is not None:
        outcome = _of_mail(report, message, now=now)
    elif report.kind in OF_ADDRESS and not report.names and not _names_return(report):
        outcome = _of_address(report, now=now)
    else:
        db.session.rollback()
        outcome = Outcome.NOT_OURS
    if report.kind is not Kind.DELIVERED:
        told = {"message": message.id} if message is not None else {}
        log.info("delivery report", by=report.provider, kind=report.kind, outcome=outcome, **told)
    return outcome


def take_all(reports: Iterable[Report], *, now: datetime) -> list[Outcome]:
    """The same for each of these, one transaction each."""
    return [take(report, now=now) for report in reports]


def _of_mail(report: Report, message: Mail, *, now: datetime) -> Outcome:
    if report.kind is Kind.BOUNCED and message.invitation_id is not None:
        seats.lock()
    if not _note(report, message.id, now=now):
        db.session.rollback()
        return Outcome.KNOWN
    _learn_that_it_was_taken(message, now=now)
    if _move(message.id, moved_by(report.kind), report.kind, report.words, now=now):
        _follow(report.kind, message, now=now)
    db.session.commit()
    projection.settle(message.cohort_id)
    return Outcome.TAKEN


def _of_address(report: Report, *, now: datetime) -> Outcome:
    """A provider that names no mail at all, but whom it won't mail any more.

    It is signed, and whatever we sent there would be dropped; so the address is suppressed. Which
    mail came back isn't known, so an open invitation stays open.
    """
    of = Entry.address_key == _key(report.address)
    entry = db.session.execute(select(Entry.id, Entry.cohort_id).where(of)).first()
    if entry is None or not _note(report, None, now=now):
        db.session.rollback()
        return Outcome.NOT_OURS if entry is None else Outcome.KNOWN
    if bouncing.suppress(entry.id, now=now):
        why = f"{report.kind} {report.words}".strip()
        subject, actor = f"entry:{entry.id}", f"mail:{report.provider}"
        audit.record("person.suppress", subject, actor=actor, now=now, reason=why)
    db.session.commit()
    projection.settle(entry.cohort_id)
    return Outcome.TAKEN


def _mail_of(report: Report) -> Mail | None:
    """The mail that a report names, if it is to the person of whom it speaks.

    After a restore another mail may have the id of one that is reported; and an address that
    was changed since isn't the one that was mailed.
    """
    if (returned := returnpath.found(report.return_path)) is not None:
        message = _mail(Message.id == returned.id) if returned.id <= MOST_ID else None
        if message is not None and returned.opens(settings().secret_keys, message.nonce):
            return message
    named = mailer.named_in(report.names)
    message = _mail(Message.id == named) if named is not None else None
    if message is None or (report.address and _key(report.address) != message.address_key):
        return None
    return message


def _mail(which: ColumnElement[bool]) -> Mail | None:
    columns = (Message.id, Message.kind, Message.nonce, Message.entry_id, Message.invitation_id)
    theirs = (Entry.address_key, Entry.cohort_id)
    found = select(*columns, *theirs).join(Entry, Entry.id == Message.entry_id)
    row = db.session.execute(found.where(which, Message.lease > 0)).first()
    return Mail(*row) if row else None


def _names_return(report: Report) -> bool:
    return returnpath.found(report.return_path) is not None


def _key(address: str) -> str | None:
    try:
        return identity.canonical_address(address).key
    except AddressInvalid:
        return None


def _note(report: Report, message_id: int | None, *, now: datetime) -> bool:
    """Keep the report; False if it was there."""
    values = {"provider": report.provider, "report_id": report.id, "kind": report.kind}
    values |= {"words": report.words[:200]}
    insert = insert_unless_known(DeliveryReport, "provider", "report_id")
    kept = insert.values(message_id=message_id, at=now, **values).returning(DeliveryReport.id)
    return db.session.scalar(kept) is not None


def _learn_that_it_was_taken(message: Mail, *, now: datetime) -> None:
    """Whatever is said of a mail proves that it was taken, though our own mark is yet to come."""
    if _move(message.id, UNTOLD, SENT, "", now=now):
        lifetimes.begin({message.id: message}, now=now)


def _move(
    message_id: int, states: tuple[str, ...], state: str, words: str, *, now: datetime
) -> bool:
    """Change the state of a mail from one of these; False if it was in none of them."""
    moments = {SENT: {"sent_at": now}, Kind.BOUNCED: {"due_at": now}}
    moved = update(Message).where(Message.id == message_id, Message.state.in_(states))
    values = {"state": str(state), "reason": words[:200], **moments.get(state, {})}
    return bool(rows_changed(moved.values(values)))


def _follow(kind: Kind, message: Mail, *, now: datetime) -> None:
    """What follows when a mail is known to have become this."""
    if kind is Kind.BOUNCED:
        bouncing.came_back(message.entry_id, message.invitation_id, now=now)
    elif kind is Kind.COMPLAINED:
        bouncing.suppress(message.entry_id, now=now)
    if kind is Kind.BOUNCED and message.kind == "invitation":
        mail = postage.lock(now=now)  # the last lock of all
        postage.store(mail.after(Told(came_back=1), now=now))
