"""Sending what the outbox owes, and what a mail's acceptance sets going.

Every lifetime runs from the moment the mail server took the mail: an unsent invitation,
confirmation or action link has no deadline.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import structlog
from flask_mail import Message as Mail
from redis.exceptions import RedisError
from sqlalchemy import select, update

from waitlist import extensions, links, mailer, outbox, policy, projection, seats
from waitlist.errors import LineUnavailable
from waitlist.extensions import db, reading, settings
from waitlist.failpoints import failpoint
from waitlist.mailer import Answer, Outcome
from waitlist.models import Entry, Invitation, Message, Registration
from waitlist.outbox import Leased
from waitlist.tokens import Purpose

log = structlog.get_logger()
ACT_WITHIN = timedelta(minutes=30)
STANDING_STATES = ("waiting", "invited", "registered")
PROBE_EVERY = 15  # seconds between two tries of a mail server that is away
AWAY_KEY = "waitlist:mail:away"


def deliver(clock: Callable[[], datetime], *, until: datetime) -> bool:
    """Send what is due, one mail after the other, until `until`; whether some may be left."""
    outbox.reclaim(now=clock())
    with mailer.post_office() as route:
        while clock() < until:
            leased = outbox.lease(now=clock())
            if leased is None:
                return False
            failpoint("mail.leased")
            if not _deliver_one(leased, route, clock):
                return False
    return True


def server_is_away() -> bool:
    """Whether the mail server failed within the last quarter of a minute."""
    try:
        return bool(extensions.redis().exists(AWAY_KEY))
    except RedisError:
        return False


class _Letter(NamedTuple):
    """A leased message, read from SQL and composed; `mail` None if it must not go any more."""

    kind: str
    entry_id: int
    cohort_id: int
    invitation_id: int | None
    to: str
    mail: Mail | None


def _deliver_one(leased: Leased, route: mailer.Route, clock: Callable[[], datetime]) -> bool:
    """Send one leased mail and mark it; False if the mail server is away."""
    with reading():  # no transaction stays open while the server is talked to
        letter = _read(leased, now=clock())
    if letter.mail is None:
        outbox.mark(leased, state="cancelled", now=clock(), reason="no longer true")
        db.session.commit()
        return True
    answer = route.deliver(letter.mail, letter.to)
    failpoint("mail.accepted")
    _settle(leased, letter, answer, now=clock())
    return answer.outcome is not Outcome.AWAY


def _read(leased: Leased, *, now: datetime) -> _Letter:
    message = db.session.get_one(Message, leased.id)
    entry, invitation = message.entry, message.invitation
    closed = invitation is not None and invitation.state != "open"
    outdated = message.kind == "standing" and entry.state not in STANDING_STATES
    mail = None if closed or outdated else _compose(message, now=now)
    ids = (entry.id, entry.cohort_id, message.invitation_id)
    return _Letter(message.kind, *ids, entry.mail_to, mail)


def _compose(message: Message, *, now: datetime) -> Mail:
    return mailer.compose(
        message.kind,
        to=message.entry.mail_to,
        locale=message.entry.locale,
        message_id=message.id,
        written_at=message.created_at,
        context=_context(message, now=now),
    )


def _settle(leased: Leased, letter: _Letter, answer: Answer, *, now: datetime) -> None:
    match answer.outcome:
        case Outcome.SENT:
            if outbox.mark(leased, state="sent", now=now):
                _start_lifetime(leased, letter, now=now)
        case Outcome.REFUSED:
            _bounce(leased, letter, answer, now=now)
        case Outcome.AWAY:
            outbox.put_back(leased, now=now, reason=f"away: {answer.words}", delay=False)
        case Outcome.LATER | Outcome.UNKNOWN:
            outbox.put_back(leased, now=now, reason=f"{answer.outcome}: {answer.words}")
    db.session.commit()
    if answer.outcome is Outcome.AWAY:
        _remember_away()
    log.info("mail", message=leased.id, kind=letter.kind, outcome=str(answer.outcome))


def _start_lifetime(leased: Leased, letter: _Letter, *, now: datetime) -> None:
    match letter.kind:
        case "invitation":
            db.session.execute(
                update(Invitation)
                .where(Invitation.id == letter.invitation_id, Invitation.expires_at.is_(None))
                .values(mailed_at=now, expires_at=now + settings().invite_within)
            )
        case "confirm":
            db.session.execute(
                update(Entry)
                .where(Entry.id == letter.entry_id, Entry.state == "pending")
                .values(confirm_by=now + settings().confirm_within)
            )
        case "act":
            db.session.execute(
                update(Message).where(Message.id == leased.id).values(expires_at=now + ACT_WITHIN)
            )


def _bounce(leased: Leased, letter: _Letter, answer: Answer, *, now: datetime) -> None:
    """The address can't be mailed: suppress it, and give an invitation's seat back."""
    if letter.invitation_id is not None:
        seats.lock()
    if not outbox.mark(leased, state="bounced", now=now, reason=answer.words):
        return
    if letter.invitation_id is not None:
        seats.give_back([letter.invitation_id], as_="revoked", entries_as="waiting", now=now)
    db.session.execute(update(Entry).where(Entry.id == letter.entry_id).values(suppressed_at=now))
    projection.note(letter.cohort_id, [letter.entry_id])


def _remember_away() -> None:
    try:
        extensions.redis().set(AWAY_KEY, "1", ex=PROBE_EVERY)
    except RedisError:
        log.warning("mail server away, and Redis too")


def _context(message: Message, *, now: datetime) -> dict[str, Any]:
    """What the templates of this kind say."""
    entry = message.entry
    context: dict[str, Any] = {
        "name": entry.name,
        "place_link": links.to_entry(Purpose.PLACE, entry),
        "product_url": settings().product_url,
    }
    return context | _CONTEXTS[message.kind](message, now)


def _confirm(message: Message, _now: datetime) -> dict[str, Any]:
    return {
        "link": links.to_entry(Purpose.CONFIRM, message.entry),
        "within_hours": hours(settings().confirm_within),
    }


def _invitation(message: Message, _now: datetime) -> dict[str, Any]:
    assert message.invitation is not None
    return {
        "link": links.to_invitation(message.invitation),
        "within_hours": hours(settings().invite_within),
    }


def _standing(message: Message, now: datetime) -> dict[str, Any]:
    entry, invitation = message.entry, latest_invitation(message.entry_id)
    invited = invitation is not None and invitation.state == "open"
    position = _position(entry)
    return {
        "state": entry.state,
        "position": position and policy.shown_position(position),
        "rounded": bool(position and position >= policy.EXACT_BELOW),
        "as_of": now,
        "sign_in_url": settings().product_url,
        "invite_link": links.to_invitation(invitation) if invitation and invited else None,
        "expires_at": invitation.expires_at if invitation and invited else None,
    }


def _renewal(message: Message, _now: datetime) -> dict[str, Any]:
    invitation = latest_invitation(message.entry_id)
    assert invitation is not None
    return {"link": links.to_invitation(invitation)}


def _undo(message: Message, now: datetime) -> dict[str, Any]:
    left_at = message.entry.left_at or now
    return {
        "link": links.to_entry(Purpose.UNDO, message.entry),
        "until": left_at + policy.UNDO_WITHIN,
        "keeps_place": now <= left_at + policy.UNDO_WITHIN,
    }


def _act(message: Message, _now: datetime) -> dict[str, Any]:
    return {"link": links.to_act(message), "within_minutes": int(ACT_WITHIN.total_seconds() // 60)}


def _welcome(message: Message, _now: datetime) -> dict[str, Any]:
    registration = db.session.scalars(
        select(Registration).where(Registration.entry_id == message.entry_id)
    ).one()
    return {"handle": registration.handle, "address": message.entry.address}


_CONTEXTS: dict[str, Callable[[Message, datetime], dict[str, Any]]] = {
    "confirm": _confirm,
    "invitation": _invitation,
    "standing": _standing,
    "renewal": _renewal,
    "come_back": _undo,
    "left": _undo,
    "act": _act,
    "welcome": _welcome,
}


def latest_invitation(entry_id: int) -> Invitation | None:
    """The newest invitation of a person, in whatever state."""
    return db.session.scalars(
        select(Invitation).where(Invitation.entry_id == entry_id).order_by(Invitation.id.desc())
    ).first()


def hours(duration: timedelta) -> int:
    """A duration in whole hours."""
    return int(duration.total_seconds() // 3600)


def _position(entry: Entry) -> int | None:
    if entry.state != "waiting":
        return None
    try:
        return projection.of_cohort(entry.cohort_id).place(entry.id).position
    except LineUnavailable:
        return None
