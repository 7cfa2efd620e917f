"""The gate, its waves, and the invitations and registrations that hold its seats."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from waitlist.extensions import db
from waitlist.models.base import NEVER_REUSED, Id, Moment, new_nonce
from waitlist.models.line import Entry


class Gate(db.Model):  # type: ignore[name-defined, misc]
    """The controls, one row. Its lock orders all admissions."""

    __tablename__ = "gate"
    id: Mapped[int] = mapped_column(primary_key=True)
    capacity: Mapped[int] = mapped_column(default=0)
    rate: Mapped[int] = mapped_column(default=0)
    paused: Mapped[bool] = mapped_column(default=True)
    seats_used: Mapped[int] = mapped_column(default=0)
    allowance: Mapped[float] = mapped_column(default=0.0)
    ticked_at: Mapped[datetime | None] = mapped_column(Moment)
    line_run_id: Mapped[str | None] = mapped_column(String(40))
    version: Mapped[int] = mapped_column(default=1)
    joining: Mapped[str] = mapped_column(String(10), default="open")
    held_mails: Mapped[list[str]] = mapped_column(JSON, default=list)
    referral: Mapped[bool] = mapped_column(default=False)
    notices: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    health_ignored_until: Mapped[datetime | None] = mapped_column(Moment)
    bounces_since: Mapped[datetime | None] = mapped_column(Moment)
    last_step_alarm_at: Mapped[datetime | None] = mapped_column(Moment)  # since when it alarms
    mail_route: Mapped[str] = mapped_column(String(10), default="auto")


class Wave(db.Model):  # type: ignore[name-defined, misc]
    """Who is admitted together, by whom, and why: planned → running → done | halted | recalled."""

    __tablename__ = "waves"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    at: Mapped[datetime] = mapped_column(Moment)
    actor: Mapped[str] = mapped_column(String(80))
    reason: Mapped[str] = mapped_column(String(200), default="")
    asked: Mapped[int]
    admitted: Mapped[int]
    state: Mapped[str] = mapped_column(String(10), default="done")
    cohort_id: Mapped[int | None] = mapped_column(Id)  # None: of all that are open
    starts_at: Mapped[datetime | None] = mapped_column(Moment)
    over_seconds: Mapped[int | None]
    mails_from: Mapped[datetime | None] = mapped_column(Moment)
    by_list: Mapped[bool] = mapped_column(default=False)
    shares: Mapped[dict[str, list[int]]] = mapped_column(JSON, default=dict)  # taken, and of all
    note: Mapped[str] = mapped_column(String(200), default="")  # why it does less than asked
    __table_args__ = (
        Index(
            "waves_to_do",
            "starts_at",
            sqlite_where=text("state IN ('planned', 'running')"),
            postgresql_where=text("state IN ('planned', 'running')"),
        ),
        NEVER_REUSED,
    )


class WavePerson(db.Model):  # type: ignore[name-defined, misc]
    """Somebody whom an operator named for a wave, in the order of the list."""

    __tablename__ = "wave_people"
    wave_id: Mapped[int] = mapped_column(ForeignKey("waves.id"), primary_key=True)
    nth: Mapped[int] = mapped_column(primary_key=True)
    entry_id: Mapped[int] = mapped_column(ForeignKey("entries.id", ondelete="CASCADE"))


class Invitation(db.Model):  # type: ignore[name-defined, misc]
    """The mailed right to finish. While `open` it holds a seat.

    A re-issue is of the same wave and one generation on; admitted anew, it is of the first again.
    """

    __tablename__ = "invitations"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    entry_id: Mapped[int] = mapped_column(ForeignKey("entries.id"), index=True)
    entry: Mapped[Entry] = relationship()
    wave_id: Mapped[int] = mapped_column(ForeignKey("waves.id"))
    cohort_id: Mapped[int] = mapped_column(ForeignKey("cohorts.id"))
    generation: Mapped[int] = mapped_column(default=1)
    nonce: Mapped[str] = mapped_column(String(16), default=new_nonce)
    state: Mapped[str] = mapped_column(String(12), default="open")
    created_at: Mapped[datetime] = mapped_column(Moment)
    mailed_at: Mapped[datetime | None] = mapped_column(Moment)
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
    ended_at: Mapped[datetime | None] = mapped_column(Moment)
    reminded_at: Mapped[datetime | None] = mapped_column(Moment)
    __table_args__ = (
        Index(
            "invitations_to_remind",
            "expires_at",
            sqlite_where=text("state = 'open' AND reminded_at IS NULL"),
            postgresql_where=text("state = 'open' AND reminded_at IS NULL"),
        ),
        Index(
            "invitations_one_open",
            "entry_id",
            unique=True,
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
        Index("invitations_wave", "wave_id"),
        Index(
            "invitations_expiring",
            "expires_at",
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
        NEVER_REUSED,
    )


class Registration(db.Model):  # type: ignore[name-defined, misc]
    """The completed signup, with what is needed to give the same answer again."""

    __tablename__ = "registrations"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    entry_id: Mapped[int] = mapped_column(ForeignKey("entries.id"), unique=True)
    entry: Mapped[Entry] = relationship()
    invitation_id: Mapped[int] = mapped_column(ForeignKey("invitations.id"), unique=True)
    handle: Mapped[str] = mapped_column(String(30), unique=True)
    display_name: Mapped[str] = mapped_column(String(80))
    password_hash: Mapped[str] = mapped_column(String(200))
    fingerprint: Mapped[str] = mapped_column(String(64))
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    nonce: Mapped[str] = mapped_column(String(16), default=new_nonce)
    terms_at: Mapped[datetime] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment)
    disputed_at: Mapped[datetime | None] = mapped_column(Moment)
    __table_args__ = (Index("registrations_created", "created_at"), NEVER_REUSED)
