"""Removing people from the line: out, for good, and known so that they stay out."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import select

from tests import people, tables
from tests.conftest import Deliver
from tests.people import ALICE, BOB, mails_owed
from tests.visitors import Browser, Operator
from waitlist import delivery, leasing, links, projection
from waitlist.admission import gate
from waitlist.errors import InvitationClosed, ValueRefused
from waitlist.extensions import db
from waitlist.models import Audit, Entry, Invitation
from waitlist.onboarding import completion
from waitlist.signup import joining, removing
from waitlist.signup.removing import Removed
from waitlist.tokens import Purpose

DAY = timedelta(days=1)


def remove(address: str, *, now: datetime) -> Removed:
    done = removing.remove(address, actor="test", reason="spam", now=now)
    db.session.rollback()
    return done


@pytest.mark.parametrize("state", removing.REMOVABLE)
def test_whoever_is_removed_is_out_whatever_they_were(
    app: Flask, redis: Redis, now: datetime, deliver: Deliver, state: str
) -> None:
    """P4, P13."""
    entry = people.in_every_state(now=now, deliver=deliver)[state]
    used = gate.show(now=now).seats_used
    done = remove(entry.address, now=now)
    assert (done.was, done.seats) == (state, int(state == "invited"))
    assert people.find(entry.address).state == "removed"
    assert gate.show(now=now).seats_used == used - done.seats
    assert gate.verify() == {}
    assert projection.check(1) == []
    assert not db.session.scalars(
        select(Invitation).filter_by(entry_id=entry.id, state="open")
    ).all()


def test_removing_twice_is_the_same_as_once(app: Flask, now: datetime) -> None:
    people.wait_in_line(ALICE, now=now)
    remove(ALICE, now=now)
    before = tables.everything()
    assert remove(ALICE, now=now).was == "removed"
    assert tables.everything() == before


def test_who_has_registered_isnt_removed_and_the_operator_is_told_what_to_do(
    app: Flask, runner: Operator, now: datetime, alice: Entry
) -> None:
    people.register(alice, "ada", now=now)
    before = tables.everything()
    result = runner.run("person", "remove", ALICE)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"flask person erase {ALICE}" in result.stderr
    assert tables.everything() == before


def test_what_was_queued_is_cancelled_and_what_is_under_way_is_told(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    """P9."""
    alice = people.wait_in_line(ALICE, now=now)
    leasing.lease(now=now)
    people.invite(alice, now=now)
    done = remove(ALICE, now=now)
    assert (done.cancelled, [*done.under_way]) == (1, ["standing"])
    assert dict(mails_owed(alice)) == {
        "confirm": "cancelled",
        "standing": "sending",
        "invitation": "cancelled",
    }
    assert deliver(now) == []


def test_who_is_removed_while_their_mail_is_about_to_go_isnt_mailed(
    app: Flask, now: datetime, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9: what the worker reads last is the truth."""
    people.join(ALICE, now=now)
    monkeypatch.setattr(delivery, "failpoint", lambda at: _once(at, "mail.leased", now))
    assert deliver(now) == []
    assert people.find(ALICE).state == "removed"


def _once(at: str, wanted: str, now: datetime) -> None:
    if at == wanted:
        remove(ALICE, now=now)


def test_who_was_removed_isnt_mailed_for_joining_again_nor_taken_in(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    entry = people.wait_in_line(ALICE, now=now)
    deliver(now)
    remove(ALICE, now=now)
    later = now + DAY
    people.join(ALICE, now=later)
    assert joining.confirm(links.entry_token(Purpose.CONFIRM, entry), now=later).state == "removed"
    assert deliver(later) == []
    assert people.find(ALICE).state == "removed"


def test_the_invitation_of_who_was_removed_is_over(
    app: Flask, client: Browser, now: datetime, token: str
) -> None:
    remove(ALICE, now=now)
    assert client.get(f"/invite/{token}").status_code == 410
    with pytest.raises(InvitationClosed):
        completion.complete(token, people.form(), now=now)


def test_completing_and_removing_at_once_one_of_them_wins(
    app: Flask, now: datetime, token: str
) -> None:
    """P12: whoever was first; the counters agree either way."""

    def complete() -> str:
        try:
            return completion.complete(token, people.form(), now=now).handle
        except InvitationClosed as closed:
            return closed.state

    def take_out() -> str:
        try:
            return remove(ALICE, now=now).was
        except ValueRefused:
            return "refused"

    assert tuple(people.at_once(app, [complete, take_out])) in {
        ("ada", "refused"),
        ("revoked", "invited"),
    }
    assert gate.verify() == {}
    assert people.find(ALICE).state in ("registered", "removed")


def test_removing_is_audited_by_id(runner: Operator, app: Flask, now: datetime) -> None:
    entry = people.wait_in_line(ALICE, now=now)
    done = runner.json("person", "remove", ALICE, "--reason", "a machine")
    assert (done["was"], done["seats"]) == ("waiting", 0)
    act = db.session.scalars(select(Audit).filter_by(action="person.remove")).one()
    assert (act.subject, act.reason) == (f"entry:{entry.id}", "a machine")
    assert (act.before, act.after) == ({"state": "waiting"}, {"state": "removed", "seats_freed": 0})
    told = runner.json("person", "show", ALICE)
    assert told["state"] == "removed"
    assert any("person.remove" in one["what"] for one in told["timeline"])


def test_a_reason_that_names_the_address_is_refused(
    runner: Operator, app: Flask, now: datetime
) -> None:
    """P19: the audit is never erased."""
    people.wait_in_line(ALICE, now=now)
    before = tables.everything()
    for act in ("remove", "erase"):
        result = runner.run("person", act, ALICE, "--reason", f"{ALICE.upper()} asked for it")
        assert result.exit_code == 1
        assert "audit" in result.stderr
        assert runner.run("person", act, BOB).exit_code == 1
    assert tables.everything() == before
