"""Taking people out of the line: from waiting to invited, a thousand in a few statements.

The caller holds the gate's lock. Everything here is of the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Text, and_, insert, literal, select, update

from waitlist import outbox, projection
from waitlist.extensions import db
from waitlist.line import Head
from waitlist.models import Entry, Invitation
from waitlist.models.base import Moment, new_nonces
from waitlist.rows import given


def take(cohort_id: int, heads: Sequence[Head]) -> list[int]:
    """Those of these people who still waited there at that rank, front first; now invited.

    Of everybody else here Redis knows something that isn't so: their notes put it right.
    """
    asked = given(heads, id=BigInteger(), rank=BigInteger())
    there = and_(Entry.id == asked.c.id, Entry.rank == asked.c.rank, Entry.cohort_id == cohort_id)
    able = (
        select(Entry.id)
        .join_from(asked, Entry, and_(there, projection.in_line()))
        .order_by(Entry.id)  # so that nobody who locks several of them waits in a circle
        .with_for_update(of=Entry)
        .cte("able")
    )
    taken = set(
        db.session.scalars(
            update(Entry)
            .where(Entry.id == able.c.id, Entry.state == "waiting")
            .values(state="invited")
            .returning(Entry.id)
            .execution_options(synchronize_session=False)
        )
    )
    ids = [head.entry_id for head in heads]
    projection.note(cohort_id, ids)
    return [entry_id for entry_id in ids if entry_id in taken]


def invite(taken: Mapping[int, Sequence[int]], wave_id: int, *, now: datetime) -> None:
    """Open an invitation for each of these people, by cohort, and owe them the mail of it."""
    people = [(entry_id, cohort_id) for cohort_id, ids in taken.items() for entry_id in ids]
    rows = [(*who, nonce) for who, nonce in zip(people, new_nonces(len(people)), strict=True)]
    asked = given(rows, entry_id=BigInteger(), cohort_id=BigInteger(), nonce=Text())
    invitation: dict[str, Any] = {
        "entry_id": asked.c.entry_id,
        "cohort_id": asked.c.cohort_id,
        "nonce": asked.c.nonce,
        "wave_id": literal(wave_id),
        "generation": literal(1),
        "state": literal("open"),
        "created_at": literal(now, Moment()),
    }
    made = db.session.execute(
        insert(Invitation)
        .from_select(list(invitation), select(*invitation.values()), include_defaults=False)
        .returning(Invitation.entry_id, Invitation.id)
    )
    invitation_of = dict(made.all())
    entry_ids = [entry_id for entry_id, _ in people]
    invitations = [invitation_of[entry_id] for entry_id in entry_ids]
    outbox.stage("invitation", entry_ids, now=now, invitations=invitations)
