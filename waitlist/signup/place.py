"""What is shown of a place, and of the line: one function for every number that people see."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from waitlist import policy, projection
from waitlist.errors import LineUnavailable
from waitlist.extensions import db
from waitlist.models import Cohort, Entry, Gate, Invitation


@dataclass(frozen=True)
class ShownPlace:
    """A place as its page shows it. `position` None while waiting: the number follows."""

    state: str
    position: int | None
    length: int | None
    rounded: bool
    paused: bool
    closed: bool
    opens_at: datetime | None
    expires_at: datetime | None
    suppressed: bool

    def as_json(self) -> dict[str, Any]:
        """The place as JSON, times in RFC 3339."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
        }


def of(entry: Entry, *, now: datetime) -> ShownPlace:
    """Where this person stands now; without the number where Redis can't tell it."""
    position, length = projection.place_of(entry)
    cohort = entry.cohort
    return ShownPlace(
        state=entry.state,
        position=None if position is None else policy.shown_position(position),
        length=None if length is None else policy.shown_position(length),
        rounded=position is not None and position >= policy.EXACT_BELOW,
        paused=bool(db.session.scalar(select(Gate.paused))),
        closed=not cohort.is_open(now),
        opens_at=cohort.opens_at if not cohort.is_open(now) else None,
        expires_at=_expires_at(entry),
        suppressed=entry.suppressed_at is not None,
    )


def public_figures() -> dict[str, Any]:
    """How many confirmed people wait, rounded, and whether the gate is paused."""
    paused = bool(db.session.scalar(select(Gate.paused)))
    ids = db.session.scalars(select(Cohort.id)).all()
    try:
        waiting = sum(projection.of_cohort(cohort_id).length() for cohort_id in ids)
    except LineUnavailable:
        return {"waiting": None, "paused": paused}
    return {"waiting": policy.shown_position(waiting), "paused": paused}


def _expires_at(entry: Entry) -> datetime | None:
    return db.session.scalar(
        select(Invitation.expires_at).where(
            Invitation.entry_id == entry.id, Invitation.state == "open"
        )
    )
