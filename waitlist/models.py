"""The tables. SQL is the truth; everything else can be rebuilt from here."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    String,
    TypeDecorator,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from waitlist.extensions import db

Id = BigInteger().with_variant(Integer, "sqlite")
NEVER_REUSED = {"sqlite_autoincrement": True}


class Moment(TypeDecorator[datetime]):
    """An aware UTC datetime, on SQLite too, which knows no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Refuse a naive time; store the rest as UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without time zone can't be stored")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Give back an aware UTC time."""
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


def new_nonce() -> str:
    """64 random bits: what a link must know to open its row."""
    return secrets.token_hex(8)


class Cohort(db.Model):  # type: ignore[name-defined, misc]
    """People who wait in one line. `opens_at` None: never, until an operator says when."""

    __tablename__ = "cohorts"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    opens_at: Mapped[datetime | None] = mapped_column(Moment)
    quota: Mapped[int | None]
    weight: Mapped[int] = mapped_column(default=1)
    credit: Mapped[float] = mapped_column(default=0.0)
    seats_used: Mapped[int] = mapped_column(default=0)
    line_epoch: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column(Moment)

    def is_open(self, now: datetime) -> bool:
        """Whether the ticks admit people of this cohort at `now`."""
        return self.opens_at is not None and self.opens_at <= now


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


class ArrivalCounter(db.Model):  # type: ignore[name-defined, misc]
    """The arrival sequence on SQLite, one row; PostgreSQL has a sequence of its own."""

    __tablename__ = "arrival_counter"
    id: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(Id)


class Entry(db.Model):  # type: ignore[name-defined, misc]
    """One person's record, from joining to the end."""

    __tablename__ = "entries"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    state: Mapped[str] = mapped_column(String(12))
    cohort_id: Mapped[int] = mapped_column(ForeignKey("cohorts.id"))
    cohort: Mapped[Cohort] = relationship()
    address: Mapped[str] = mapped_column(String(254))
    address_key: Mapped[str] = mapped_column(String(254), unique=True)
    mail_to: Mapped[str] = mapped_column(String(254))
    name: Mapped[str] = mapped_column(String(200), default="")
    locale: Mapped[str] = mapped_column(String(12), default="en")
    attributes: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    nonce: Mapped[str] = mapped_column(String(16), default=new_nonce)
    arrival: Mapped[int] = mapped_column(Id)
    rank: Mapped[int] = mapped_column(Id)
    import_id: Mapped[int | None] = mapped_column(ForeignKey("imports.id"))
    joined_at: Mapped[datetime] = mapped_column(Moment)
    confirm_by: Mapped[datetime | None] = mapped_column(Moment)
    confirmed_at: Mapped[datetime | None] = mapped_column(Moment)
    left_at: Mapped[datetime | None] = mapped_column(Moment)
    suppressed_at: Mapped[datetime | None] = mapped_column(Moment)
    renewals: Mapped[int] = mapped_column(default=0)
    __table_args__ = (
        Index(
            "entries_waiting",
            "cohort_id",
            "rank",
            "id",
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
        Index(
            "entries_unconfirmed",
            "confirm_by",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
        Index("entries_import", "import_id"),
        NEVER_REUSED,
    )


class PlaceChange(db.Model):  # type: ignore[name-defined, misc]
    """Why a rank isn't simply the arrival: rank = last `arrival` here or there, less `places`."""

    __tablename__ = "place_changes"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    entry_id: Mapped[int] = mapped_column(ForeignKey("entries.id"), index=True)
    at: Mapped[datetime] = mapped_column(Moment)
    reason: Mapped[str] = mapped_column(String(200))
    arrival: Mapped[int | None] = mapped_column(Id)
    places: Mapped[int] = mapped_column(default=0)
    __table_args__ = (NEVER_REUSED,)


class LineChange(db.Model):  # type: ignore[name-defined, misc]
    """A duty: bring this person's place in the Redis line to what SQL says.

    The id is the version: of one person's changes the later has the greater.
    """

    __tablename__ = "line_changes"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    cohort_id: Mapped[int] = mapped_column(ForeignKey("cohorts.id"))
    entry_id: Mapped[int] = mapped_column(Id)
    __table_args__ = (Index("line_changes_cohort", "cohort_id", "id"), NEVER_REUSED)


class Wave(db.Model):  # type: ignore[name-defined, misc]
    """One admission round: who was admitted together, by whom, and why."""

    __tablename__ = "waves"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    at: Mapped[datetime] = mapped_column(Moment)
    actor: Mapped[str] = mapped_column(String(80))
    reason: Mapped[str] = mapped_column(String(200), default="")
    asked: Mapped[int]
    admitted: Mapped[int]
    __table_args__ = (NEVER_REUSED,)


class Invitation(db.Model):  # type: ignore[name-defined, misc]
    """The mailed right to finish. While `open` it holds a seat."""

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
    __table_args__ = (
        Index(
            "invitations_one_open",
            "entry_id",
            unique=True,
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
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
    __table_args__ = (NEVER_REUSED,)


class Message(db.Model):  # type: ignore[name-defined, misc]
    """One mail that is owed: queued → sending → sent | bounced | cancelled, with a reason."""

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
    created_at: Mapped[datetime] = mapped_column(Moment)
    due_at: Mapped[datetime] = mapped_column(Moment)
    lease: Mapped[int] = mapped_column(default=0)
    leased_until: Mapped[datetime | None] = mapped_column(Moment)
    sent_at: Mapped[datetime | None] = mapped_column(Moment)
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
    __table_args__ = (
        Index("messages_due", "state", "priority", "id"),
        Index("messages_entry", "entry_id", "kind"),
        NEVER_REUSED,
    )


class Import(db.Model):  # type: ignore[name-defined, misc]
    """One file of people, and how far it got: reading → entering → done, or undone."""

    __tablename__ = "imports"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), index=True)
    filename: Mapped[str] = mapped_column(String(255))
    cohort_id: Mapped[int] = mapped_column(ForeignKey("cohorts.id"))
    cohort: Mapped[Cohort] = relationship()
    state: Mapped[str] = mapped_column(String(10), default="reading")
    first_arrival: Mapped[int | None] = mapped_column(Id)
    rows: Mapped[int] = mapped_column(default=0)
    accepted: Mapped[int] = mapped_column(default=0)
    duplicate: Mapped[int] = mapped_column(default=0)
    upgraded: Mapped[int] = mapped_column(default=0)
    rejected: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(Moment)
    done_at: Mapped[datetime | None] = mapped_column(Moment)
    __table_args__ = (NEVER_REUSED,)


class ImportRow(db.Model):  # type: ignore[name-defined, misc]
    """A row of a file: staged while reading, then given its outcome and its order."""

    __tablename__ = "import_rows"
    import_id: Mapped[int] = mapped_column(
        ForeignKey("imports.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    outcome: Mapped[str] = mapped_column(String(10), default="staged")
    reason: Mapped[str] = mapped_column(String(200), default="")
    upgraded: Mapped[bool] = mapped_column(default=False)
    place: Mapped[int | None]
    nonce: Mapped[str] = mapped_column(String(16), default=new_nonce)
    address: Mapped[str] = mapped_column(String(320), default="")
    address_key: Mapped[str] = mapped_column(String(254), default="")
    mail_to: Mapped[str] = mapped_column(String(254), default="")
    name: Mapped[str] = mapped_column(String(200), default="")
    locale: Mapped[str] = mapped_column(String(12), default="en")
    attributes: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    joined_at: Mapped[datetime | None] = mapped_column(Moment)
    __table_args__ = (
        Index("import_rows_key", "import_id", "address_key"),
        Index("import_rows_place", "import_id", "outcome", "place"),
    )


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


class Heartbeat(db.Model):  # type: ignore[name-defined, misc]
    """When a process was last alive, so that a gap can be told from waiting."""

    __tablename__ = "heartbeats"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    at: Mapped[datetime] = mapped_column(Moment)
