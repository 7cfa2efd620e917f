"""What is shown of a place, and of the line: one function for every number that people see."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Dialect, and_, select

from waitlist import links, outlook, projection
from waitlist.errors import LineUnavailable, LinkInvalid
from waitlist.extensions import db, reading, seek
from waitlist.line import NOWHERE, Place
from waitlist.models import Cohort, Entry, Gate, Invitation
from waitlist.policy import wait
from waitlist.policy.wait import ShownRange
from waitlist.prepared import Prepared
from waitlist.rows import Given
from waitlist.tokens import Purpose

RANGE = ("low_seconds", "high_seconds")


@dataclass(frozen=True)
class ShownPlace:
    """A place as its page shows it. `position` None while waiting: the number follows."""

    state: str
    position: int | None
    length: int | None
    rounded: bool
    paused: bool
    closed: bool
    opens_at: datetime | None
    expires_at: datetime | None
    suppressed: bool
    locale: str
    wait: ShownRange | None
    timezone: str  # of the cohort

    def as_json(self) -> dict[str, Any]:
        """The place as JSON, times in RFC 3339."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in vars(self).items()
            if name not in ("locale", "timezone", "wait")
        } | {"wait": self.wait and dict(zip(RANGE, self.wait.seconds, strict=True))}


class _Person(NamedTuple):
    """What SQL says of one person."""

    id: int
    nonce: str
    state: str
    locale: str
    suppressed_at: datetime | None
    cohort_id: int
    cohort: str
    timezone: str
    line_epoch: str | None
    opens_at: datetime | None
    expires_at: datetime | None
    paused: bool


class _Seen(NamedTuple):
    """What SQL and the line say of one person."""

    person: _Person
    place: Place


def by_token(token: str, *, now: datetime) -> ShownPlace:
    """Where the person of this link stands now; without the number where Redis can't tell it.

    `LinkInvalid` if it is nobody's.
    """
    [shown] = by_tokens([token], now=now)
    if isinstance(shown, Exception):
        raise shown
    return shown


def by_tokens(tokens: Sequence[str], *, now: datetime) -> list[ShownPlace | LinkInvalid]:
    """The same for many at once, by one reading of SQL and of each line."""
    refs = links.refs_of(Purpose.PLACE, tokens)
    seen = _read({ref.id for ref in refs if ref is not None})
    return [
        _shown(*seen[ref.id], now=now)
        if ref and ref.id in seen and ref.opens(links.ENTRY_GENERATION, seen[ref.id].person.nonce)
        else LinkInvalid("this link opens nobody's place")
        for ref in refs
    ]


def _shown(person: _Person, place: Place, *, now: datetime) -> ShownPlace:
    position = None if place.position is None else wait.shown_position(place.position)
    closed = person.opens_at is None or person.opens_at > now
    return ShownPlace(
        state=person.state,
        position=position,
        length=None if place.length is None else wait.shown_position(place.length),
        rounded=place.position is not None and place.position >= wait.EXACT_BELOW,
        paused=person.paused,
        closed=closed,
        opens_at=person.opens_at if closed else None,
        expires_at=person.expires_at,
        suppressed=person.suppressed_at is not None,
        locale=person.locale,
        wait=_wait(person, position, now=now),
        timezone=person.timezone,
    )


def _wait(person: _Person, position: int | None, *, now: datetime) -> ShownRange | None:
    """The range that is shown; nothing at once while paused, however fresh the outlook is."""
    if position is None or person.paused or person.opens_at is None:
        return None
    return outlook.range_of(person.cohort_id, position, now=now)


def _read(entry_ids: Collection[int]) -> dict[int, _Seen]:
    with reading():
        connection = db.session.connection()
        seek(connection)
        people, asked = _people(connection.dialect)
        rows = people.rows(connection, **asked.values((id_,) for id_ in entry_ids))
        found = list(map(_Person._make, rows))
    places = projection.places(
        (one.id, one.cohort, one.line_epoch) for one in found if one.state == "waiting"
    )
    return {one.id: _Seen(one, places.get(one.id, NOWHERE)) for one in found}


@cache
def _people(dialect: Dialect) -> tuple[Prepared, Given]:
    """What is told of those who ask, in the order of `_Person`."""
    asked = Given(dialect.name, "asked", id=BigInteger())
    entries, cohorts, invitations = Entry.__table__, Cohort.__table__, Invitation.__table__
    entry, cohort, invitation = entries.c, cohorts.c, invitations.c
    its_open_one = and_(invitation.entry_id == entry.id, invitation.state == "open")
    people = (
        select(
            entry.id,
            entry.nonce,
            entry.state,
            entry.locale,
            entry.suppressed_at,
            cohort.id,
            cohort.name,
            cohort.timezone,
            cohort.line_epoch,
            cohort.opens_at,
            invitation.expires_at,
            select(Gate.paused).scalar_subquery(),
        )
        .join_from(entries, cohorts, cohort.id == entry.cohort_id)
        .outerjoin(invitations, its_open_one)
        .where(entry.id.in_(select(asked.c.id)))
    )
    return Prepared(people, dialect), asked


def public_figures() -> dict[str, Any]:
    """How many confirmed people wait, rounded, and whether the gate is paused."""
    paused = bool(db.session.scalar(select(Gate.paused)))
    ids = db.session.scalars(select(Cohort.id)).all()
    try:
        waiting = sum(projection.of_cohort(cohort_id).length() for cohort_id in ids)
    except LineUnavailable:
        return {"waiting": None, "paused": paused}
    return {"waiting": wait.shown_position(waiting), "paused": paused}
