"""Waves of people whom an operator names: they overtake, by a reason that is kept."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from tests import people
from tests.conftest import Deliver
from tests.people import ALICE, BOB, CAROL
from waitlist import cohorts
from waitlist.admission import gate, named, plans, preview, rounds, waves
from waitlist.admission.named import Unable
from waitlist.admission.plans import When
from waitlist.admission.rounds import Outcome
from waitlist.errors import ValueRefused
from waitlist.extensions import db
from waitlist.models import Audit, Entry, Gate, Invitation, Wave, WavePerson

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def _invite(ids: list[int], now: datetime, when: When = plans.AT_ONCE) -> Outcome:
    outcome = waves.invite(ids, actor="ines", reason="friends", now=now, when=when)
    assert gate.verify() == {}
    db.session.rollback()
    return outcome


def _invited() -> list[int]:
    found = db.session.scalars(select(Invitation.entry_id).order_by(Invitation.id)).all()
    db.session.rollback()
    return list(found)


def _note(wave_id: int | None) -> tuple[str, str]:
    db.session.rollback()
    state, note = db.session.execute(select(Wave.state, Wave.note).where(Wave.id == wave_id)).one()
    db.session.rollback()
    return state, note


def test_named_people_come_in_the_order_of_the_list_wherever_they_stand(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3, P7: they take seats as anybody does, of their cohort's too."""
    monkeypatch.setattr(rounds, "ROUND", 2)
    beta = people.add_cohort("beta", now=now, opened=False)
    theirs = people.crowd(3, now=now, cohort="beta", name="b")
    ids = people.crowd(6, now=now)
    people.open_gate(10, now=now)
    named_ids = [ids[5], theirs[2], ids[3], theirs[0], ids[4]]
    foretold = preview.of_named(named_ids, now=now)
    outcome = _invite(named_ids, now)
    assert _invited() == named_ids == foretold.people
    assert outcome.by_cohort == {"general": 3, "beta": 2} == foretold.by_cohort
    assert db.session.scalar(select(Gate.seats_used)) == 5
    assert [one.position for one in foretold.ends] == [6, 3, 4, 1, 5]
    assert foretold.seats["cohort beta"] == (0, 2, None)
    assert beta.id == 2


def test_whoever_overtook_is_told_from_the_records_alone_with_the_reason(
    app: Flask, now: datetime
) -> None:
    """P6: all others came in as they stood, before and after."""
    ids = people.crowd(8, now=now)
    people.open_gate(100, now=now)
    waves.admit(2, cohort=None, actor="test", now=now)
    _invite([ids[6], ids[4]], now)
    waves.admit(3, cohort=None, actor="test", now=now)
    assert _invited() == [ids[0], ids[1], ids[6], ids[4], ids[2], ids[3], ids[5]]
    waiting = dict(db.session.execute(select(Entry.id, Entry.rank)).all())
    rows = db.session.execute(
        select(Invitation.entry_id, Wave.id, Wave.by_list, Wave.reason)
        .join(Wave, Wave.id == Invitation.wave_id)
        .order_by(Invitation.id)
    )
    overtook = {}
    for entry_id, wave_id, by_list, reason in rows:
        if entry_id != min(waiting, key=lambda one: (waiting[one], one)):
            nth = db.session.scalar(
                select(WavePerson.nth).where(
                    WavePerson.wave_id == wave_id, WavePerson.entry_id == entry_id
                )
            )
            overtook[entry_id] = (by_list, reason, nth)
        del waiting[entry_id]
    assert overtook == {ids[6]: (True, "friends", 0), ids[4]: (True, "friends", 1)}


def test_who_has_no_seat_or_whose_quota_is_used_up_isnt_admitted_and_holds_up_nobody(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3."""
    monkeypatch.setattr(rounds, "ROUND", 2)
    people.add_cohort("beta", now=now, quota=1)
    theirs = people.crowd(4, now=now, cohort="beta", name="b")
    ids = people.crowd(4, now=now)
    people.open_gate(4, now=now)
    wanted = [*theirs, *ids]
    foretold = preview.of_named(wanted, now=now)
    outcome = _invite(wanted, now)
    assert _invited() == [theirs[0], *ids[:3]] == foretold.people
    assert _note(outcome.wave_id) == ("done", plans.WHY["capacity"])
    assert outcome.limit == foretold.limit == "capacity"


def test_a_planned_list_waits_for_the_quota_and_passes_over_who_left_meanwhile(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    people.add_cohort("beta", now=now, quota=1)
    theirs = people.crowd(2, now=now, cohort="beta", name="b")
    alice = people.wait_in_line(ALICE, now=now)
    bob = people.wait_in_line(BOB, now=now)
    people.open_gate(10, now=now)
    outcome = _invite([*theirs, alice.id, bob.id], now, When(now + HOUR))
    people.make(alice, state="withdrawn")
    plans.carry_on_due(now=now + HOUR)
    assert _invited() == [theirs[0], bob.id]
    assert _note(outcome.wave_id) == ("running", f"waits: {plans.WHY['quota']}")
    cohorts.change("beta", actor="test", now=now, quota=2)
    plans.carry_on_due(now=now + HOUR + SECOND)
    assert _invited() == [theirs[0], bob.id, theirs[1]]
    assert _note(outcome.wave_id) == ("done", plans.WHY["nobody"])


def test_a_list_may_be_spread(app: Flask, now: datetime) -> None:
    ids = people.crowd(4, now=now)
    people.open_gate(10, now=now)
    _invite([ids[3], ids[1]], now, When(over=2 * MINUTE))
    came = [plans.carry_on_due(now=now + MINUTE * at)[0].admitted for at in (1, 2)]
    assert came == [1, 1]
    assert _invited() == [ids[3], ids[1]]


def test_nobody_is_invited_twice_by_the_same_list(app: Flask, now: datetime) -> None:
    """P7: whoever came back to the line stands there as anybody."""
    alice, bob = (people.wait_in_line(one, now=now) for one in (ALICE, BOB))
    people.open_gate(10, now=now)
    _invite([alice.id, bob.id], now, When(over=2 * MINUTE))
    plans.carry_on_due(now=now + MINUTE)
    db.session.execute(Invitation.__table__.update().values(state="expired"))
    db.session.execute(Gate.__table__.update().values(seats_used=0))
    db.session.execute(db.metadata.tables["cohorts"].update().values(seats_used=0))
    db.session.commit()
    people.make(alice, state="waiting")
    plans.carry_on_due(now=now + 2 * MINUTE)
    assert _invited() == [alice.id, bob.id]


def test_a_list_without_a_reason_is_refused(app: Flask, now: datetime) -> None:
    alice = people.wait_in_line(ALICE, now=now)
    with pytest.raises(ValueRefused, match="--reason"):
        waves.invite([alice.id], actor="ines", reason="", now=now)
    assert db.session.scalars(select(Wave)).all() == []


def test_whoever_cant_be_invited_is_told_with_the_reason(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    everybody = people.in_every_state(now=now, deliver=deliver)
    addresses = [entry.address for entry in everybody.values()]
    found = named.find([*addresses, "nobody@example.org", "not an address", addresses[0]])
    assert found.entry_ids == [everybody["waiting"].id]
    why = {address.partition("@")[0]: reason for address, reason in found.unable}
    assert why == {
        "not an address": "isn't a mail address",
        "nobody": "isn't known",
        "invited": "is invited already",
        "registered": "is registered already",
        "lapsed": "let an invitation lapse and hasn't asked for another",
        "withdrawn": "left the line",
        "removed": "was removed",
        "pending": "hasn't confirmed",
        "unconfirmed": "hasn't confirmed",
        "suppressed": "can't be mailed: see flask person unsuppress",
    }
    with pytest.raises(ValueRefused, match=r"nobody@example\.org: isn't known"):
        named.require_able(found)


def test_the_same_person_twice_counts_once_at_the_first_place(app: Flask, now: datetime) -> None:
    alice, bob = (people.wait_in_line(one, now=now) for one in (ALICE, BOB))
    found = named.find([BOB, ALICE.upper(), f" {BOB} "])
    assert found == ([bob.id, alice.id], list[Unable]())


def test_a_list_is_audited_with_its_reason_and_no_address(app: Flask, now: datetime) -> None:
    """P19."""
    carol = people.wait_in_line(CAROL, now=now)
    people.open_gate(1, now=now)
    _invite([carol.id], now)
    audited = db.session.scalars(select(Audit).where(Audit.action == "wave.invite")).one()
    assert (audited.reason, audited.after) == ("friends", {"asked": 1})
