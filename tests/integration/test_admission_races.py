"""Admitters at once: one lock, so that order and capacity hold whoever admits."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from tests import people, tables
from waitlist import projection
from waitlist.admission import gate, rounds, waves
from waitlist.extensions import db
from waitlist.models import Cohort, Entry, Gate, Invitation, Message, Wave

HELD = 0.5  # seconds


def _invited() -> Counter[int]:
    found = Counter(db.session.scalars(select(Invitation.entry_id)))
    db.session.rollback()
    return found


def _all_is_well() -> None:
    assert gate.verify() == {}
    db.session.rollback()
    projection.settle(1)
    assert projection.check(1) == []
    assert set(_invited().values()) <= {1}


def test_eight_admitters_at_once_fill_every_seat_once(app: Flask, now: datetime) -> None:
    """P3, P7: waves and ticks; nobody is invited twice and no seat is given twice."""
    ids = people.crowd(20, now=now)
    people.open_gate(13, 36_000, now=now)
    waves.tick(now=now)

    def wave() -> int:
        return waves.admit(4, cohort=None, actor="test", now=now).admitted

    def tick() -> int:
        return waves.tick(now=now + timedelta(seconds=1)).admitted

    admitted = people.at_once(app, [wave, tick] * 4)
    assert sum(admitted) == 13
    assert sorted(_invited()) == ids[:13]
    _all_is_well()


@pytest.mark.parametrize(
    "place", ["admission.locked", "admission.before-commit", "admission.committed"]
)
def test_an_admitter_who_is_held_and_goes_on_admits_nobody_twice(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """P7: the other has read the same heads, and finds them gone."""
    ids = people.crowd(8, now=now)
    people.open_gate(7, now=now)
    held = threading.Event()

    def hold(passed: str) -> None:
        if passed == place and not held.is_set():
            held.set()
            threading.Event().wait(HELD)

    monkeypatch.setattr(rounds, "failpoint", hold)

    def wave() -> int:
        return waves.admit(4, cohort=None, actor="test", now=now).admitted

    assert sorted(people.at_once(app, [wave, wave])) == [3, 4]
    assert held.is_set()
    assert sorted(_invited()) == ids[:7]
    _all_is_well()


def test_an_admitter_that_dies_before_its_commit_leaves_nothing_but_its_wave_halted(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9: no mail, no seat and no invitation without the commit."""
    ids = people.crowd(3, now=now)
    people.open_gate(2, now=now)
    before = tables.everything()

    def die(passed: str) -> None:
        if passed == "admission.before-commit":
            raise RuntimeError(passed)

    with monkeypatch.context() as patched:
        patched.setattr(rounds, "failpoint", die)
        with pytest.raises(RuntimeError, match="before-commit"):
            waves.admit(2, cohort=None, actor="test", now=now)
    after = tables.everything()
    assert {name for name in after if after[name] != before[name]} == {"waves", "audit"}
    assert db.session.scalars(select(Wave.state)).all() == ["halted"]
    db.session.rollback()
    assert waves.admit(2, cohort=None, actor="test", now=now).admitted == 2
    assert sorted(_invited()) == ids[:2]
    _all_is_well()


def test_people_who_left_after_the_heads_were_read_are_replaced_by_the_next(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = people.crowd(6, now=now)
    people.open_gate(6, now=now)
    _once_locked(monkeypatch, ids[:2], state="withdrawn")
    outcome = waves.admit(3, cohort=None, actor="test", now=now)
    assert outcome.admitted == 3
    assert sorted(_invited()) == ids[2:5]
    _all_is_well()


def test_somebody_who_cant_be_mailed_any_more_after_the_heads_were_read_isnt_admitted(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = people.crowd(4, now=now)
    people.open_gate(6, now=now)
    _once_locked(monkeypatch, ids[:1], suppressed_at=now)
    waves.admit(2, cohort=None, actor="test", now=now)
    assert sorted(_invited()) == ids[1:3]
    assert gate.verify() == {}


def test_somebody_who_was_moved_after_the_heads_were_read_isnt_admitted_from_there(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    beta = people.add_cohort("beta", now=now, opened=False)
    ids = people.crowd(4, now=now)
    people.open_gate(6, now=now)
    _once_locked(monkeypatch, ids[:1], cohort_id=beta.id)
    waves.admit(2, cohort=None, actor="test", now=now)
    assert sorted(_invited()) == ids[1:3]
    assert gate.verify() == {}


def test_somebody_whose_rank_changed_after_the_heads_were_read_waits_for_the_new_place(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P5: whoever went to the end isn't taken for the place they had."""
    ids = people.crowd(4, now=now)
    people.open_gate(6, now=now)
    _once_locked(monkeypatch, ids[:1], rank=1_000)
    waves.admit(2, cohort=None, actor="test", now=now)
    assert sorted(_invited()) == ids[1:3]
    _all_is_well()


def test_an_invitation_and_its_mail_are_owed_in_one_transaction(app: Flask, now: datetime) -> None:
    """P8: each invitation has one mail, queued in the order of the line."""
    ids = people.crowd(5, now=now)
    people.open_gate(5, now=now)
    waves.admit(5, cohort=None, actor="test", now=now)
    owed = select(Message.entry_id).where(Message.kind == "invitation").order_by(Message.id)
    assert db.session.scalars(owed).all() == ids
    assert db.session.scalar(select(Gate.seats_used)) == 5
    assert db.session.scalar(select(Cohort.seats_used)) == 5
    assert db.session.scalar(select(func.count()).select_from(Invitation)) == 5


def _once_locked(monkeypatch: pytest.MonkeyPatch, ids: list[int], **values: object) -> None:
    """These entries become so between the reading of the heads and the first guarded update."""
    passed: list[str] = []

    def change(place: str) -> None:
        passed.append(place)
        assert len(passed) < 500, "a wave goes round and round"
        if len(passed) == 1:
            db.session.execute(update(Entry).where(Entry.id.in_(ids)).values(**values))

    monkeypatch.setattr(rounds, "failpoint", change)
