"""Failed tries at the last step: who tried, when, and what went wrong; never what was typed.

Written to SQL beside the answer, in a transaction of its own that waits for hardly anything.
When SQL can't take it, it is set aside (`aside`) and the clock brings it in later, once.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from secrets import token_hex
from typing import NamedTuple

import structlog
from sqlalchemy import Insert, bindparam, delete, select
from sqlalchemy.exc import SQLAlchemyError

from waitlist import aside, lately, links, patience
from waitlist.errors import LinkInvalid
from waitlist.extensions import db, insert_into, reading, rows_changed, settings
from waitlist.failpoints import failpoint
from waitlist.models import FinishFailure, Invitation
from waitlist.tokens import Purpose, Ref

log = structlog.get_logger()
ASIDE = "finish-failures"
MOST_A_MINUTE = 5  # of one kind, of one invitation, in one process: more say nothing new
LOCK_WAIT = 0.2  # seconds that the answer of a failed try waits for its record
ANSWER_WAIT = 0.5
A_MINUTE = 60.0  # seconds
KEPT = timedelta(days=90)
SWEPT = 1_000  # in one transaction
KIND_LENGTH = 60
SQL_IS_AWAY = ("unavailable", "busy")  # kinds that say it, so it isn't even asked


class Failed(NamedTuple):
    """A try that failed. `uid` makes it one, however often it is brought in."""

    uid: str
    invitation_id: int
    nonce: str  # its digest, where it is set aside
    at: datetime
    kind: str
    times: int
    via: str
    release: str


class Unanswered(NamedTuple):
    """How many tries of a page got no answer so far, as it tells with the next one."""

    times: int = 0
    opened: str = ""  # by which the page is known


def record(
    token: str, kind: str | None, *, via: str, unanswered: Unanswered, now: datetime
) -> None:
    """Note that a try by this link failed as `kind` says, if it did; and what got no answer.

    It never raises, and an unknown link leaves nothing.
    """
    try:
        ref = links.ref_of(Purpose.INVITE, token)
    except LinkInvalid:
        return
    found = [_failed(ref, kind, via, now=now)] if kind else []
    if unanswered.times:
        found.append(_unanswered(ref, unanswered, via, now=now))
    found = [one for one in found if _is_news(one)]
    if found and (kind in SQL_IS_AWAY or not _stored(found)):
        for one in found:
            aside.put(ASIDE, _line(one))


def tend(*, now: datetime) -> int:
    """Bring in what was set aside, and forget what is long ago; how many were brought in."""
    brought = 0
    for records in aside.batches(ASIDE):
        failed = _known([one for one in map(_read, records) if one is not None])
        if failed:
            _store(failed)
            db.session.commit()
        failpoint("failures.brought-in")
        brought += len(failed)
    _sweep(now=now)
    return brought


def _failed(ref: Ref, kind: str, via: str, *, now: datetime) -> Failed:
    of = settings().release
    return Failed(token_hex(16), ref.id, ref.nonce, now, kind[:KIND_LENGTH], 1, via, of)


def _unanswered(ref: Ref, what: Unanswered, via: str, *, now: datetime) -> Failed:
    """One of each page, which counts on: what it told before is within what it tells now."""
    found = _failed(ref, "no-answer", via, now=now)._replace(times=what.times)
    if not what.opened:
        return found
    return found._replace(uid=_digest(f"{ref.id} {what.opened}"))


def _is_news(failed: Failed) -> bool:
    """Whether this process didn't note enough of the same within this minute."""
    noted: Counter[tuple[int, str]] = lately.read("failed tries", Counter, kept_for=A_MINUTE)
    key = (failed.invitation_id, failed.kind)
    noted[key] += 1
    return noted[key] <= MOST_A_MINUTE


def _stored(failed: Sequence[Failed]) -> bool:
    """Whether SQL took these at once."""
    db.session.rollback()  # whatever the failed try left
    try:
        with patience.at_most(lock=LOCK_WAIT, answer=ANSWER_WAIT):
            _store(failed)
            db.session.commit()
    except SQLAlchemyError as error:
        db.session.rollback()
        log.warning("a failed try is set aside", error=type(error).__name__)
        return False
    return True


def _store(failed: Sequence[Failed]) -> None:
    """Enter them in the caller's transaction, each once; of an unknown invitation nothing."""
    db.session.execute(_storing(db.engine.dialect.name), [one._asdict() for one in failed])


@cache
def _storing(_dialect: str) -> Insert:
    table, invitation = FinishFailure.__table__, Invitation.__table__.c
    names = [name for name in Failed._fields if name not in ("invitation_id", "nonce")]
    given = [bindparam(name, type_=table.c[name].type).label(name) for name in names]
    which = (
        select(invitation.id, *given)
        .where(invitation.id == bindparam("invitation_id"))
        .where(invitation.nonce == bindparam("nonce"))
    )
    new = insert_into(table).from_select(["invitation_id", *names], which)
    found: Insert = new.on_conflict_do_update(
        index_elements=[table.c.uid],
        set_={"times": new.excluded.times, "at": new.excluded.at},
        where=new.excluded.times > table.c.times,
    )
    return found


def _line(failed: Failed) -> str:
    """A try as it is set aside: without the nonce, which would open the invitation."""
    plain = failed._replace(nonce=_digest(failed.nonce))._asdict()
    return json.dumps(plain | {"at": failed.at.isoformat()})


def _read(line: str) -> Failed | None:
    """The same again; None of a line that was cut off, as a full disk does it."""
    try:
        plain = json.loads(line)
        return Failed(**plain | {"at": datetime.fromisoformat(plain["at"])})
    except (ValueError, TypeError, KeyError):
        log.error("what was set aside can't be read")
        return None


def _known(failed: Sequence[Failed]) -> list[Failed]:
    """Those of invitations that there are, with their nonces."""
    which = select(Invitation.id, Invitation.nonce).where(
        Invitation.id.in_({one.invitation_id for one in failed})
    )
    with reading():
        nonces = {row.id: row.nonce for row in db.session.execute(which)}
    found = [one._replace(nonce=nonces.get(one.invitation_id, "")) for one in failed]
    told = zip(failed, found, strict=True)
    return [one for told_of, one in told if one.nonce and told_of.nonce == _digest(one.nonce)]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _sweep(*, now: datetime) -> None:
    over = select(FinishFailure.id).where(FinishFailure.at < now - KEPT).limit(SWEPT)
    with reading():
        any_over = db.session.scalar(over.limit(1)) is not None
    if any_over:
        rows_changed(delete(FinishFailure).where(FinishFailure.id.in_(over)))
        db.session.commit()
