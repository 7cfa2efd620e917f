"""Who is passed over by a wave, and why: people before the last it takes who can't be invited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, case, false, func, or_, select

from waitlist.extensions import db
from waitlist.line import Standing
from waitlist.models import Entry

SHOWN = 10

WHY = case(
    (Entry.state == "removed", "removed"),
    (Entry.state == "waiting", "suppressed"),
    else_="unconfirmed",
)
CANT_BE_INVITED = or_(
    Entry.state.in_(("pending", "unconfirmed", "removed")),
    and_(Entry.state == "waiting", Entry.suppressed_at.is_not(None)),
)


class Passed(NamedTuple):
    """Somebody who is passed over."""

    entry_id: int
    address: str
    why: str


@dataclass(frozen=True)
class PassedOver:
    """How many are passed over, by reason, and the first of them as they stand."""

    by_reason: dict[str, int] = field(default_factory=dict)
    first: list[Passed] = field(default_factory=list)


def before(last: Mapping[int, Standing]) -> PassedOver:
    """Who stands before the last who is taken of each cohort, and can't be invited."""
    ahead = or_(false(), *(_ahead(cohort_id, *stands) for cohort_id, stands in last.items()))
    which = and_(CANT_BE_INVITED, ahead)
    counts = select(WHY, func.count()).where(which).group_by(WHY).order_by(WHY)
    first = (
        select(Entry.id, Entry.address, WHY)
        .where(which)
        .order_by(Entry.rank, Entry.id)
        .limit(SHOWN)
    )
    return PassedOver(
        dict(db.session.execute(counts).all()),
        [Passed._make(row) for row in db.session.execute(first)],
    )


def _ahead(cohort_id: int, rank: int, entry_id: int) -> ColumnElement[bool]:
    earlier = or_(Entry.rank < rank, and_(Entry.rank == rank, Entry.id < entry_id))
    return and_(Entry.cohort_id == cohort_id, earlier)
