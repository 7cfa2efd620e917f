"""What is shown of a place, and of the line: one function for every number that people see."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Select, and_, select

from waitlist import links, policy, projection
from waitlist.errors import LineUnavailable, LinkInvalid
from waitlist.extensions import db, reading, seek
from waitlist.line import NOWHERE, Place
from waitlist.models import Cohort, Entry, Gate, Invitation
from waitlist.rows import Given
from waitlist.tokens import Purpose


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

    def as_json(self) -> dict[str, Any]:
        """The place as JSON, times in RFC 3339."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in vars(self).items()
            if name != "locale"
        }


class _Seen(NamedTuple):
    """What SQL and the line say of one person."""

    row: Any
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
        if ref and ref.id in seen and ref.opens(links.ENTRY_GENERATION, seen[ref.id].row.nonce)
        else LinkInvalid("this link opens nobody's place")
        for ref in refs
    ]


def _shown(row: Any, place: Place, *, now: datetime) -> ShownPlace:
    position, length = place
    closed = row.opens_at is None or row.opens_at > now
    return ShownPlace(
        state=row.state,
        position=None if position is None else policy.shown_position(position),
        length=None if length is None else policy.shown_position(length),
        rounded=position is not None and position >= policy.EXACT_BELOW,
        paused=row.paused,
        closed=closed,
        opens_at=row.opens_at if closed else None,
        expires_at=row.expires_at,
        suppressed=row.suppressed_at is not None,
        locale=row.locale,
    )


def _read(entry_ids: Collection[int]) -> dict[int, _Seen]:
    with reading():
        seek(db.session.connection())
        people, asked = _people(db.engine.dialect.name)
        rows = db.session.execute(people, asked.values((id_,) for id_ in entry_ids)).all()
    places = projection.places(
        (row.id, row.cohort, row.line_epoch) for row in rows if row.state == "waiting"
    )
    return {row.id: _Seen(row, places.get(row.id, NOWHERE)) for row in rows}


@cache
def _people(dialect: str) -> tuple[Select[Any], Given]:
    """What is told of those who ask; of tables, since the session's own rows take twice as long."""
    asked = Given(dialect, "asked", id=BigInteger())
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
            cohort.name.label("cohort"),
            cohort.line_epoch,
            cohort.opens_at,
            invitation.expires_at,
            select(Gate.paused).scalar_subquery().label("paused"),
        )
        .join_from(entries, cohorts, cohort.id == entry.cohort_id)
        .outerjoin(invitations, its_open_one)
        .where(entry.id.in_(select(asked.c.id)))
    )
    return people, asked


def public_figures() -> dict[str, Any]:
    """How many confirmed people wait, rounded, and whether the gate is paused."""
    paused = bool(db.session.scalar(select(Gate.paused)))
    ids = db.session.scalars(select(Cohort.id)).all()
    try:
        waiting = sum(projection.of_cohort(cohort_id).length() for cohort_id in ids)
    except LineUnavailable:
        return {"waiting": None, "paused": paused}
    return {"waiting": policy.shown_position(waiting), "paused": paused}
