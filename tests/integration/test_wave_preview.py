"""The dry run of a wave: what it foretells is what the wave then does."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from tests.tables import empty
from waitlist import projection
from waitlist.admission import gate, preview, rounds, waves
from waitlist.extensions import db
from waitlist.models import Cohort, Entry, Gate, Invitation

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
QUICK = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

# of each cohort: weight, quota, seats used, credit, whether it is open, and who waits by rank
# (True: can be mailed)
COHORTS = st.lists(
    st.fixed_dictionaries(
        {
            "weight": st.integers(1, 9),
            "quota": st.none() | st.integers(0, 12),
            "credit": st.floats(-1, 1),
            "open": st.booleans(),
            "people": st.lists(st.booleans(), max_size=14),
        }
    ),
    min_size=1,
    max_size=4,
)


def _launch(drawn: list[dict[str, Any]], seats: int, now: datetime) -> None:
    """A gate with so many seats, and these cohorts with people in their lines."""
    empty()
    db.session.execute(update(Gate).values(capacity=seats, paused=False))
    for number, one in enumerate(drawn):
        values = {
            "weight": one["weight"],
            "quota": one["quota"],
            "credit": one["credit"],
            "opens_at": now if one["open"] else None,
        }
        cohort_id = db.session.scalar(
            insert(Cohort).values(name=f"c{number}", created_at=now, **values).returning(Cohort.id)
        )
        for nth, mailable in enumerate(one["people"]):
            address = f"p{number}-{nth}@example.org"
            db.session.add(
                Entry(
                    state="waiting",
                    cohort_id=cohort_id,
                    address=address,
                    address_key=address,
                    mail_to=address,
                    arrival=10 * nth + number,
                    rank=10 * nth // 2,  # two by two they are equal
                    joined_at=now,
                    suppressed_at=None if mailable else now,
                )
            )
    db.session.commit()
    projection.require_valid()


def _invited() -> list[int]:
    found = db.session.scalars(select(Invitation.entry_id).order_by(Invitation.id)).all()
    db.session.rollback()
    return list(found)


@QUICK
@given(
    drawn=COHORTS,
    seats=st.integers(0, 40),
    asked=st.integers(1, 40),
    size=st.integers(1, 7),
    named=st.none() | st.integers(0, 3),
)
def test_the_wave_takes_whom_the_dry_run_foretold_in_that_order(
    app: Flask,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    drawn: list[dict[str, Any]],
    seats: int,
    asked: int,
    size: int,
    named: int | None,
) -> None:
    """P5: however many rounds it takes, whatever the weights, quotas and credits."""
    monkeypatch.setattr(rounds, "ROUND", size)
    _launch(drawn, seats, now)
    cohort = None if named is None or named >= len(drawn) else f"c{named}"
    foretold = preview.of_next(asked, cohort=cohort, now=now)
    outcome = waves.admit(asked, cohort=cohort, actor="test", now=now)
    assert _invited() == foretold.people
    assert (outcome.by_cohort, outcome.limit) == (foretold.by_cohort, foretold.limit)
    assert gate.verify() == {}
    used = db.session.scalar(select(Gate.seats_used))
    assert used == foretold.seats["gate"].after
    db.session.rollback()
