"""Joining and confirming."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple

from sqlalchemy import (
    JSON,
    BigInteger,
    Dialect,
    Insert,
    Text,
    bindparam,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.exc import DataError, IntegrityError

from waitlist import arrivals, limits, links, outbox, projection
from waitlist.errors import AddressInvalid, ProofNeeded, TooMany
from waitlist.extensions import db, insert_unless_known, rows_changed, seek
from waitlist.failpoints import failpoint
from waitlist.models import Cohort, Entry, Message, PlaceChange
from waitlist.models.base import new_nonces
from waitlist.policy import deadlines, identity
from waitlist.policy.proof import NO_PROOF, Proof
from waitlist.policy.rules import NOTHING, Told
from waitlist.prepared import Prepared
from waitlist.rows import Given
from waitlist.signup import choosing, proving, strangers
from waitlist.tokens import Purpose
from waitlist.wake import wake

DEFAULT_COHORT = "general"
KINDS = ("confirm", "standing", "lapsed", "come_back")  # of mail that joining again sets going


class Joining(NamedTuple):
    """Somebody who wants to join: as typed, the language, the network, what else is told.

    And the proof that they aren't a machine, if they were asked for it.
    """

    address: str
    locale: str
    network: str | None = None
    told: Told = NOTHING
    proof: Proof = NO_PROOF


class _Rest(NamedTuple):
    """What a newcomer's row says beside the address; without a cohort they join the default."""

    locale: str
    cohort_id: int | None
    attributes: str  # JSON


class _Able(NamedTuple):
    """Somebody whom nothing speaks against: who, and which of those who came together."""

    at: int
    address: identity.Address
    rest: _Rest


def join(joinings: Sequence[Joining], *, now: datetime) -> list[Exception | None]:
    """Take these in, pending until they confirm; for each why not, or None: then it is committed.

    Nothing that the caller could notice depends on whether an address is known: the same
    statements, one commit and one wake-up in either case. What differs goes by mail. Not
    taken in are `AddressInvalid`, which can't be mailed, `ProofNeeded`, and `TooMany` of one
    network.
    """
    able, outcomes = _examine(joinings, now=now)
    for one, outcome in zip(able, _commit(able, now=now), strict=True):
        outcomes[one.at] = outcome
    return outcomes


def _examine(
    joinings: Sequence[Joining], *, now: datetime
) -> tuple[list[_Able], list[Exception | None]]:
    """Those who may join, and for each of all what speaks against it."""
    times = limits.knock("joins", [joining.network for joining in joinings], now=now)
    able: list[_Able] = []
    refusals: list[Exception | None] = []
    for at, joining in enumerate(joinings):
        try:
            address = identity.canonical_address(joining.address)
            proving.check(address.typed, joining.proof, times=times[at], now=now)
            able.append(_Able(at, address, _rest(joining)))
            refusals.append(None)
        except (AddressInvalid, ProofNeeded, TooMany) as refusal:
            refusals.append(refusal)
    return able, refusals


def _rest(joining: Joining) -> _Rest:
    if joining.told == NOTHING:
        return _Rest(joining.locale, None, "{}")
    attributes = json.dumps(joining.told.attributes())
    return _Rest(joining.locale, choosing.cohort_of(joining.told), attributes)


def _commit(able: Sequence[_Able], *, now: datetime) -> list[Exception | None]:
    """One transaction for all. What nobody foresaw of one row never spoils its neighbours."""
    if not able:
        return []
    try:
        _take_in(able, now=now)
    except (DataError, IntegrityError) as error:
        db.session.rollback()
        if len(able) == 1:
            return [error]
        return [outcome for one in able for outcome in _commit([one], now=now)]
    wake("mail")
    return [None] * len(able)


def _take_in(able: Sequence[_Able], *, now: datetime) -> None:
    connection = db.session.connection()
    once = {one.address.key: one for one in reversed(able)}  # of one address the first counts
    arrived = zip(able, arrivals.of_each(len(able), connection), strict=True)
    new = [(one, arrival) for one, arrival in arrived if once[one.address.key] is one]
    new.sort(key=lambda pair: pair[0].address.key)  # so that no two of these deadlock
    nonces = iter(new_nonces(2 * len(new)))
    seek(connection)
    statements = _statements(connection.dialect)
    rows = statements.new.values(
        (*one.address, *one.rest, arrival, next(nonces), next(nonces)) for one, arrival in new
    )
    statements.enter.execute(connection, **rows, now=now)
    statements.owe.execute(connection, **rows, **strangers.moments(now))
    failpoint("join.before-commit")
    db.session.commit()
    failpoint("join.committed")


class _Statements(NamedTuple):
    """What a transaction of joins executes."""

    new: Given
    enter: Prepared
    owe: Prepared


@cache
def _statements(dialect: Dialect) -> _Statements:
    new = Given(
        dialect.name,
        "new",
        **dict.fromkeys(("address", "key", "mail_to", "locale"), Text()),
        cohort_id=BigInteger(),
        attributes=Text(),
        arrival=BigInteger(),
        nonce=Text(),
        mail_nonce=Text(),
    )
    by_state = case(
        (or_(Entry.state == "pending", Entry.state == "unconfirmed"), "confirm"),
        (Entry.state == "lapsed", "lapsed"),
        (Entry.state == "withdrawn", "come_back"),
        else_="standing",
    )
    whom = Entry.address_key == new.c.key
    owe = strangers.owing(by_state, whom, like=KINDS, nonce=new.c.mail_nonce)
    return _Statements(new, Prepared(_entering(new, dialect), dialect), Prepared(owe, dialect))


def _entering(new: Given, dialect: Dialect) -> Insert:
    """An INSERT of those who aren't known yet."""
    default = select(Cohort.id).where(Cohort.name == DEFAULT_COHORT).scalar_subquery()
    attributes = new.c.attributes  # SQLite keeps JSON as text
    values = {
        "state": literal("pending"),
        "cohort_id": func.coalesce(new.c.cohort_id, default),
        "address": new.c.address,
        "address_key": new.c.key,
        "mail_to": new.c.mail_to,
        "name": literal(""),
        "locale": new.c.locale,
        "attributes": attributes if dialect.name == "sqlite" else cast(attributes, JSON),
        "nonce": new.c.nonce,
        "arrival": new.c.arrival,
        "rank": new.c.arrival,
        "joined_at": bindparam("now", type_=Entry.joined_at.type),
        "renewals": literal(0),
    }
    chosen = select(*values.values()).where(true())  # else SQLite takes ON CONFLICT for a join's
    found: Insert = insert_unless_known(Entry.__table__, Entry.address_key)
    return found.from_select(list(values), chosen, include_defaults=False)


def confirm(token: str, *, now: datetime) -> Entry:
    """Confirm a joining; the entry, in whatever state it is now. Twice is the same as once.

    Within the time that ran from the mail's sending, the place counts from the joining;
    later, it is at the end. `LinkInvalid` for a link that isn't ours.
    """
    entry = links.entry_of(Purpose.CONFIRM, token)
    if entry.state in ("pending", "unconfirmed"):
        _confirm(entry, now=now)
        projection.settle(entry.cohort_id)
        wake("mail")
    return entry


def _confirm(entry: Entry, *, now: datetime) -> None:
    in_time = entry.state == "pending" and deadlines.confirmed_in_time(entry.confirm_by, now)
    rank = entry.rank if in_time else arrivals.next_arrival()
    confirmed = rows_changed(
        update(Entry)
        .where(Entry.id == entry.id, Entry.state == entry.state)
        .values(state="waiting", confirmed_at=now, rank=rank)
    )
    if confirmed:
        if not in_time:
            db.session.add(
                PlaceChange(entry_id=entry.id, at=now, reason="confirmed late", arrival=rank)
            )
        projection.note_people([entry.id])
        outbox.cancel(
            (Message.entry_id == entry.id) & (Message.kind == "confirm"), reason="confirmed"
        )
        outbox.stage("standing", [entry.id], now=now)
    failpoint("confirm.before-commit")
    db.session.commit()
    failpoint("confirm.committed")


def expire_unconfirmed(*, now: datetime) -> int:
    """Mark those who didn't confirm in time; commits; how many. Their link goes on working."""
    found = rows_changed(
        update(Entry)
        .where(Entry.state == "pending", Entry.confirm_by < now)
        .values(state="unconfirmed")
        .execution_options(synchronize_session=False)
    )
    db.session.commit()
    return found
