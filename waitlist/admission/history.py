"""What the gate was set to, when and why: read from the audit, which is only ever added to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select

from waitlist.admission import controls
from waitlist.extensions import db
from waitlist.models import Audit, Gate


class GateChange(NamedTuple):
    """One change of the gate, and the version that it made."""

    version: int
    at: datetime
    actor: str
    reason: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The change as JSON, its time in RFC 3339."""
        return {**self._asdict(), "at": self.at.isoformat()}


def changes() -> list[GateChange]:
    """Every change of the gate, the newest first."""
    version = db.session.scalar(select(Gate.version)) or 0
    newest_first = select(Audit).where(Audit.subject == "gate").order_by(Audit.id.desc())
    return [
        GateChange(version - nth, row.at, row.actor, row.reason, row.before, row.after)
        for nth, row in enumerate(db.session.scalars(newest_first))
    ]


def settings_at(moment: datetime) -> dict[str, Any]:
    """All that can be set of the gate, as it was then: today's, with what came since undone."""
    values = controls.of(db.session.scalars(select(Gate)).one())
    for change in changes():
        if change.at <= moment:
            break
        values |= change.before
    return values
