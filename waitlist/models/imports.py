"""Files of people."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from waitlist.extensions import db
from waitlist.models.base import NEVER_REUSED, Id, Moment, new_nonce
from waitlist.models.line import Cohort


class Import(db.Model):  # type: ignore[name-defined, misc]
    """One file of people, and how far it got: reading → entering → done, or undone.

    Meanwhile `accepted`, `duplicate` and `upgraded` count the rows that left the staging.
    """

    __tablename__ = "imports"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), index=True)
    filename: Mapped[str] = mapped_column(String(255))
    cohort_id: Mapped[int] = mapped_column(ForeignKey("cohorts.id"))
    cohort: Mapped[Cohort] = relationship()
    state: Mapped[str] = mapped_column(String(10), default="reading")
    in_order: Mapped[bool | None]
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
    """A row of a file: staged while reading, gone once it is in the line or a duplicate.

    `nth` counts the people of the file up to this row. Where they aren't in the order in which
    they joined, `place` counts them in that order.
    """

    __tablename__ = "import_rows"
    import_id: Mapped[int] = mapped_column(
        ForeignKey("imports.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    outcome: Mapped[str] = mapped_column(String(10), default="staged")
    reason: Mapped[str] = mapped_column(String(200), default="")
    upgraded: Mapped[bool] = mapped_column(default=False)
    nth: Mapped[int | None]
    place: Mapped[int | None]
    nonce: Mapped[str] = mapped_column(String(16), default=new_nonce)
    address: Mapped[str] = mapped_column(Text, default="")
    address_key: Mapped[str] = mapped_column(String(254), default="")
    mail_to: Mapped[str] = mapped_column(String(254), default="")
    name: Mapped[str] = mapped_column(String(200), default="")
    locale: Mapped[str] = mapped_column(String(12), default="en")
    attributes: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    joined_at: Mapped[datetime | None] = mapped_column(Moment)
    __table_args__ = (
        Index(
            "import_rows_place",
            "import_id",
            "place",
            sqlite_where=text("place IS NOT NULL"),
            postgresql_where=text("place IS NOT NULL"),
        ),
        Index(
            "import_rows_rejected",
            "import_id",
            "address_key",
            sqlite_where=text("outcome = 'rejected'"),
            postgresql_where=text("outcome = 'rejected'"),
        ),
    )
