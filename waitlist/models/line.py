"""The line in SQL: who waits where, in which order, and why."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from waitlist.extensions import db
from waitlist.models.base import NEVER_REUSED, Id, Moment, new_nonce
from waitlist.policy.hours import is_within


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
    timezone: Mapped[str] = mapped_column(String(40), default="UTC")
    hours: Mapped[str | None] = mapped_column(String(11))  # such as 09:00-21:00, in that zone

    def is_open(self, now: datetime) -> bool:
        """Whether its opening date has come."""
        return self.opens_at is not None and self.opens_at <= now

    def is_within_hours(self, now: datetime) -> bool:
        """Whether it is one of its hours; ticks admit nobody of it outside them."""
        return is_within(self.hours, self.timezone, now)


class CohortRule(db.Model):  # type: ignore[name-defined, misc]
    """Who joins which cohort: all that is named must fit, and the first rule that fits counts."""

    __tablename__ = "cohort_rules"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    turn: Mapped[int]
    cohort_id: Mapped[int] = mapped_column(ForeignKey("cohorts.id"))
    cohort: Mapped[Cohort] = relationship()
    country: Mapped[str | None] = mapped_column(String(2))
    platform: Mapped[str | None] = mapped_column(String(20))
    code: Mapped[str | None] = mapped_column(String(60))
    __table_args__ = (NEVER_REUSED,)


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


class Crowd(db.Model):  # type: ignore[name-defined, misc]
    """A duty: bring people of an import, who came in together, into the Redis line.

    It stands for those of the import whose ids are between these two, for whom nobody else can
    have left a `LineChange` before it: whatever Redis was told of them already is newer.
    """

    __tablename__ = "line_crowds"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    cohort_id: Mapped[int] = mapped_column(ForeignKey("cohorts.id"))
    import_id: Mapped[int] = mapped_column(ForeignKey("imports.id"))
    first_id: Mapped[int] = mapped_column(Id)
    last_id: Mapped[int] = mapped_column(Id)
    __table_args__ = (Index("line_crowds_cohort", "cohort_id", "id"), NEVER_REUSED)


class ArrivalCounter(db.Model):  # type: ignore[name-defined, misc]
    """The arrival sequence on SQLite, one row; PostgreSQL has a sequence of its own."""

    __tablename__ = "arrival_counter"
    id: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(Id)
