"""One person's whole timeline, and moving people between cohorts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from waitlist import audit, cohorts, projection, seats
from waitlist.errors import PersonUnknown, ValueRefused
from waitlist.extensions import db, rows_changed
from waitlist.models import (
    Audit,
    DeliveryReport,
    Entry,
    FinishFailure,
    Invitation,
    Message,
    PlaceChange,
    Registration,
    Webhook,
)
from waitlist.policy import identity
from waitlist.policy.routes import FIRST

BATCH = 1_000


@dataclass(frozen=True)
class Happening:
    """One line of a timeline."""

    at: datetime
    what: str


def find(address: str) -> Entry:
    """The person of that address; `PersonUnknown`, or `AddressInvalid`."""
    key = identity.canonical_address(address).key
    entry = db.session.scalars(select(Entry).where(Entry.address_key == key)).one_or_none()
    if entry is None:
        raise PersonUnknown(f"nobody is known by {address}")
    return entry


def refuse_address(reason: str, address: str) -> None:
    """`ValueRefused` for a reason that names the address: the audit keeps reasons for good."""
    if address.strip().lower() in reason.lower():
        raise ValueRefused("the reason is kept in the audit, so it must not name the address")


def summary(entry: Entry) -> dict[str, Any]:
    """What there is to know of a person now, as JSON."""
    return {
        "id": str(entry.id),
        "address": entry.address,
        "name": entry.name,
        "state": entry.state,
        "cohort": entry.cohort.name,
        "locale": entry.locale,
        "arrival": entry.arrival,
        "rank": entry.rank,
        "position": projection.place_of(entry).position,
        "suppressed": entry.suppressed_at is not None,
        "disputed": _is_disputed(entry),
        "attributes": entry.attributes,
    }


def timeline(entry: Entry) -> list[Happening]:
    """Everything that happened to a person, oldest first."""
    parts = (_signup, _places, _invitations, _mails, _webhooks, _failures, _acts)
    found = (happening for part in parts for happening in part(entry))
    return sorted(found, key=lambda happening: happening.at)


def move(
    addresses: Sequence[str], *, source: str, target: str, actor: str, reason: str, now: datetime
) -> int:
    """Move these people, if they wait in `source`, to `target`; how many. They keep their rank."""
    ids = [find(address).id for address in addresses]
    return _move(ids, source, target, actor=actor, reason=reason, now=now)


def move_first(
    how_many: int, *, source: str, target: str, actor: str, reason: str, now: datetime
) -> int:
    """Move those at the front of `source` to `target`; how many. They keep their rank."""
    if how_many < 1:
        raise ValueRefused(f"--first is a whole number from 1, not {how_many}")
    ids = db.session.scalars(
        select(Entry.id)
        .where(Entry.cohort_id == cohorts.find(source).id, projection.in_line())
        .order_by(Entry.rank, Entry.id)
        .limit(how_many)
    ).all()
    return _move(ids, source, target, actor=actor, reason=reason, now=now)


def unsuppress(address: str, *, actor: str, reason: str, now: datetime) -> bool:
    """Mail this address again, and put its owner back in place; False if it wasn't suppressed."""
    entry = find(address)
    freed = rows_changed(
        update(Entry)
        .where(Entry.id == entry.id, Entry.suppressed_at.is_not(None))
        .values(suppressed_at=None)
    )
    if freed:
        projection.note_people([entry.id])
        audit.record("person.unsuppress", f"entry:{entry.id}", actor=actor, now=now, reason=reason)
    db.session.commit()
    projection.settle(entry.cohort_id)
    return bool(freed)


def _move(
    ids: Sequence[int], source: str, target: str, *, actor: str, reason: str, now: datetime
) -> int:
    from_id, to_id = cohorts.find(source).id, cohorts.find(target).id
    if from_id == to_id:
        raise ValueRefused(f"{source} is where they are already")
    seats.lock()  # so that it never waits for a wave that waits for it
    moved: list[int] = []
    for start in range(0, len(ids), BATCH):
        moved += db.session.scalars(
            update(Entry)
            .where(
                Entry.id.in_(ids[start : start + BATCH]),
                Entry.cohort_id == from_id,
                Entry.state == "waiting",
            )
            .values(cohort_id=to_id)
            .returning(Entry.id)
            .execution_options(synchronize_session=False)
        )
    why = f"moved from {source} to {target}" + (f": {reason}" if reason else "")
    db.session.add_all(PlaceChange(entry_id=i, at=now, reason=why[:200]) for i in moved)
    projection.note(from_id, moved)
    projection.note(to_id, moved)
    after: dict[str, Any] = {"from": source, "to": target, "people": len(moved)}
    audit.record("person.move", f"cohort:{to_id}", actor=actor, now=now, after=after, reason=reason)
    db.session.commit()
    projection.settle(from_id, to_id)
    return len(moved)


def _is_disputed(entry: Entry) -> bool:
    disputed = Registration.disputed_at.is_not(None)
    which = select(Registration.id).where(Registration.entry_id == entry.id, disputed)
    return db.session.scalar(which) is not None


def _signup(entry: Entry) -> Iterator[Happening]:
    source = f"imported (import {entry.import_id})" if entry.import_id else "joined"
    yield Happening(entry.joined_at, f"{source}, arrival {entry.arrival}")
    for at, what in (
        (entry.confirmed_at, "confirmed"),
        (entry.suppressed_at, "address can't be mailed"),
    ):
        if at is not None:
            yield Happening(at, what)


def _places(entry: Entry) -> Iterator[Happening]:
    query = select(PlaceChange).where(PlaceChange.entry_id == entry.id)
    for change in db.session.scalars(query):
        place = "" if change.arrival is None else f", arrival {change.arrival}"
        yield Happening(change.at, f"{change.reason}{place}")


def _invitations(entry: Entry) -> Iterator[Happening]:
    query = select(Invitation).where(Invitation.entry_id == entry.id)
    for invitation in db.session.scalars(query):
        name, by = f"invitation {invitation.id}", f"admitted by wave {invitation.wave_id}"
        if invitation.generation > 1:
            by = f"invited afresh, generation {invitation.generation}"
        yield Happening(invitation.created_at, f"{by}: {name}")
        if invitation.mailed_at is not None:
            until = f"{invitation.expires_at:%F %H:%M} UTC"
            yield Happening(invitation.mailed_at, f"{name} mailed, until {until}")
        if invitation.ended_at is not None:
            yield Happening(invitation.ended_at, f"{name} {invitation.state}")
    registered = select(Registration).where(Registration.entry_id == entry.id)
    for registration in db.session.scalars(registered):
        yield Happening(registration.created_at, f"registered as {registration.handle}")


def _failures(entry: Entry) -> Iterator[Happening]:
    query = select(FinishFailure).join(Invitation).where(Invitation.entry_id == entry.id)
    for failure in db.session.scalars(query):
        times = f" ×{failure.times}" if failure.times > 1 else ""
        yield Happening(failure.at, f"couldn’t finish by the {failure.via}: {failure.kind}{times}")


def _mails(entry: Entry) -> Iterator[Happening]:
    for message in db.session.scalars(select(Message).where(Message.entry_id == entry.id)):
        why = f" ({message.reason})" if message.reason else ""
        yield Happening(message.created_at, f"mail {message.id} owed: {message.kind}")
        if message.sent_at is not None:
            by = f"the {message.route or FIRST} mail server"
            yield Happening(message.sent_at, f"mail {message.id} taken by {by}{why}")
        elif message.state != "queued" or message.reason:
            yield Happening(message.due_at, f"mail {message.id} {message.state}{why}")
    yield from _reports(entry)


def _reports(entry: Entry) -> Iterator[Happening]:
    """What was said later of the mails of a person."""
    theirs = select(DeliveryReport).join(Message, Message.id == DeliveryReport.message_id)
    for report in db.session.scalars(theirs.where(Message.entry_id == entry.id)):
        words = f": {report.words}" if report.words else ""
        what = f"mail {report.message_id} {report.kind}, as {report.provider} says{words}"
        yield Happening(report.at, what)


def _webhooks(entry: Entry) -> Iterator[Happening]:
    for webhook in db.session.scalars(select(Webhook).where(Webhook.entry_id == entry.id)):
        name = f"{webhook.event} to endpoint {webhook.endpoint_id} ({webhook.webhook_id})"
        yield Happening(webhook.created_at, f"owed: {name}")
        if webhook.delivered_at is not None:
            yield Happening(webhook.delivered_at, f"delivered: {name}")
        elif webhook.reason:
            yield Happening(webhook.due_at, f"{webhook.state}, {webhook.reason}: {name}")


def _acts(entry: Entry) -> Iterator[Happening]:
    for act in db.session.scalars(select(Audit).where(Audit.subject == f"entry:{entry.id}")):
        yield Happening(act.at, f"{act.action} by {act.actor} {act.reason}".rstrip())
