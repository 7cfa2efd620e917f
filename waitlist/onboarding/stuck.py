"""Who tried the last step and didn't get through: how often, why, and how they stand now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, func, or_, select

from waitlist.extensions import db
from waitlist.models import Entry, FinishFailure, Invitation, Message, Registration
from waitlist.policy import deadlines, laststep
from waitlist.rows import ids

UNDER_WAY = ("queued", "sending")  # states of an apology that is still to be read
OURS = tuple(sorted(laststep.OURS))


class Choice(NamedTuple):
    """Which failed tries are meant. `kinds` None: all; `only` None: everybody's."""

    since: datetime
    kinds: tuple[str, ...] | None = None
    only: Collection[int] | None = None

    def means(self) -> ColumnElement[bool]:
        """The condition on a failure; "fields-invalid" is meant with whatever fields."""
        meant = FinishFailure.at >= self.since
        if self.kinds is None:
            return meant
        of_fields = (FinishFailure.kind.startswith(f"{kind}:") for kind in self.kinds)
        return meant & or_(FinishFailure.kind.in_(self.kinds), *of_fields)


@dataclass
class Stuck:
    """Somebody who didn't get through; `standing` is a word for their newest invitation.

    That is open or expired while it holds its seat, else what became of its owner: lapsed, in
    line, … `mended_at`: when an apology for what had failed before was last owed.
    """

    entry_id: int
    address: str = ""
    invitation_id: int = 0
    standing: str = ""
    expires_at: datetime | None = None
    is_suppressed: bool = False
    kinds: Counter[str] = field(default_factory=Counter)
    releases: set[str] = field(default_factory=set)
    last_at: datetime | None = None
    mended_at: datetime | None = None
    is_being_mended: bool = False

    @property
    def times(self) -> int:
        """How many tries failed."""
        return self.kinds.total()

    @property
    def is_mended(self) -> bool:
        """Whether nothing failed since the last apology, or it is still under way."""
        if self.is_being_mended or self.mended_at is None or self.last_at is None:
            return self.is_being_mended
        return self.mended_at >= self.last_at


class Tally(NamedTuple):
    """How many tries failed so, of how many people, and how many of them are stuck."""

    tries: int
    people: int
    stuck: int


class Found(NamedTuple):
    """Who is stuck, the newest first; and all that failed, by kind and by release."""

    people: list[Stuck]
    kinds: dict[str, Tally]
    releases: dict[str, Tally]


def find(choice: Choice, *, now: datetime) -> Found:
    """What these failed tries tell, in the caller's transaction."""
    rows = db.session.execute(_failures(choice)).all()
    people: dict[int, Stuck] = {}
    for row in rows:
        if not row.is_through:
            one = people.setdefault(row.entry_id, Stuck(row.entry_id))
            one.kinds[row.kind] += row.times
            one.releases.add(row.release)
            one.last_at = row.last_at
    _tell_standing(people, now=now)
    _tell_mended(people)
    newest = sorted(people.values(), key=_newest, reverse=True)
    return Found(newest, _tallies(rows, "kind"), _tallies(rows, "release"))


def standing(entry_state: str, invitation: str, expires_at: datetime | None, now: datetime) -> str:
    """A word for how somebody stands whose newest invitation is in this state."""
    if invitation == "open":
        late = deadlines.deadline_passed(expires_at, None, now)
        return "expired" if late else "open"
    if invitation == "revoked":
        return "revoked"
    return "in line" if entry_state == "waiting" else entry_state


def _newest(one: Stuck) -> tuple[datetime, int]:
    assert one.last_at is not None
    return one.last_at, one.entry_id


def _failures(choice: Choice) -> Any:
    """What failed, by person, kind and release; the newest last."""
    through = select(Registration.id).where(Registration.entry_id == Invitation.entry_id).exists()
    by = (Invitation.entry_id, FinishFailure.kind, FinishFailure.release)
    query = (
        select(
            *by,
            func.sum(FinishFailure.times).label("times"),
            func.max(FinishFailure.at).label("last_at"),
            through.label("is_through"),
        )
        .join(Invitation, Invitation.id == FinishFailure.invitation_id)
        .where(choice.means())
        .group_by(*by)
        .order_by("last_at")
    )
    return query if choice.only is None else query.where(Invitation.entry_id.in_(ids(choice.only)))


def _tell_standing(people: dict[int, Stuck], *, now: datetime) -> None:
    newest = (
        select(func.max(Invitation.id))
        .where(Invitation.entry_id.in_(ids(people)))
        .group_by(Invitation.entry_id)
    )
    found = db.session.execute(
        select(
            *(Entry.id, Entry.address, Entry.state, Entry.suppressed_at),
            *(Invitation.id.label("invitation_id"), Invitation.state.label("invitation_state")),
            Invitation.expires_at,
        )
        .join(Invitation, Invitation.entry_id == Entry.id)
        .where(Invitation.id.in_(newest))
    )
    for row in found:
        one = people[row.id]
        one.address, one.invitation_id = row.address, row.invitation_id
        one.expires_at, one.is_suppressed = row.expires_at, row.suppressed_at is not None
        one.standing = standing(row.state, row.invitation_state, row.expires_at, now)


def _tell_mended(people: dict[int, Stuck]) -> None:
    apologies = select(Message.entry_id, Message.state, Message.created_at).where(
        Message.entry_id.in_(ids(people)), Message.kind == "sorry", Message.state != "cancelled"
    )
    for row in db.session.execute(apologies.order_by(Message.id)):
        one = people[row.entry_id]
        one.mended_at = row.created_at
        one.is_being_mended |= row.state in UNDER_WAY


def _tallies(rows: Sequence[Row[Any]], by: str) -> dict[str, Tally]:
    tries, people, stuck = Counter[str](), Counter[str](), Counter[str]()
    for name, of in _grouped(rows, by).items():
        tries[name] = sum(row.times for row in of)
        people[name] = len({row.entry_id for row in of})
        stuck[name] = len({row.entry_id for row in of if not row.is_through})
    return {name: Tally(times, people[name], stuck[name]) for name, times in tries.most_common()}


def _grouped(rows: Iterable[Row[Any]], by: str) -> dict[str, list[Row[Any]]]:
    found: dict[str, list[Row[Any]]] = {}
    for row in rows:
        found.setdefault(getattr(row, by), []).append(row)
    return found
