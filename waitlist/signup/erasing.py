"""Erasing a person: of them no row is left anywhere, but for a keyed hash of their address.

Ids stay in the audit, and for two minutes with the line in Redis; no id is ever given again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, delete, select
from sqlalchemy.exc import OperationalError

from waitlist import audit, erasures, patience, projection, seats
from waitlist.errors import PersonUnknown
from waitlist.extensions import db, forget_for_good, reading
from waitlist.models import Entry, ImportRow, Invitation, Message, PlaceChange, Webhook
from waitlist.policy import identity
from waitlist.signup import people
from waitlist.signup.removing import mails

TRIES = 3


class Erased(NamedTuple):
    """Who was erased, in which state (none: only staged of a file), and what went with them."""

    entry_id: int | None
    cohort_id: int | None = None
    was: str = ""
    seats: int = 0
    cancelled: int = 0
    under_way: Sequence[str] = ()  # mails and webhooks that can't be called back
    import_rows: int = 0
    is_gone_for_good: bool = True  # False: SQLite's log holds traces until the next checkpoint


class _Known(NamedTuple):
    """Where an address stands: its entry, and rows of files that are being imported."""

    entry_id: int | None
    rows: Sequence[tuple[int, int]]  # import and number

    @property
    def is_nobody(self) -> bool:
        """Whether there is nothing to erase."""
        return self.entry_id is None and not self.rows


def erase(address: str, *, actor: str, reason: str, now: datetime) -> Erased:
    """Delete all that is known of a person, free their seat, and keep a keyed hash.

    `PersonUnknown` if there is nothing. An import that lets them in at this very moment is
    waited for: they are erased again.
    """
    people.refuse_address(reason, address)
    key = identity.canonical_address(address).key
    done = _erase_patiently(_known(key), key, actor=actor, reason=reason, now=now)
    if done is None:
        raise PersonUnknown(f"nobody is known by {address}")
    while _erase_patiently(_known(key, imported=True), key, actor=actor, reason=reason, now=now):
        pass
    return done._replace(is_gone_for_good=forget_for_good())


def _known(key: str, *, imported: bool = False) -> _Known:
    """What there is of an address now; or only what came in with a file."""
    which = select(Entry.id).where(Entry.address_key == key)
    if imported:
        which = which.where(Entry.import_id.is_not(None))
    staged = select(ImportRow.import_id, ImportRow.number).where(ImportRow.address_key == key)
    with reading():  # without a lock, as the rows of a large file are looked through
        entry_id = db.session.scalar(which)
        return _Known(entry_id, db.session.execute(staged).all())


def _erase_patiently(
    known: _Known, key: str, *, actor: str, reason: str, now: datetime
) -> Erased | None:
    """Erase what is known; None if that is nothing.

    A mail worker locks a mail before its person, and whoever confirms the other way round: so
    one of two may be sent away by PostgreSQL, and tries again.
    """
    if known.is_nobody:
        return None
    for _ in range(TRIES - 1):
        try:
            return _erase(known, key, actor=actor, reason=reason, now=now)
        except OperationalError as error:
            db.session.rollback()
            if not patience.may_go_again(error):
                raise
    return _erase(known, key, actor=actor, reason=reason, now=now)


def _erase(known: _Known, key: str, *, actor: str, reason: str, now: datetime) -> Erased:
    """The one transaction."""
    seats.lock()
    for import_id, number in known.rows:
        _drop(ImportRow, and_(ImportRow.import_id == import_id, ImportRow.number == number))
    erased = _delete(known.entry_id) if known.entry_id else Erased(None)
    erased = erased._replace(import_rows=len(known.rows))
    erasures.note(key, now=now)
    audit.record(
        "person.erase",
        f"entry:{erased.entry_id}" if erased.entry_id else "import",
        actor=actor,
        now=now,
        before={"state": erased.was},
        after={"seats_freed": erased.seats, "import_rows": erased.import_rows},
        reason=reason,
    )
    db.session.commit()
    if erased.cohort_id is not None:
        projection.settle(erased.cohort_id)
    return erased


def _delete(entry_id: int) -> Erased:
    """Everything that names this person, from what is locked first to the entry itself.

    What hangs on these rows goes with them (`ON DELETE CASCADE`).
    """
    its_mails = select(Message.id).where(Message.entry_id == entry_id, Message.state == "sending")
    db.session.execute(its_mails.order_by(Message.id).with_for_update())
    invitations = select(Invitation.id).where(Invitation.entry_id == entry_id)
    db.session.execute(invitations.order_by(Invitation.id).with_for_update())
    entry = select(Entry.state, Entry.cohort_id).where(Entry.id == entry_id).with_for_update()
    found = db.session.execute(entry).one_or_none()
    if found is None:
        return Erased(None)  # by another command, a moment ago
    under_way, queued = mails(entry_id, "sending"), mails(entry_id, "queued")
    webhooks = select(Webhook.event).where(Webhook.entry_id == entry_id)
    events = db.session.scalars(webhooks.where(Webhook.state == "sending")).all()
    _drop(Message, Message.entry_id == entry_id)
    freed = seats.forget(entry_id)
    _drop(PlaceChange, PlaceChange.entry_id == entry_id)
    _drop(Entry, Entry.id == entry_id)
    projection.note(found.cohort_id, [entry_id])
    kinds = [*under_way.values(), *events]
    return Erased(entry_id, found.cohort_id, found.state, freed, len(queued), kinds)


def _drop(model: type[Any], which: ColumnElement[bool]) -> None:
    db.session.execute(delete(model).where(which).execution_options(synchronize_session=False))
