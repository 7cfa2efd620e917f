"""What operators and the person see of the hand-over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select

from waitlist.errors import ValueRefused
from waitlist.extensions import db
from waitlist.handover import endpoints, leasing
from waitlist.handover.events import COMPLETED
from waitlist.models import Webhook, WebhookAttempt, WebhookEndpoint, WebhookSubscription

STATES = ("pending", "sending", "delivered", "attention", "cancelled")
UNDELIVERED = ("pending", "sending")


class Figures(NamedTuple):
    """How the hand-over stands, for an alarm."""

    pending: int
    attention: int
    oldest_at: datetime | None  # since when the longest owed is owed
    away: int  # endpoints that don't answer, or are disabled


def figures() -> Figures:
    """How many webhooks are owed and need attention, and of how many endpoints none goes."""
    counted = [_count(state) for state in UNDELIVERED]  # one by one, as each has its index
    oldest = [oldest_at for _, oldest_at in counted if oldest_at is not None]
    attention, _ = _count("attention")
    is_away = (WebhookEndpoint.state != "enabled") | WebhookEndpoint.away_since.is_not(None)
    away = select(func.count()).select_from(WebhookEndpoint).where(is_away)
    return Figures(
        pending=sum(number for number, _ in counted),
        attention=attention,
        oldest_at=min(oldest, default=None),
        away=db.session.scalar(away) or 0,
    )


def registration_state(registration_id: int, entry_id: int) -> str:
    """Whether the product knows of this registration, which is that person's.

    none: there is nobody to tell; pending, delivered, needs-attention: of all endpoints together.
    """
    this = Webhook.subject_id == registration_id, Webhook.event == COMPLETED
    states = set(
        db.session.scalars(select(Webhook.state).where(Webhook.entry_id == entry_id, *this))
    )
    if "attention" in states:
        return "needs-attention"
    if states & set(UNDELIVERED):
        return "pending"
    return "delivered" if "delivered" in states else "none"


def every() -> list[dict[str, Any]]:
    """The endpoints, as JSON."""
    found = db.session.scalars(select(WebhookEndpoint).order_by(WebhookEndpoint.id)).all()
    return [as_json(endpoint) for endpoint in found]


def one(endpoint_id: int, *, now: datetime) -> dict[str, Any]:
    """An endpoint with what became of its webhooks, as JSON."""
    endpoint = endpoints.find(endpoint_id)
    counted = db.session.execute(
        select(Webhook.state, func.count().label("number"))
        .where(Webhook.endpoint_id == endpoint_id)
        .group_by(Webhook.state)
    )
    counts = {row.state: row.number for row in counted}
    overlaps = len(leasing.secrets_of(endpoint, now=now)) > 1
    return {
        **as_json(endpoint),
        "former_secret_until": _time(endpoint.former_until) if overlaps else None,
        "webhooks": {state: counts.get(state, 0) for state in STATES},
    }


def as_json(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """An endpoint without its secrets."""
    subscribed = select(WebhookSubscription.event).where(
        WebhookSubscription.endpoint_id == endpoint.id
    )
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": sorted(db.session.scalars(subscribed)),
        "with_password_hash": endpoint.with_password_hash,
        "state": endpoint.state,
        "why": endpoint.why,
        "away_since": _time(endpoint.away_since),
        "failures": endpoint.failures,
        "created_at": _time(endpoint.created_at),
    }


def log(*, endpoint_id: int | None, state: str | None, most: int) -> list[dict[str, Any]]:
    """The newest webhooks, of one endpoint or in one state if asked, as JSON."""
    if endpoint_id is not None:
        endpoints.find(endpoint_id)
    query = select(Webhook).order_by(Webhook.id.desc()).limit(most)
    if endpoint_id is not None:
        query = query.where(Webhook.endpoint_id == endpoint_id)
    if state is not None:
        query = query.where(Webhook.state == state)
    return [_webhook(webhook) for webhook in db.session.scalars(query)]


def attempts(webhook_id: str) -> list[dict[str, Any]]:
    """Every webhook of this webhook-id with all its attempts, as JSON; `ValueRefused` if none."""
    of_id = Webhook.webhook_id == webhook_id
    found = db.session.scalars(select(Webhook).where(of_id).order_by(Webhook.id)).all()
    if not found:
        raise ValueRefused(f"there is no webhook {webhook_id}: see flask webhook log")
    return [{**_webhook(webhook), "tries": _tries(webhook.id)} for webhook in found]


def _tries(of_id: int) -> Sequence[dict[str, Any]]:
    query = select(WebhookAttempt).where(WebhookAttempt.of_id == of_id).order_by(WebhookAttempt.id)
    return [
        {
            "at": _time(attempt.at),
            "status": attempt.status,
            "milliseconds": attempt.milliseconds,
            "words": attempt.words,
        }
        for attempt in db.session.scalars(query)
    ]


def _webhook(webhook: Webhook) -> dict[str, Any]:
    return {
        "webhook_id": webhook.webhook_id,
        "endpoint": webhook.endpoint_id,
        "event": webhook.event,
        "entry": str(webhook.entry_id),
        "subject": str(webhook.subject_id),
        "state": webhook.state,
        "reason": webhook.reason,
        "attempts": webhook.attempts,
        "created_at": _time(webhook.created_at),
        "due_at": _time(webhook.due_at) if webhook.state == "pending" else None,
        "delivered_at": _time(webhook.delivered_at),
    }


def _count(state: str) -> tuple[int, datetime | None]:
    """How many are in this state, and since when the longest of them is owed."""
    number, oldest_at = db.session.execute(
        select(func.count(), func.min(Webhook.since_at)).where(Webhook.state == state)
    ).one()
    return number, oldest_at


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
