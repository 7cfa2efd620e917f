"""The audit: who changed what from which value to which, and why. Only ever added to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from waitlist.extensions import db
from waitlist.models import Audit


def record(
    action: str,
    subject: str,
    *,
    actor: str,
    now: datetime,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str = "",
) -> None:
    """Add a line in the caller's transaction. `subject` names a row by id, never an address."""
    db.session.add(
        Audit(
            at=now,
            actor=actor,
            action=action,
            subject=subject,
            before=before or {},
            after=after or {},
            reason=reason,
        )
    )
