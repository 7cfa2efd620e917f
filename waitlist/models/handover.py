"""Handing over: which addresses the product named, and what each of them is owed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from waitlist.extensions import db
from waitlist.models.base import NEVER_REUSED, Id, Moment


def _only(state: str) -> dict[str, Any]:
    """The options of an index that holds only what is in this state."""
    where = text(f"state = '{state}'")
    return {"sqlite_where": where, "postgresql_where": where}


class WebhookEndpoint(db.Model):  # type: ignore[name-defined, misc]
    """An address of the product that is told of events: enabled, disabled, or being removed.

    While `away_since` is set nothing goes there but a probe, at `probe_at`. `failures` counts
    those since the last success; `why` says what is wrong.
    """

    __tablename__ = "webhook_endpoints"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    url: Mapped[str] = mapped_column(String(2000))
    secret: Mapped[str] = mapped_column(String(120))
    former_secret: Mapped[str | None] = mapped_column(String(120))
    former_until: Mapped[datetime | None] = mapped_column(Moment)
    with_password_hash: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = mapped_column(String(10), default="enabled")
    why: Mapped[str] = mapped_column(String(200), default="")
    failures: Mapped[int] = mapped_column(default=0)
    away_since: Mapped[datetime | None] = mapped_column(Moment)
    probe_at: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment)
    __table_args__ = (NEVER_REUSED,)


class WebhookSubscription(db.Model):  # type: ignore[name-defined, misc]
    """An event that an endpoint is told of."""

    __tablename__ = "webhook_subscriptions"
    event: Mapped[str] = mapped_column(String(40), primary_key=True)
    endpoint_id: Mapped[int] = mapped_column(
        ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), primary_key=True
    )


class Webhook(db.Model):  # type: ignore[name-defined, misc]
    """One event that an endpoint is owed: pending → sending → delivered | attention | cancelled.

    Nothing of the person is kept here: the body is read from `subject_id`, the row that the
    event is about, at each attempt. `since_at` is when it was owed, or owed again by a replay.
    """

    __tablename__ = "webhooks"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    webhook_id: Mapped[str] = mapped_column(String(60))
    endpoint_id: Mapped[int] = mapped_column(ForeignKey("webhook_endpoints.id"))
    event: Mapped[str] = mapped_column(String(40))
    entry_id: Mapped[int] = mapped_column(ForeignKey("entries.id", ondelete="CASCADE"))
    subject_id: Mapped[int] = mapped_column(Id)
    state: Mapped[str] = mapped_column(String(10), default="pending")
    reason: Mapped[str] = mapped_column(String(200), default="")
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(Moment)
    since_at: Mapped[datetime] = mapped_column(Moment)
    due_at: Mapped[datetime] = mapped_column(Moment)
    lease: Mapped[int] = mapped_column(default=0)
    leased_until: Mapped[datetime | None] = mapped_column(Moment)
    delivered_at: Mapped[datetime | None] = mapped_column(Moment)
    __table_args__ = (
        Index("webhooks_once", "webhook_id", "endpoint_id", unique=True),
        Index("webhooks_entry", "entry_id"),
        Index("webhooks_due", "endpoint_id", "due_at", "id", **_only("pending")),
        Index("webhooks_sending", "leased_until", **_only("sending")),
        Index("webhooks_attention", "endpoint_id", "id", **_only("attention")),
        NEVER_REUSED,
    )


class WebhookAttempt(db.Model):  # type: ignore[name-defined, misc]
    """One try of a webhook: what came of it, in our words and never in the answer's."""

    __tablename__ = "webhook_attempts"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    of_id: Mapped[int] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime] = mapped_column(Moment)
    status: Mapped[int | None]
    milliseconds: Mapped[int]
    words: Mapped[str] = mapped_column(String(200))
    __table_args__ = (NEVER_REUSED,)
