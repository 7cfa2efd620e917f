"""Who is moved between cohorts keeps their arrival order, and the records alone tell it (P6)."""

from __future__ import annotations

import random
import re
from datetime import datetime, timedelta

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import select

from tests import people, tables
from tests.tables import everything
from waitlist import cohorts
from waitlist.admission import gate, waves
from waitlist.errors import CohortExists
from waitlist.extensions import db
from waitlist.models import Cohort, Entry, Invitation, PlaceChange
from waitlist.signup import people as persons

MOVED = re.compile(r"moved from ([a-z0-9_-]+) to ([a-z0-9_-]+)")
BOTH = ("general", "beta")


def move(now: datetime, *addresses: str, source: str = "general", target: str = "beta") -> int:
    return persons.move(
        addresses, source=source, target=target, actor="test", reason="testers", now=now
    )


def cohort_then(entry: Entry, at: datetime) -> str:
    """Where somebody waited at a time, by the records: today's cohort, later moves undone."""
    query = select(PlaceChange).where(PlaceChange.entry_id == entry.id).order_by(PlaceChange.id)
    for change in db.session.scalars(query):
        if change.at > at and (found := MOVED.match(change.reason)):
            return found[1]
    return entry.cohort.name


def rank_by_records(entry: Entry) -> int:
    query = select(PlaceChange).where(PlaceChange.entry_id == entry.id).order_by(PlaceChange.id)
    changes = db.session.scalars(query).all()
    arrivals = [entry.arrival, *(one.arrival for one in changes if one.arrival is not None)]
    return arrivals[-1] - sum(one.places for one in changes)


@pytest.mark.parametrize("seed", range(6))
def test_whoever_is_moved_and_admitted_the_records_tell_that_nobody_was_overtaken(
    app: Flask, redis: Redis, now: datetime, seed: int
) -> None:
    """P5, P6."""
    dice = random.Random(seed)
    people.add_cohort("beta", now=now)
    people.crowd(14, now=now)
    late = people.join("late@example.org", now=now)
    people.confirm(people.make(late, confirm_by=now), now=now + timedelta(seconds=1))
    people.open_gate(100, now=now)
    for step in range(2, 14):
        at = now + timedelta(minutes=step)
        source, target = dice.sample(BOTH, 2)
        if dice.random() < 0.6:
            chosen = [f"p{n}@example.org" for n in dice.sample(range(14), 3)]
            move(at, *chosen, source=source, target=target)
        else:
            waves.admit(2, cohort=source, actor="test", now=at)
    db.session.rollback()
    entries = db.session.scalars(select(Entry)).all()
    assert all(rank_by_records(entry) == entry.rank for entry in entries)
    admitted = {one.entry_id: one for one in db.session.scalars(select(Invitation))}
    for first in db.session.scalars(select(Invitation)):
        rank = first.entry.rank
        assert cohort_then(first.entry, first.created_at) == _name(first.cohort_id)
        for other in entries:
            theirs = admitted.get(other.id)
            if theirs is None or theirs.created_at > first.created_at:
                same = cohort_then(other, first.created_at) == _name(first.cohort_id)
                assert not same or other.rank > rank
    db.session.rollback()
    for id_, name in enumerate(BOTH, 1):
        assert tables.line_in_redis(redis, name) == tables.line_in_sql(id_)
    assert gate.verify() == {}


def _name(cohort_id: int) -> str:
    cohort = db.session.get(Cohort, cohort_id)
    assert cohort is not None
    return cohort.name


def test_a_quota_binds_who_was_moved_as_it_binds_all(app: Flask, now: datetime) -> None:
    people.add_cohort("beta", now=now, quota=2)
    people.crowd(4, now=now)
    people.open_gate(100, now=now)
    assert move(now, *(f"p{number}@example.org" for number in range(4))) == 4
    wave = waves.admit(9, cohort="beta", actor="test", now=now)
    assert (wave.admitted, gate.verify()) == (2, {})
    assert move(now, "p2@example.org", source="beta", target="general") == 1
    assert waves.admit(9, cohort=None, actor="test", now=now).by_cohort == {"general": 1}


def test_whoever_holds_a_seat_stays_with_it(app: Flask, now: datetime) -> None:
    people.add_cohort("beta", now=now)
    people.crowd(2, now=now)
    people.admit(1, now=now)
    assert move(now, "p0@example.org", "p1@example.org") == 1
    seats = dict(db.session.execute(select(Cohort.name, Cohort.seats_used)).all())
    assert seats == {"general": 1, "beta": 0}


def test_a_cohort_whose_people_wait_cant_be_added_once_more(app: Flask, now: datetime) -> None:
    people.add_cohort("beta", now=now)
    people.crowd(2, now=now, cohort="beta")
    before = everything()
    with pytest.raises(CohortExists):
        cohorts.add("beta", opens_at=None, quota=None, weight=1, actor="test", now=now)
    assert everything() == before
