"""How waves by hand stand: what was asked, and what has become of those they admitted."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from waitlist.admission import plans, recall
from waitlist.extensions import db
from waitlist.models import Cohort, Invitation, Message, Wave
from waitlist.policy.reports import TAKEN

MOST_LISTED = 50


@dataclass(frozen=True)
class WaveView:
    """A wave as an operator sees it. `cohort` None: of all that are open, or of a list."""

    id: int
    state: str
    by_list: bool
    cohort: str | None
    asked: int
    admitted: int
    at: datetime
    starts_at: datetime | None
    over_seconds: int | None
    mails_from: datetime | None
    actor: str
    reason: str
    note: str

    def as_json(self) -> dict[str, Any]:
        """The view as JSON."""
        found = asdict(self)
        return {key: _plain(value) for key, value in found.items()}


@dataclass(frozen=True)
class Progress:
    """What has become of those whom a wave admitted; of a re-issue the newest counts."""

    to_mail: int
    mailed: int
    completed: int
    bounced: int
    lapsed: int
    back: int  # in line, by a recall or because they left


def listed() -> list[WaveView]:
    """The newest waves by hand, the newest first."""
    rows = db.session.execute(
        select(Wave, Cohort.name)
        .outerjoin(Cohort, Cohort.id == Wave.cohort_id)
        .where(Wave.asked > 0)
        .order_by(Wave.id.desc())
        .limit(MOST_LISTED)
    )
    return [_view(wave, cohort) for wave, cohort in rows]


def show(wave_id: int) -> tuple[WaveView, Progress]:
    """One wave and its progress; `WaveUnknown`."""
    wave = recall.find(wave_id)
    cohort = db.session.get_one(Cohort, wave.cohort_id).name if wave.cohort_id else None
    return _view(wave, cohort), _progress(wave_id)


def _view(wave: Wave, cohort: str | None) -> WaveView:
    at_once = plans.is_at_once(wave)
    return WaveView(
        id=wave.id,
        state=wave.state,
        by_list=wave.by_list,
        cohort=cohort,
        asked=wave.asked,
        admitted=wave.admitted,
        at=wave.at,
        starts_at=wave.at if at_once else wave.starts_at,
        over_seconds=wave.over_seconds or None,
        mails_from=wave.mails_from,
        actor=wave.actor,
        reason=wave.reason,
        note=wave.note,
    )


def _progress(wave_id: int) -> Progress:
    rows = db.session.execute(
        select(Invitation.state, Message.state, func.count())
        .join(Message, recall.its_mail())
        .where(Invitation.wave_id == wave_id, Invitation.state != "superseded")
        .group_by(Invitation.state, Message.state)
    )
    by_invitation, by_mail, back = Counter[str](), Counter[str](), 0
    for invitation, mail, people in rows:
        by_invitation[invitation] += people
        by_mail[mail] += people
        back += people if invitation == "revoked" and mail != "bounced" else 0
    return Progress(
        to_mail=by_mail["queued"] + by_mail["sending"] + by_mail["dead"],
        mailed=sum(by_mail[state] for state in TAKEN),
        completed=by_invitation["used"],
        bounced=by_mail["bounced"],
        lapsed=by_invitation["expired"],
        back=back,
    )


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
