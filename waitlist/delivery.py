"""Sending what the outbox owes, and what a mail's acceptance sets going.

Every lifetime runs from the moment the mail server took the mail: an unsent invitation,
confirmation or action link has no deadline.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog
from flask_mail import Message as Mail
from redis.exceptions import RedisError
from sqlalchemy import update

from waitlist import extensions, letters, mailer, outbox, policy, projection, seats
from waitlist.extensions import db, reading, settings
from waitlist.failpoints import failpoint
from waitlist.mailer import Answer, Outcome
from waitlist.models import Entry, Invitation, Message
from waitlist.outbox import Leased

log = structlog.get_logger()
GIVE_UP_AFTER = timedelta(days=5)  # of "refused for now" (RFC 5321, section 4.5.4.1)
MOST_UNKNOWN = 2  # tries cut off before the answer, after which the mail counts as taken
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
    created_at: datetime
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
    return _Letter(
        message.kind, entry.id, message.created_at, message.invitation_id, entry.mail_to, mail
    )


def _compose(message: Message, *, now: datetime) -> Mail:
    return mailer.compose(
        message.kind,
        to=message.entry.mail_to,
        locale=message.entry.locale,
        message_id=message.id,
        written_at=message.created_at,
        context=letters.context(message, now=now),
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
        case Outcome.LATER if now - letter.created_at >= GIVE_UP_AFTER:
            _bounce(leased, letter, answer, now=now)
        case Outcome.UNKNOWN if leased.attempts >= MOST_UNKNOWN:
            if outbox.mark(leased, state="sent", now=now, reason="presumed taken"):
                _start_lifetime(leased, letter, now=now)
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
                .where(Entry.id == letter.entry_id, Entry.confirm_by.is_(None))
                .values(confirm_by=now + settings().confirm_within)
            )
        case "act":
            db.session.execute(
                update(Message)
                .where(Message.id == leased.id)
                .values(expires_at=now + policy.ACT_WITHIN)
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
    outbox.cancel(Message.entry_id == letter.entry_id, reason="address suppressed")
    projection.note_people([letter.entry_id])


def _remember_away() -> None:
    try:
        extensions.redis().set(AWAY_KEY, "1", ex=PROBE_EVERY)
    except RedisError:
        log.warning("mail server away, and Redis too")
