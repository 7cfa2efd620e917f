"""What the gate learns while it runs: the product's health, no-shows, estimates that came true."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from waitlist.extensions import db
from waitlist.models.base import NEVER_REUSED, Id, Moment


class Health(db.Model):  # type: ignore[name-defined, misc]
    """What the product last said of itself, and what the loop makes of the rate; one row."""

    __tablename__ = "health"
    id: Mapped[int] = mapped_column(primary_key=True)
    factor: Mapped[float] = mapped_column(default=1.0)
    stepped_at: Mapped[datetime | None] = mapped_column(Moment)
    healthy: Mapped[bool | None]
    load: Mapped[float | None]
    p95_ms: Mapped[float | None]
    reported_at: Mapped[datetime | None] = mapped_column(Moment)
    source: Mapped[str] = mapped_column(String(80), default="")
    state: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class NoShows(db.Model):  # type: ignore[name-defined, misc]
    """The share of invitations used by each hour after their mail, as learned; one row."""

    __tablename__ = "no_shows"
    id: Mapped[int] = mapped_column(primary_key=True)
    learned_at: Mapped[datetime | None] = mapped_column(Moment)
    curve: Mapped[list[Any]] = mapped_column(JSON, default=list)


class Experience(db.Model):  # type: ignore[name-defined, misc]
    """What the last hour taught of waiting, see `waitlist.experience`; one row."""

    __tablename__ = "experience"
    id: Mapped[int] = mapped_column(primary_key=True)
    learned_at: Mapped[datetime | None] = mapped_column(Moment)
    lessons: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class Estimate(db.Model):  # type: ignore[name-defined, misc]
    """A range of time that was told of somebody's place, and how long they did wait.

    `foretold_seconds` is what the numbers alone said, and counts only while the cohort is open.
    """

    __tablename__ = "estimates"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    entry_id: Mapped[int] = mapped_column(ForeignKey("entries.id", ondelete="CASCADE"))
    cohort_id: Mapped[int] = mapped_column(ForeignKey("cohorts.id"))
    made_at: Mapped[datetime] = mapped_column(Moment)
    ahead: Mapped[int] = mapped_column(Id)
    low_seconds: Mapped[float]
    middle_seconds: Mapped[float]
    high_seconds: Mapped[float]
    foretold_seconds: Mapped[float]
    settings_mark: Mapped[str] = mapped_column(String(32))
    waited_seconds: Mapped[float | None]
    settings_changed: Mapped[bool] = mapped_column(default=False)
    scored_at: Mapped[datetime | None] = mapped_column(Moment)
    __table_args__ = (Index("estimates_entry", "entry_id"), NEVER_REUSED)
