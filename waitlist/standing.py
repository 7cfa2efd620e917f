"""People as they stand: by rank, then by id, in pages, so that no line is in memory at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from sqlalchemy import ColumnElement, and_, or_, select

from waitlist.extensions import db, reading
from waitlist.line import PAGE, Standing
from waitlist.models import Entry

Page = Sequence[Standing]


def in_sql(which: ColumnElement[bool]) -> Iterator[Page]:
    """Rank and id of these people, front first, in pages of `PAGE`."""
    page = _page(which)
    while page:
        yield page
        page = _page(and_(which, _after(*page[-1]))) if len(page) == PAGE else []


def odd_ones(
    one: Iterator[Sequence[Standing]], other: Iterator[Sequence[Standing]]
) -> Iterator[tuple[bool, Standing]]:
    """Walk two lines side by side: whoever stands in one only, and whether it's the first."""
    mine, theirs = next(one, []), next(other, [])
    while mine or theirs:
        end = min(page[-1] for page in (mine, theirs) if page)
        left, mine = _cut(mine, end)
        right, theirs = _cut(theirs, end)
        if left != right:
            yield from ((True, standing) for standing in set(left).difference(right))
            yield from ((False, standing) for standing in set(right).difference(left))
        mine, theirs = mine or next(one, []), theirs or next(other, [])


def _page(which: ColumnElement[bool]) -> Page:
    query = select(Entry.rank, Entry.id).where(which).order_by(Entry.rank, Entry.id).limit(PAGE)
    with reading():
        cursor = db.session.connection().execute(query).cursor
        assert cursor is not None
        return cursor.fetchall()  # the driver's own tuples: SQLAlchemy's rows cost twice the time


def _after(rank: int, entry_id: int) -> ColumnElement[bool]:
    # the first half lets SQLite and PostgreSQL seek in the index
    return and_(Entry.rank >= rank, or_(Entry.rank > rank, Entry.id > entry_id))


def _cut(page: Sequence[Standing], end: Standing) -> tuple[Sequence[Standing], Sequence[Standing]]:
    until = bisect_right(page, end)
    return page[:until], page[until:]
