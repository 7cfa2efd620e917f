"""The outbox."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from waitlist.extensions import db
from waitlist.models.base import NEVER_REUSED, Id, Moment, new_nonce
from waitlist.models.gate import Invitation
from waitlist.models.line import Entry


class Message(db.Model):  # type: ignore[name-defined, misc]
    """One mail that is owed: queued → sending → sent | bounced | cancelled, with a reason.

    What is sent becomes delivered, complained or bounced when that is reported.
    `dead` is what can't go on by itself, until an operator has looked.
    """

    __tablename__ = "messages"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    priority: Mapped[int]
    entry_id: Mapped[int] = mapped_column(ForeignKey("entries.id", ondelete="CASCADE"))
    entry: Mapped[Entry] = relationship()
    invitation_id: Mapped[int | None] = mapped_column(ForeignKey("invitations.id"))
    invitation: Mapped[Invitation | None] = relationship()
    nonce: Mapped[str] = mapped_column(String(16), default=new_nonce)
    state: Mapped[str] = mapped_column(String(10), default="queued")
    reason: Mapped[str] = mapped_column(String(200), default="")
    attempts: Mapped[int] = mapped_column(default=0)
    cut_off: Mapped[int] = mapped_column(default=0)  # tries that ended before an answer
    lost: Mapped[int] = mapped_column(default=0)  # leases whose worker didn't come back
    refused_since: Mapped[datetime | None] = mapped_column(Moment)  # for now, without end so far
    route: Mapped[str | None] = mapped_column(String(6))  # by which it went, or was last tried
    created_at: Mapped[datetime] = mapped_column(Moment)
    due_at: Mapped[datetime] = mapped_column(Moment)
    lease: Mapped[int] = mapped_column(default=0)
    leased_until: Mapped[datetime | None] = mapped_column(Moment)
    sent_at: Mapped[datetime | None] = mapped_column(Moment)
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
    __table_args__ = (
        Index("messages_due", "state", "priority", "due_at", "id"),
        Index("messages_entry", "entry_id", "kind"),
        NEVER_REUSED,
    )


class DeliveryReport(db.Model):  # type: ignore[name-defined, misc]
    """What somebody said later became of a mail; each report once, by its provider and id.

    Without a message it was only about an address, which isn't kept.
    """

    __tablename__ = "delivery_reports"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    message_id: Mapped[int | None] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(Moment)
    provider: Mapped[str] = mapped_column(String(20))
    report_id: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(10))
    words: Mapped[str] = mapped_column(String(200), default="")
    __table_args__ = (
        Index("delivery_reports_id", "provider", "report_id", unique=True),
        Index("delivery_reports_message", "message_id"),
        NEVER_REUSED,
    )


class MailPace(db.Model):  # type: ignore[name-defined, misc]
    """How much mail may go now and how it fares, one row; see `policy.mailing`, `policy.bounces`.

    What may go at once, what went today (UTC), what became of the last invitations, and what
    is known of the mail server in force (`policy.routes`).
    """

    __tablename__ = "mail_pace"
    id: Mapped[int] = mapped_column(primary_key=True)
    allowance: Mapped[float] = mapped_column(default=0.0)
    counted_at: Mapped[datetime | None] = mapped_column(Moment)
    day: Mapped[date | None]
    sent_today: Mapped[int] = mapped_column(default=0)
    first_day: Mapped[date | None]
    invitations_sent: Mapped[float] = mapped_column(default=0.0)
    invitations_bounced: Mapped[float] = mapped_column(default=0.0)
    invitations_later: Mapped[float] = mapped_column(default=0.0)
    noted_at: Mapped[datetime | None] = mapped_column(Moment)
    stopped_at: Mapped[datetime | None] = mapped_column(Moment)  # by too many bounces
    route: Mapped[str] = mapped_column(String(6), default="first")
    route_since: Mapped[datetime | None] = mapped_column(Moment)
    route_why: Mapped[str] = mapped_column(String(80), default="")
    route_failing_since: Mapped[datetime | None] = mapped_column(Moment)
    route_taken: Mapped[float] = mapped_column(default=0.0)
    route_refused: Mapped[float] = mapped_column(default=0.0)
    route_noted_at: Mapped[datetime | None] = mapped_column(Moment)
