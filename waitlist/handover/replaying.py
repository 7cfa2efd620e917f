"""Owing webhooks again: they go at once, under the ids that they had."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Text, literal, select, true, update

from waitlist import audit
from waitlist.errors import ValueRefused
from waitlist.extensions import db, insert_unless_known, rows_changed
from waitlist.handover import endpoints
from waitlist.handover.endpoints import Who
from waitlist.handover.events import COMPLETED, named
from waitlist.models import Registration, Webhook, WebhookEndpoint, WebhookSubscription
from waitlist.models.base import Moment
from waitlist.rows import given, ids

BATCH = 1_000  # webhooks that one transaction owes again


def these(webhook_ids: Sequence[str], *, endpoint_id: int | None, who: Who) -> int:
    """Owe these again, by webhook-id, to each endpoint or to one; how many.

    `ValueRefused` if one of them is unknown, and nothing is done.
    """
    which = Webhook.webhook_id.in_(webhook_ids)
    known = set(db.session.scalars(select(Webhook.webhook_id).where(which, *_to(endpoint_id))))
    if unknown := [one for one in webhook_ids if one not in known]:
        raise ValueRefused(f"there is no webhook {unknown[0]}: see flask webhook log")
    return _replay(which, endpoint_id, who, {"webhooks": len(webhook_ids)})


def that_need_attention(*, endpoint_id: int | None, who: Who) -> int:
    """Owe again all that need attention, to each endpoint that is enabled or to one; how many."""
    return _replay(Webhook.state == "attention", endpoint_id, who, {"state": "attention"})


def since(at: datetime, *, endpoint_id: int, who: Who) -> int:
    """Owe an endpoint all registrations since then, those from before it was added too; how many.

    What was delivered goes again under its id, by which the product knows it.
    """
    _check(endpoint_id)
    if not _is_subscribed(endpoint_id):
        raise ValueRefused(f"endpoint {endpoint_id} isn't told of {COMPLETED}")
    replayed, last = 0, 0
    while page := _registrations(at, last):
        replayed += _owe(page, endpoint_id, now=who.now)
        db.session.commit()
        last = page[-1][0]
    _record(replayed, endpoint_id, who, {"since": at.isoformat()})
    return replayed


def _replay(
    which: ColumnElement[bool], endpoint_id: int | None, who: Who, what: dict[str, Any]
) -> int:
    if endpoint_id is not None:
        _check(endpoint_id)
    enabled = select(WebhookEndpoint.id).where(WebhookEndpoint.state == "enabled")
    chosen = which, *_to(endpoint_id), Webhook.endpoint_id.in_(enabled)
    replayed, last = 0, 0
    while True:
        page = select(Webhook.id).where(*chosen, Webhook.id > last)
        found = db.session.scalars(page.order_by(Webhook.id).limit(BATCH)).all()
        if not found:
            break
        replayed += _again(Webhook.id.in_(ids(found)), now=who.now)
        db.session.commit()
        last = found[-1]
    _record(replayed, endpoint_id, who, what)
    return replayed


def _owe(page: Sequence[tuple[int, str, int]], endpoint_id: int, *, now: datetime) -> int:
    """Owe these registrations, those that were owed already again; how many."""
    rows = [(named(COMPLETED, subject, nonce), subject, entry) for subject, nonce, entry in page]
    new = given(rows, webhook_id=Text(), subject_id=BigInteger(), entry_id=BigInteger())
    values: dict[str, Any] = {
        "webhook_id": new.c.webhook_id,
        "subject_id": new.c.subject_id,
        "entry_id": new.c.entry_id,
        "endpoint_id": literal(endpoint_id),
        "event": literal(COMPLETED),
        "state": literal("pending"),
        "reason": literal(""),
        "attempts": literal(0),
        "lease": literal(0),
        **dict.fromkeys(("created_at", "since_at", "due_at"), literal(now, Moment())),
    }
    known = Webhook.webhook_id.in_([row[0] for row in rows]), *_to(endpoint_id)
    again = _again(*known, now=now)
    owing = insert_unless_known(Webhook.__table__, Webhook.webhook_id, Webhook.endpoint_id)
    rest = select(*values.values()).where(true())  # else SQLite takes ON CONFLICT for a join's
    owed = owing.from_select(list(values), rest).returning(Webhook.id)
    return again + len(db.session.scalars(owed).all())


def _again(*which: ColumnElement[bool], now: datetime) -> int:
    """Owe these from now on, as if anew; what is under way stays so."""
    anew = {"state": "pending", "reason": "", "attempts": 0, "since_at": now, "due_at": now}
    again = update(Webhook).where(*which, Webhook.state != "sending").values(**anew)
    return rows_changed(again.execution_options(synchronize_session=False))


def _registrations(at: datetime, last: int) -> Sequence[tuple[int, str, int]]:
    found = db.session.execute(
        select(Registration.id, Registration.nonce, Registration.entry_id)
        .where(Registration.id > last, Registration.created_at >= at)
        .order_by(Registration.id)
        .limit(BATCH)
    )
    return [(row.id, row.nonce, row.entry_id) for row in found]


def _to(endpoint_id: int | None) -> list[ColumnElement[bool]]:
    return [] if endpoint_id is None else [Webhook.endpoint_id == endpoint_id]


def _check(endpoint_id: int) -> None:
    if endpoints.find(endpoint_id).state != "enabled":
        raise ValueRefused(
            f"endpoint {endpoint_id} is disabled: flask webhook enable {endpoint_id} first"
        )


def _is_subscribed(endpoint_id: int) -> bool:
    return db.session.get(WebhookSubscription, (COMPLETED, endpoint_id)) is not None


def _record(replayed: int, endpoint_id: int | None, who: Who, what: dict[str, Any]) -> None:
    audit.record(
        "webhook.replay",
        f"webhook_endpoint:{endpoint_id}" if endpoint_id else "webhook_endpoints",
        actor=who.actor,
        now=who.now,
        after={**what, "replayed": replayed},
        reason=who.reason,
    )
    db.session.commit()
