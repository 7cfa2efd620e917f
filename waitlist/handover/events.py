"""The events there are, and what a webhook says of each.

A further event is one more function here, and a `staging.stage` where it happens. What it says
is read when it is sent, so nothing of a person is kept in an outbox; it must be of what doesn't
change any more, so that each attempt sends the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import select

from waitlist.extensions import db
from waitlist.models import Cohort, Entry, Registration
from waitlist.rows import ids

COMPLETED = "registration.completed"
DISPUTED = "registration.disputed"
TEST = "webhook.test"  # which nobody subscribes to: a command sends it


class Happened(NamedTuple):
    """When an event was, and what is to be said of it, as JSON."""

    at: datetime
    data: dict[str, Any]


Read = Callable[[Sequence[int], bool], dict[int, Happened]]


def named(event: str, subject_id: int, nonce: str) -> str:
    """The webhook-id of an event: the same whenever it is made of the same row.

    So there is no second one to be told of it by, whoever stages it again.
    """
    named = hashlib.sha256(f"{event}.{subject_id}.{nonce}".encode()).hexdigest()
    return f"msg_{named[:32]}"


def bodies(
    event: str, subject_ids: Sequence[int], *, with_password_hash: bool
) -> Mapping[int, bytes]:
    """What is sent of these, by subject; without those that are gone, with their person."""
    found = EVENTS[event](subject_ids, with_password_hash)
    return {subject: body(event, *happened) for subject, happened in found.items()}


def body(event: str, at: datetime, data: Mapping[str, Any]) -> bytes:
    """The bytes of a webhook."""
    words = {"type": event, "timestamp": _moment(at), "data": data}
    return json.dumps(words, ensure_ascii=False, separators=(",", ":")).encode()


def _completed(subject_ids: Sequence[int], with_password_hash: bool) -> dict[int, Happened]:
    found = db.session.execute(
        select(Registration, Entry, Cohort.name)
        .join(Entry, Entry.id == Registration.entry_id)
        .join(Cohort, Cohort.id == Entry.cohort_id)
        .where(Registration.id.in_(ids(subject_ids)))
    )
    return {
        registration.id: Happened(
            registration.created_at, _said(registration, entry, cohort, with_password_hash)
        )
        for registration, entry, cohort in found
    }


def _said(
    registration: Registration, entry: Entry, cohort: str, with_password_hash: bool
) -> dict[str, Any]:
    credential = {"password_hash": registration.password_hash} if with_password_hash else {}
    return {
        "id": str(registration.id),
        "entry_id": str(entry.id),
        "handle": registration.handle,
        "display_name": registration.display_name,
        "address": entry.address,
        "locale": entry.locale,
        "cohort": cohort,
        "attributes": entry.attributes,
        "joined_at": _moment(entry.joined_at),
        "confirmed_at": entry.confirmed_at and _moment(entry.confirmed_at),
        "terms_at": _moment(registration.terms_at),
        "registered_at": _moment(registration.created_at),
        **credential,
    }


def _disputed(subject_ids: Sequence[int], _with_password_hash: bool) -> dict[int, Happened]:
    """Nothing of one that an operator has decided meanwhile."""
    disputed = Registration.disputed_at.is_not(None)
    found = select(Registration).where(Registration.id.in_(ids(subject_ids)), disputed)
    return {
        one.id: Happened(
            one.disputed_at or one.created_at,
            {"id": str(one.id), "entry_id": str(one.entry_id), "handle": one.handle},
        )
        for one in db.session.scalars(found)
    }


def _moment(at: datetime) -> str:
    """In the words of RFC 3339, in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


EVENTS: dict[str, Read] = {COMPLETED: _completed, DISPUTED: _disputed}
