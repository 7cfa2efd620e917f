"""What was leased, as letters: read from SQL by one statement, and written.

As columns: objects of three tables took as long to load as a mail takes to send.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Executable, Row, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Bundle

from waitlist import copying, letters, returnpath
from waitlist.config import ROOT
from waitlist.extensions import db, settings
from waitlist.models import Cohort, Entry, Invitation, Message
from waitlist.outbox import Leased
from waitlist.policy import deadlines, hours
from waitlist.route import Envelope
from waitlist.rows import Given

TRUE_OF = {  # kinds of mail that are true only of people in these states
    "standing": ("waiting", "invited", "registered"),
    "apology": ("waiting",),
    "sorry": ("invited", "waiting"),
    "lapsed": ("lapsed",),
    "welcome": ("registered",),
}
OURS = (f"{ROOT}/waitlist/", f"{ROOT}/templates/")
LOOK_AGAIN = timedelta(minutes=1)
BY_HOURS = ("invitation",)  # nobody asked for it just now, so it keeps to its cohort's hours

MESSAGE = [
    *(Message.id, Message.kind, Message.state, Message.lease, Message.nonce),
    *(Message.created_at, Message.refused_since, Message.entry_id, Message.invitation_id),
]
ENTRY: Bundle[Any] = Bundle(
    "entry",
    *(Entry.id, Entry.nonce, Entry.state, Entry.cohort_id, Entry.suppressed_at),
    *(Entry.name, Entry.locale, Entry.address, Entry.mail_to),
    *(Entry.left_at, Entry.confirmed_at, Entry.renewals),
)
COHORT: Bundle[Any] = Bundle("cohort", Cohort.hours, Cohort.timezone)
INVITATION: Bundle[Any] = Bundle(
    "invitation",
    *(Invitation.id, Invitation.nonce, Invitation.generation, Invitation.state),
    Invitation.expires_at,
)


class Letter(NamedTuple):
    """A leased message, read from SQL; `mail` is None if it must not go now.

    Then `waits_until` tells when it may, or `fault` why it can't be written; if neither does,
    it must not go any more.
    """

    kind: str
    entry_id: int
    refused_since: datetime | None
    invitation_id: int | None
    to: Envelope
    mail: bytes | None
    waits_until: datetime | None = None
    fault: str = ""


def read(leased: Iterable[Leased], *, now: datetime) -> dict[Leased, Letter]:
    """The letter of each of these messages, as SQL has them now; of one that is gone, nothing."""
    leased = list(leased)
    wanted, found = _found(db.engine.dialect.name)
    rows = db.session.execute(found, wanted.values((one.id,) for one in leased))
    messages = {message.id: message for message in rows}
    return {
        one: _letter(messages[one.id], one.lease, now=now) for one in leased if one.id in messages
    }


@cache
def _found(dialect: str) -> tuple[Given, Executable]:
    """Each of the given messages, with its `entry`, `cohort`, and `invitation`: of None if none."""
    wanted = Given(dialect, "wanted", id=BigInteger())
    return wanted, (
        select(*MESSAGE, ENTRY, COHORT, INVITATION)
        .select_from(Message)
        .join(Entry, Entry.id == Message.entry_id)
        .join(Cohort, Cohort.id == Entry.cohort_id)
        .outerjoin(Invitation, Invitation.id == Message.invitation_id)
        .where(Message.id.in_(select(wanted.c.id)))
    )


def _letter(message: Row[Any], lease: int, *, now: datetime) -> Letter:
    entry, invitation = message.entry, message.invitation
    closed = invitation.id is not None and _is_over(invitation, now=now)
    outdated = entry.state not in TRUE_OF.get(message.kind, (entry.state,))
    outdated |= entry.state == "removed"
    lost = message.state != "sending" or message.lease != lease
    unwanted = closed or outdated or lost or entry.suppressed_at is not None
    invitation_id, to = message.invitation_id, Envelope(entry.mail_to, _sender(message))
    letter = Letter(message.kind, entry.id, message.refused_since, invitation_id, to, None)
    return letter if unwanted else _written(letter, message, now=now)


def _written(letter: Letter, message: Row[Any], *, now: datetime) -> Letter:
    """The letter with its mail; or with why it can't have one, which mustn't stop the others."""
    try:
        if waits_until := _waits_until(message, now=now):
            return letter._replace(waits_until=waits_until)
        return letter._replace(mail=_compose(message, now=now))
    except DBAPIError:
        raise  # SQL is away, which is the fault of no mail
    except Exception as error:  # noqa: BLE001  templates may raise anything
        return letter._replace(fault=_fault(error))


def _fault(error: Exception) -> str:
    """What was raised, and where; not its words, which may be somebody's."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(OURS)]
    where = ours[-1] if ours else frames[-1]
    place = where.filename.removeprefix(f"{ROOT}/")
    return f"{type(error).__name__} at {place}:{where.lineno}"


def _is_over(invitation: Row[Any], *, now: datetime) -> bool:
    """Whether its link opens no form any more."""
    late = deadlines.deadline_passed(invitation.expires_at, None, now)
    return invitation.state != "open" or late


def _waits_until(message: Row[Any], *, now: datetime) -> datetime | None:
    """When the hours of its cohort begin, if a mail keeps to them and they aren't now.

    What tells of an invitation waits for the invitation's own mail: it might be recalled yet.
    """
    if message.kind == "standing" and message.entry.state == "invited":
        invitation = letters.latest_invitation(message.entry_id)
        mailed = invitation is None or invitation.mailed_at is not None
        return None if mailed else now + LOOK_AGAIN
    if message.kind not in BY_HOURS or message.cohort.hours is None:
        return None
    at = hours.next_moment(message.cohort.hours, message.cohort.timezone, now)
    return at if at > now else None


def _sender(message: Row[Any]) -> str:
    """Whom this mail goes back to if it can't be delivered."""
    of = settings()
    if of.mail_return is None:
        return of.mail_from
    return returnpath.address(of.secret_keys, of.mail_return, message.id, message.nonce)


def _compose(message: Row[Any], *, now: datetime) -> bytes:
    return copying.copy(
        message.kind,
        to=message.entry.mail_to,
        locale=message.entry.locale,
        message_id=message.id,
        written_at=message.created_at,
        context=letters.context(message, now=now),
    )
