"""Owing webhooks, in the transaction in which what they tell of happens."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Dialect, Text, bindparam, case, insert, literal, select

from waitlist.extensions import db
from waitlist.handover.events import named
from waitlist.models import Webhook, WebhookEndpoint, WebhookSubscription
from waitlist.models.base import Moment
from waitlist.prepared import Prepared

DISABLED = "the endpoint is disabled"


def stage(event: str, subject_id: int, nonce: str, *, entry_id: int, now: datetime) -> int:
    """Owe every endpoint that subscribes a webhook, in the caller's transaction; how many.

    The subject is the row that the event is about, and the nonce is that row's. Wake `handover`
    after the commit. A disabled endpoint is owed it too, as what needs attention.
    """
    connection = db.session.connection()
    return (
        _staging(connection.dialect)
        .execute(
            connection,
            event=event,
            webhook_id=named(event, subject_id, nonce),
            subject_id=subject_id,
            entry_id=entry_id,
            now=now,
        )
        .rowcount
    )


@cache
def _staging(dialect: Dialect) -> Prepared:
    subscription, endpoint = WebhookSubscription.__table__.c, WebhookEndpoint.__table__.c
    enabled = endpoint.state == "enabled"
    now = bindparam("now", type_=Moment())
    values: dict[str, Any] = {
        "webhook_id": bindparam("webhook_id", type_=Text()),
        "endpoint_id": endpoint.id,
        "event": subscription.event,
        "entry_id": bindparam("entry_id", type_=BigInteger()),
        "subject_id": bindparam("subject_id", type_=BigInteger()),
        "state": case((enabled, "pending"), else_="attention"),
        "reason": case((enabled, ""), else_=DISABLED),
        "attempts": literal(0),
        "lease": literal(0),
        **dict.fromkeys(("created_at", "since_at", "due_at"), now),
    }
    subscribed = (
        select(*values.values())
        .join_from(
            WebhookSubscription.__table__,
            WebhookEndpoint.__table__,
            endpoint.id == subscription.endpoint_id,
        )
        .where(subscription.event == bindparam("event", type_=Text()), endpoint.state != "removing")
    )
    return Prepared(insert(Webhook.__table__).from_select(list(values), subscribed), dialect)
