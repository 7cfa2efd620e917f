"""Taking people out of the line: from waiting to invited, a thousand in a few statements.

The caller holds the gate's lock. Everything here is of the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Executable,
    Text,
    and_,
    bindparam,
    insert,
    literal,
    select,
    update,
)

from waitlist import notes, outbox, projection
from waitlist.extensions import db
from waitlist.line import Head
from waitlist.models import Entry, Invitation
from waitlist.models.base import Moment, new_nonces
from waitlist.rows import Given


class Taken(NamedTuple):
    """Who came in, front first; and of everyone who was drawn the note that was left of them."""

    people: list[int]
    notes: dict[int, int]

    @property
    def gone(self) -> dict[int, int]:
        """The notes of those who came in."""
        return {entry_id: self.notes[entry_id] for entry_id in self.people}

    @property
    def in_vain(self) -> bool:
        """Whether somebody was drawn who didn't wait there."""
        return len(self.people) < len(self.notes)


def take(cohort_id: int, heads: Sequence[Head]) -> Taken:
    """Those of these people who still waited there at that rank; now invited.

    Of everybody else here Redis knows something that isn't so: their notes put it right.
    """
    asked, taking = _taking(db.engine.dialect.name)
    found = db.session.scalars(taking, {**asked.values(heads), "here": cohort_id})
    taken = set(found.all())
    ids = [head.entry_id for head in heads]
    left = notes.leave(cohort_id, ids)
    return Taken([entry_id for entry_id in ids if entry_id in taken], left)


@cache
def _taking(dialect: str) -> tuple[Given, Executable]:
    asked = Given(dialect, "asked", id=BigInteger(), rank=BigInteger())
    here = Entry.cohort_id == bindparam("here", type_=BigInteger())
    there = and_(Entry.id == asked.c.id, Entry.rank == asked.c.rank, here)
    able = (
        select(Entry.id)
        .join_from(asked.table, Entry, and_(there, projection.in_line()))
        .order_by(Entry.id)  # so that nobody who locks several of them waits in a circle
        .with_for_update(of=Entry)
        .cte("able")
    )
    return asked, (
        update(Entry.__table__)
        .where(Entry.id == able.c.id, Entry.state == "waiting")
        .values(state="invited")
        .returning(Entry.id)
    )


def invite(
    people: Sequence[tuple[int, int]], wave_id: int, *, now: datetime, mails_from: datetime
) -> None:
    """Open an invitation for each of these (entry, cohort), and owe them its mail, in this order.

    No mail goes before `mails_from`.
    """
    rows = [(*who, nonce) for who, nonce in zip(people, new_nonces(len(people)), strict=True)]
    asked, inviting = _inviting(db.engine.dialect.name)
    made = db.session.execute(inviting, {**asked.values(rows), "wave": wave_id, "now": now})
    invitation_of: dict[int, int] = dict(made.all())
    entry_ids = [entry_id for entry_id, _ in people]
    invitations = [invitation_of[entry_id] for entry_id in entry_ids]
    outbox.stage("invitation", entry_ids, now=now, due_at=mails_from, invitations=invitations)


@cache
def _inviting(dialect: str) -> tuple[Given, Executable]:
    asked = Given(dialect, "asked", entry_id=BigInteger(), cohort_id=BigInteger(), nonce=Text())
    invitation: dict[str, Any] = {
        "entry_id": asked.c.entry_id,
        "cohort_id": asked.c.cohort_id,
        "nonce": asked.c.nonce,
        "wave_id": bindparam("wave", type_=BigInteger()),
        "generation": literal(1),
        "state": literal("open"),
        "created_at": bindparam("now", type_=Moment()),
    }
    table = Invitation.__table__
    return asked, (
        insert(table)
        .from_select(list(invitation), select(*invitation.values()), include_defaults=False)
        .returning(table.c.entry_id, table.c.id)
    )
