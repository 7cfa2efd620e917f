"""Taking a wave back: halting it, and putting those it admitted back in line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import aliased

from waitlist import audit, outbox, projection, seats
from waitlist.admission import plans
from waitlist.errors import ValueRefused, WaveUnknown
from waitlist.extensions import db
from waitlist.models import Entry, Invitation, Message, Wave
from waitlist.policy.reports import TAKEN
from waitlist.wake import wake

BATCH = 1_000  # people a transaction
STILL_OPEN = ("mail under way", "mailed")
GONE = ("sending", *TAKEN)  # states of a mail that can't be held back


def its_mail(*states: str) -> ColumnElement[bool]:
    """Joins an invitation to the mail that brought its link last, in these states or any."""
    other = aliased(Message)
    latest = select(func.max(other.id)).where(
        other.entry_id == Invitation.entry_id,
        other.invitation_id == Invitation.id,
        other.kind.in_(outbox.INVITES),
        *([other.state.in_(states)] if states else []),
    )
    return Message.id == latest.correlate(Invitation).scalar_subquery()


class Left(NamedTuple):
    """Somebody of a recalled wave who isn't back in line, or was told of it too late."""

    entry_id: int
    address: str
    state: str


@dataclass
class Recalled:
    """What a recall did: how many are back in line unmailed, and how it stands with the rest."""

    back: int = 0
    revoked: list[int] = field(default_factory=list)
    rest: list[Left] = field(default_factory=list)


def halt(wave_id: int, *, actor: str, reason: str, now: datetime) -> Wave:
    """Stop a wave that is planned or running: after this commit it admits nobody. The wave."""
    seats.lock()
    wave = find(wave_id)
    if wave.state not in plans.TO_DO:
        db.session.rollback()
        raise ValueRefused(
            f"wave {wave_id} is {wave.state} already, so there is nothing to stop. "
            f"To take back whom it admitted: flask wave recall {wave_id}"
        )
    _set(wave, "halted", note=reason, action="wave.halt", actor=actor, reason=reason, now=now)
    db.session.commit()
    return wave


def recall(wave_id: int, *, revoke: bool, actor: str, reason: str, now: datetime) -> Recalled:
    """Put everybody whose mail hasn't gone back at their old rank, and free their seats.

    The wave admits nobody else. Of the rest those whose invitation is still open are put back
    only to `revoke` it; each is owed an apology. Who registered stays. Safe to repeat, so one
    that broke off is done again.
    """
    done, last = Recalled(), 0
    seats.lock()
    _set(find(wave_id), "recalled", action="wave.recall", actor=actor, reason=reason, now=now)
    while True:
        batch = _open_after(wave_id, last)
        cohort_ids = _put_back(batch, done, revoke=revoke, now=now)
        is_last = len(batch) < BATCH
        if is_last:
            _say(wave_id, done, actor=actor, reason=reason, now=now)
        db.session.commit()
        projection.settle(*cohort_ids)
        if is_last:
            break
        last = batch[-1].id
        seats.lock()
    wake("mail")
    done.rest = _rest(wave_id, done.revoked)
    return done


def find(wave_id: int) -> Wave:
    """The wave of this id, as SQL has it now; `WaveUnknown`."""
    wave = db.session.get(Wave, wave_id, populate_existing=True)
    if wave is None:
        db.session.rollback()
        raise WaveUnknown(f"there is no wave {wave_id}: see flask wave list")
    return wave


class _Open(NamedTuple):
    id: int
    entry_id: int
    cohort_id: int


def _open_after(wave_id: int, last: int) -> list[_Open]:
    """The next open invitations of a wave; first those whose mail would go first."""
    found = db.session.execute(
        select(Invitation.id, Invitation.entry_id, Invitation.cohort_id)
        .where(Invitation.wave_id == wave_id, Invitation.state == "open", Invitation.id > last)
        .order_by(Invitation.id)
        .limit(BATCH)
    )
    return [_Open._make(row) for row in found]


def _put_back(batch: Sequence[_Open], done: Recalled, *, revoke: bool, now: datetime) -> set[int]:
    """One transaction's work, under the gate's lock; the cohorts whose line it changed.

    The mails are cancelled first, by a guarded update: what a worker took a moment before
    counts as gone, and what it didn't it can't take any more.
    """
    ids, entry_ids = [one.id for one in batch], [one.entry_id for one in batch]
    theirs = Message.invitation_id.in_(ids) & Message.entry_id.in_(entry_ids)
    theirs &= Message.kind.in_(outbox.INVITES)
    outbox.cancel(theirs, reason="the wave was recalled")
    under_way = select(Message.invitation_id).where(theirs, Message.state.in_(GONE))
    gone = set(db.session.scalars(under_way))
    unmailed = [one for one in ids if one not in gone]
    done.back += len(seats.give_back(unmailed, as_="revoked", entries_as="waiting", now=now))
    if revoke and gone:
        mailed = [one for one in ids if one in gone]
        back = seats.give_back(mailed, as_="revoked", entries_as="waiting", now=now)
        outbox.stage("apology", back, now=now)
        done.revoked += back
    return {one.cohort_id for one in batch}


def _set(
    wave: Wave,
    state: str,
    *,
    note: str = "",
    action: str,
    actor: str,
    reason: str,
    now: datetime,
) -> None:
    before = {"state": wave.state, "admitted": wave.admitted}
    wave.state, wave.note = state, note[:200]
    subject = f"wave:{wave.id}"
    after = {"state": state}
    audit.record(action, subject, actor=actor, now=now, before=before, after=after, reason=reason)
    db.session.flush()


def _say(wave_id: int, done: Recalled, *, actor: str, reason: str, now: datetime) -> None:
    after = {"back": done.back, "revoked": len(done.revoked)}
    audit.record("wave.recalled", f"wave:{wave_id}", actor=actor, now=now, after=after)
    note = f"{done.back:,} back in line unmailed, {len(done.revoked):,} with an apology"
    db.session.execute(update(Wave).where(Wave.id == wave_id).values(note=note))


def _rest(wave_id: int, revoked: Sequence[int]) -> list[Left]:
    """Those whose mail had gone, in the order in which it went, and what became of it."""
    apologised = set(revoked)
    found = db.session.execute(
        select(Entry.id, Entry.address, Invitation.state, Message.state)
        .join(Invitation, Invitation.entry_id == Entry.id)
        .join(Message, its_mail(*GONE))
        .where(Invitation.wave_id == wave_id, Invitation.state != "superseded")
        .order_by(Invitation.id)
    ).all()
    db.session.rollback()
    return [
        Left(entry_id, address, "apology owed" if entry_id in apologised else _word(state, mail))
        for entry_id, address, state, mail in found
    ]


def _word(invitation: str, mail: str) -> str:
    if invitation == "open":
        return STILL_OPEN[mail in TAKEN]
    return {"used": "registered", "expired": "lapsed"}.get(invitation, "back in line")
