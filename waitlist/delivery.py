"""Sending what the outbox owes, and what a mail's acceptance sets going.

Every lifetime runs from the moment the mail server took the mail: an unsent invitation,
confirmation or action link has no deadline.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog
from redis.exceptions import RedisError
from sqlalchemy import select, update
from sqlalchemy.orm import joinedload

from waitlist import (
    accepted,
    copying,
    extensions,
    letters,
    mailer,
    outbox,
    policy,
    projection,
    seats,
)
from waitlist.extensions import db, reading, rows_changed, settings
from waitlist.failpoints import failpoint
from waitlist.mailer import Answer, Outcome, Route
from waitlist.models import Entry, Invitation, Message
from waitlist.outbox import Leased
from waitlist.rows import ids

log = structlog.get_logger()
GIVE_UP_AFTER = timedelta(days=5)  # of "refused for now" (RFC 5321, section 4.5.4.1)
MOST_UNKNOWN = 2  # tries cut off before the answer, after which the mail counts as taken
STANDING_STATES = ("waiting", "invited", "registered")
PROBE_EVERY = 15  # seconds between two tries of a mail server that is away
AWAY_KEY = "waitlist:mail:away"
GROUP = 20  # mails that are leased, and marked, together
FRESH = 0.05  # seconds for which what SQL said of a mail is believed, and SQL isn't told of it
LEASE_LEFT = outbox.LEASE - mailer.LONGEST  # after which no mail of a group is begun


def deliver(clock: Callable[[], datetime], *, until: datetime) -> bool:
    """Send what is due, one mail after the other, until `until`; whether some may be left."""
    _take_over(now=clock())
    with mailer.post_office() as route:
        while clock() < until:
            leased = outbox.lease(now=clock(), most=GROUP)
            if not leased:
                return False
            failpoint("mail.leased")
            if not _deliver_group(leased, route, clock, until=until):
                return False
    return True


def _take_over(*, now: datetime) -> None:
    """Settle what a worker left who didn't come back: what the server took, and what it didn't."""
    with reading():
        left = outbox.overdue(now=now)
        taken = accepted.noted(left)
        letters = _read(sorted(taken), now=now)
    _sent(letters, now=now)
    outbox.reclaim([one for one in left if one not in letters])
    db.session.commit()


def server_is_away() -> bool:
    """Whether the mail server failed within the last quarter of a minute."""
    try:
        return bool(extensions.redis().exists(AWAY_KEY))
    except RedisError:
        return False


class _Letter(NamedTuple):
    """A leased message, read from SQL; `mail` is None if it must not go any more."""

    kind: str
    entry_id: int
    created_at: datetime
    invitation_id: int | None
    to: str
    mail: bytes | None


class _Owed(NamedTuple):
    """An answer that SQL isn't told yet."""

    leased: Leased
    letter: _Letter
    answer: Answer


def _deliver_group(
    leased: Sequence[Leased], route: Route, clock: Callable[[], datetime], *, until: datetime
) -> bool:
    """Send these and mark them, together; False if the mail server is away.

    What takes long is told from what SQL said a moment ago: past `FRESH` the rest is read
    again, since it may have been revoked, and what was sent is marked at once. When the lease
    could run out, or the time is over, the rest goes back.
    """
    begun, read_at = clock(), time.monotonic()
    letters = _letters(leased, now=begun)
    owed: list[_Owed] = []
    for done, one in enumerate(leased):
        if clock() >= min(until, begun + LEASE_LEFT):
            return _give_back(leased[done:], owed, now=clock())
        if time.monotonic() - read_at > FRESH:
            _tell(owed, now=clock())
            letters, read_at = _letters(leased[done:], now=clock()), time.monotonic()
        answer = _hand_over(letters[one], route)
        owed.append(_Owed(one, letters[one], answer))
        if answer.outcome is Outcome.AWAY:
            _give_back(leased[done + 1 :], owed, now=clock())
            return False
        if answer.outcome is Outcome.REFUSED:
            read_at = 0.0  # of the rest some may be to the same person
        if answer.outcome is Outcome.SENT:
            failpoint("mail.accepted")
            if not accepted.note(one):
                _tell(owed, now=clock())
    failpoint("mail.before-mark")
    _tell(owed, now=clock())
    return True


def _give_back(rest: Sequence[Leased], owed: list[_Owed], *, now: datetime) -> bool:
    _tell(owed, now=now)
    outbox.hand_back(rest, now=now)
    return True


def _letters(leased: Sequence[Leased], *, now: datetime) -> dict[Leased, _Letter]:
    with reading():  # no transaction stays open while the server is talked to
        return _read(leased, now=now)


def _read(leased: Sequence[Leased], *, now: datetime) -> dict[Leased, _Letter]:
    found = (
        select(Message)
        .where(Message.id.in_([one.id for one in leased]))
        .options(joinedload(Message.entry), joinedload(Message.invitation))
        .execution_options(populate_existing=True)
    )
    messages = {message.id: message for message in db.session.scalars(found)}
    return {one: _letter(messages[one.id], one.lease, now=now) for one in leased}


def _letter(message: Message, lease: int, *, now: datetime) -> _Letter:
    entry, invitation = message.entry, message.invitation
    closed = invitation is not None and invitation.state != "open"
    outdated = message.kind == "standing" and entry.state not in STANDING_STATES
    lost = message.state != "sending" or message.lease != lease
    unwanted = closed or outdated or lost or entry.suppressed_at is not None
    mail = None if unwanted else _compose(message, now=now)
    return _Letter(
        message.kind, entry.id, message.created_at, message.invitation_id, entry.mail_to, mail
    )


def _compose(message: Message, *, now: datetime) -> bytes:
    return copying.copy(
        message.kind,
        to=message.entry.mail_to,
        locale=message.entry.locale,
        message_id=message.id,
        written_at=message.created_at,
        context=letters.context(message, now=now),
    )


def _hand_over(letter: _Letter, route: Route) -> Answer:
    if letter.mail is None:
        return Answer(Outcome.UNSENT)
    return route.deliver(letter.mail, letter.to)


def _tell(owed: list[_Owed], *, now: datetime) -> None:
    """Tell SQL of these answers, by one transaction; then nothing is owed."""
    for one in owed:
        if one.answer.outcome not in (Outcome.SENT, Outcome.UNSENT):
            _settle(*one, now=now)  # first, since one of these may take the gate's lock
    _sent({one.leased: one.letter for one in owed if one.answer.outcome is Outcome.SENT}, now=now)
    for one in owed:
        if one.answer.outcome is Outcome.UNSENT:
            outbox.mark(one.leased, state="cancelled", now=now, reason="no longer true")
    if owed:
        db.session.commit()
    if any(one.answer.outcome is Outcome.AWAY for one in owed):
        _remember_away()
    _log(owed)
    owed.clear()


def _log(owed: Sequence[_Owed]) -> None:
    """A line for each outcome of a kind, with the messages that had it."""
    told: dict[tuple[str, str], list[int]] = {}
    for leased, letter, answer in owed:
        told.setdefault((letter.kind, str(answer.outcome)), []).append(leased.id)
    for (kind, outcome), messages in told.items():
        log.info("mail", messages=messages, kind=kind, outcome=outcome)


def _sent(letters: Mapping[Leased, _Letter], *, now: datetime) -> None:
    if letters:
        marked = outbox.mark_sent(list(letters), now=now)
        _start_lifetimes({one.id: letters[one] for one in letters if one.id in marked}, now=now)


def _settle(leased: Leased, letter: _Letter, answer: Answer, *, now: datetime) -> None:
    match answer.outcome:
        case Outcome.REFUSED:
            _bounce(leased, letter, answer, now=now)
        case Outcome.AWAY:
            outbox.put_back(leased, now=now, reason=f"away: {answer.words}", delay=False)
        case Outcome.LATER if now - letter.created_at >= GIVE_UP_AFTER:
            _bounce(leased, letter, answer, now=now)
        case Outcome.UNKNOWN if leased.attempts >= MOST_UNKNOWN:
            if outbox.mark(leased, state="sent", now=now, reason="presumed taken"):
                _start_lifetimes({leased.id: letter}, now=now)
        case Outcome.LATER | Outcome.UNKNOWN:
            outbox.put_back(leased, now=now, reason=f"{answer.outcome}: {answer.words}")


def _start_lifetimes(letters: Mapping[int, _Letter], *, now: datetime) -> None:
    """What runs from the mail's acceptance begins to run; by message."""
    by_kind: dict[str, list[tuple[int, _Letter]]] = {}
    for message_id, letter in letters.items():
        by_kind.setdefault(letter.kind, []).append((message_id, letter))
    if sent := by_kind.get("invitation"):
        theirs = Invitation.id.in_(ids(letter.invitation_id or 0 for _, letter in sent))
        within = {"mailed_at": now, "expires_at": now + settings().invite_within}
        rows_changed(
            update(Invitation).where(theirs, Invitation.expires_at.is_(None)).values(within)
        )
    if sent := by_kind.get("confirm"):
        theirs = Entry.id.in_(ids(letter.entry_id for _, letter in sent))
        until = now + settings().confirm_within
        rows_changed(
            update(Entry).where(theirs, Entry.confirm_by.is_(None)).values(confirm_by=until)
        )
    if sent := by_kind.get("act"):
        until = now + policy.ACT_WITHIN
        these = Message.id.in_(ids(message_id for message_id, _ in sent))
        rows_changed(update(Message).where(these).values(expires_at=until))


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
