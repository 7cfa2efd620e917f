"""What was done by whom, what failed, and what was alive when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from waitlist.extensions import db
from waitlist.models.base import NEVER_REUSED, Id, Moment


class Audit(db.Model):  # type: ignore[name-defined, misc]
    """Append-only: who changed what from which value to which, and why. Ids, never addresses."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    at: Mapped[datetime] = mapped_column(Moment)
    actor: Mapped[str] = mapped_column(String(80))
    action: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(80))
    before: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    after: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    reason: Mapped[str] = mapped_column(String(200), default="")
    __table_args__ = (Index("audit_subject", "subject"), NEVER_REUSED)


class Erasure(db.Model):  # type: ignore[name-defined, misc]
    """Somebody who was erased, by a keyed hash of their address: see `waitlist.erasures`.

    `confirm_id` is the mail of a new joining that was let through at `confirm_mailed_at`.
    """

    __tablename__ = "erasures"
    key_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[datetime] = mapped_column(Moment)
    confirm_mailed_at: Mapped[datetime | None] = mapped_column(Moment)
    confirm_id: Mapped[int | None] = mapped_column(Id)


class Heartbeat(db.Model):  # type: ignore[name-defined, misc]
    """When a process was last alive, so that a gap can be told from waiting."""

    __tablename__ = "heartbeats"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    at: Mapped[datetime] = mapped_column(Moment)


class FinishFailure(db.Model):  # type: ignore[name-defined, misc]
    """A try at the last step that failed: when, as what, by which way and release. No contents.

    `uid` makes it one, however often it is brought in; `times` counts tries without an answer.
    """

    __tablename__ = "finish_failures"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    uid: Mapped[str] = mapped_column(String(32), unique=True)
    invitation_id: Mapped[int] = mapped_column(ForeignKey("invitations.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(Moment)
    kind: Mapped[str] = mapped_column(String(60))
    times: Mapped[int] = mapped_column(default=1)
    via: Mapped[str] = mapped_column(String(4))  # form, api
    release: Mapped[str] = mapped_column(String(40))
    __table_args__ = (
        Index("finish_failures_at", "at"),
        Index("finish_failures_invitation", "invitation_id"),
        NEVER_REUSED,
    )
