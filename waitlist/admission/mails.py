"""How mail stands, as an operator sees it: the budgets, what is held, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select

from waitlist import leasing, postage, undelivered
from waitlist.extensions import db, settings
from waitlist.models import Gate, Invitation, Message
from waitlist.outbox import PRIORITIES
from waitlist.policy import mailing, routes
from waitlist.postage import Postage

LOOKED_AT = 1_000  # mails that came back last, of which the wave is told
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RouteView:
    """By which server mail goes now, what operators set (auto: by itself), since when, and why.

    `failing_since` if no mail could go by it; `taken` and `refused` of what it was asked lately.
    """

    in_force: str
    set_to: str
    has_second: bool
    since: str | None
    why: str
    failing_since: str | None
    taken: int
    refused: int


@dataclass(frozen=True)
class MailView:
    """The budgets of mail, in mails; None where there is no bound. `waits_until` if none may go.

    `dead` can't go on by themselves; `oldest_due_at` is since when the oldest is due.
    """

    sent_today: int
    most_today: int | None
    left_today: int | None
    a_minute: int
    left_now: int
    waits_until: str | None
    held: list[str]
    dead: int
    oldest_due_at: str | None
    route: RouteView


@dataclass(frozen=True)
class BouncesView:
    """What became of the invitations mailed lately; `state` is well, slowed or stopped.

    `wave` is the one of which most came back since an operator last looked, if any did.
    """

    state: str
    sent: int
    bounced: int
    later: int
    stopped_at: str | None
    wave: int | None
    wave_bounced: int


def route(mail: Postage) -> RouteView:
    """By which server mail goes."""
    by_itself = mail.route_set == routes.AUTO and postage.has_second()
    seen = mail.seen
    return RouteView(
        in_force=mail.route,
        set_to=mail.route_set,
        has_second=postage.has_second(),
        since=_iso(seen.since),
        why=seen.why if by_itself else "",
        failing_since=_iso(seen.failing_since) if by_itself else None,
        taken=round(seen.taken) if by_itself else 0,
        refused=round(seen.refused) if by_itself else 0,
    )


def budgets(mail: Postage, *, now: datetime) -> MailView:
    """What went and may go, and by which server."""
    pace, spent = mail.pace, mail.spent
    assert spent.day is not None
    until = mailing.waits_until(pace, spent)
    return MailView(
        sent_today=spent.sent_today,
        most_today=mailing.most_on(pace, spent.day, spent.first_day),
        left_today=mailing.left_today(pace, spent),
        a_minute=settings().mail_per_minute,
        left_now=mailing.grant(pace, spent).mails,
        waits_until=_iso(until),
        held=sorted(mail.held),
        dead=undelivered.dead(),
        oldest_due_at=_iso(leasing.oldest_due(mail.held, now=now)),
        route=route(mail),
    )


def bounces(mail: Postage, gate: Gate) -> BouncesView:
    """What came back, and of which wave."""
    wave, many = _worst_wave(gate.bounces_since or LONG_AGO)
    seen = mail.outcomes
    return BouncesView(
        state=_state(mail),
        sent=round(seen.sent),
        bounced=round(seen.bounced),
        later=round(seen.later),
        stopped_at=_iso(mail.stopped_at),
        wave=wave,
        wave_bounced=many,
    )


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _state(mail: Postage) -> str:
    if mail.stopped_at is not None:
        return "stopped"
    return "slowed" if mail.many_bounce else "well"


def _worst_wave(since: datetime) -> tuple[int | None, int]:
    came_back = (
        select(Message.invitation_id)
        .where(
            Message.state == "bounced",
            Message.priority == PRIORITIES["invitation"],
            Message.due_at >= since,
        )
        .order_by(Message.due_at.desc(), Message.id.desc())
        .limit(LOOKED_AT)
        .subquery()
    )
    many = func.count().label("many")
    worst = db.session.execute(
        select(Invitation.wave_id, many)
        .join(came_back, came_back.c.invitation_id == Invitation.id)
        .group_by(Invitation.wave_id)
        .order_by(many.desc(), Invitation.wave_id.desc())
        .limit(1)
    ).first()
    return (worst.wave_id, worst.many) if worst else (None, 0)
