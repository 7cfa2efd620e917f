"""What operators do to invitations by command: resend, extend, take back, issue afresh."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select, update

from tests import people, tables
from tests.conftest import Deliver
from tests.people import ALICE, BOB, CAROL
from tests.servers import SmtpSink
from tests.visitors import Operator
from waitlist import links, projection, seats
from waitlist.admission import gate, progress, waves
from waitlist.errors import ValueRefused
from waitlist.extensions import db
from waitlist.models import Audit, Entry, Message
from waitlist.onboarding import extending, invitations, reminding

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def quiet(alice: Entry, clock: time_machine.Traveller, deliver: Deliver, now: datetime) -> None:
    """Alice is invited, an hour has passed, and no other mail is owed."""
    clock.move_to(now + HOUR)
    deliver(now + HOUR)


@pytest.fixture
def late(clock: time_machine.Traveller, end: datetime) -> datetime:
    """Alice's invitation has lapsed, and the clock stands there."""
    clock.move_to(end + HOUR)
    invitations.lapse(now=end + HOUR)
    return end + HOUR


def _end(entry: Entry) -> datetime | None:
    return people.invitation_of(entry).expires_at


def _acts() -> list[tuple[str, str, str]]:
    """Action, subject and reason of what the audit has of invitations."""
    db.session.rollback()
    rows = db.session.execute(
        select(Audit.action, Audit.subject, Audit.reason)
        .where(Audit.action.like("invitation.%") | Audit.action.like("wave.ext%"))
        .order_by(Audit.id)
    )
    found = [(action, subject, reason) for action, subject, reason in rows]
    db.session.rollback()
    return found


def _all_is_well() -> None:
    assert gate.verify() == {}
    db.session.rollback()
    projection.settle(1)
    assert projection.check(1) == []


def test_a_resend_mails_the_same_link_whose_time_runs_on(
    runner: Operator, alice: Entry, token: str, end: datetime, now: datetime, deliver: Deliver
) -> None:
    said = runner.json("invitation", "resend", ALICE, "--reason", "she lost it")
    assert said == {"resent": 1}
    (mail,) = deliver(now + HOUR)
    assert people.token_in(mail, "/invite/") == token
    assert "March 4, 2027" in people.words_of(mail)
    assert (people.invitation_of(alice).generation, _end(alice)) == (1, end)
    assert _acts() == [("invitation.resend", f"entry:{alice.id}", "she lost it")]
    wave, stands = progress.show(people.invitation_of(alice).wave_id)
    assert (wave.admitted, stands.mailed, stands.to_mail) == (1, 1, 0)


def test_a_resend_waits_for_the_mail_that_is_owed_already(
    runner: Operator, alice: Entry, token: str
) -> None:
    assert runner.run("invitation", "resend", ALICE).exit_code == 0
    again = runner.run("invitation", "resend", ALICE)
    assert again.exit_code == 1
    assert "still to be sent" in again.stderr


def test_a_resend_begins_the_time_of_one_that_was_never_mailed(
    runner: Operator, now: datetime, deliver: Deliver
) -> None:
    """P8: such as one whose mail was cancelled before its address was mended."""
    bob = people.wait_in_line(BOB, now=now)
    people.invite(bob, now=now)
    db.session.execute(update(Message).values(state="cancelled"))
    db.session.commit()
    runner.json("invitation", "resend", BOB)
    deliver(now + HOUR)
    assert _end(bob) == now + 73 * HOUR


def test_a_resend_that_bounces_leaves_an_invitation_whose_link_came(
    runner: Operator, alice: Entry, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    """P11."""
    runner.json("invitation", "resend", ALICE)
    sink.rcpt_answer = "550 No such person"
    deliver(now + HOUR)
    assert people.invitation_of(alice).state == "open"
    refused = runner.run("invitation", "resend", ALICE)
    assert "flask person unsuppress" in refused.stderr
    runner.json("person", "unsuppress", ALICE)
    sink.rcpt_answer = None
    assert runner.json("invitation", "resend", ALICE) == {"resent": 1}
    assert len(deliver(now + HOUR)) == 1


def test_extending_keeps_the_link_and_tells_what_was(
    runner: Operator, alice: Entry, token: str, end: datetime
) -> None:
    said = runner.json("invitation", "extend", ALICE, "--by", "24h", "--reason", "our fault")
    assert said == {"extended": 1, "unchanged": 0}
    assert _end(alice) == end + DAY
    assert links.invitation_token(people.invitation_of(alice)) == token
    act = db.session.scalars(select(Audit).order_by(Audit.id.desc())).first()
    assert act is not None
    assert (act.before, act.after) == (
        {"until": end.isoformat()},
        {"until": (end + DAY).isoformat()},
    )


def test_extending_until_a_moment_never_cuts_short(
    runner: Operator, alice: Entry, end: datetime
) -> None:
    said = runner.json("invitation", "extend", ALICE, "--until", "2027-03-02T12:00Z")
    assert said == {"extended": 0, "unchanged": 1}
    assert _end(alice) == end
    runner.json("invitation", "extend", ALICE, "--until", "2027-03-09T12:00Z")
    assert _end(alice) == end + 5 * DAY


def test_in_the_half_hour_after_its_end_one_is_extended_from_now_on(
    runner: Operator, alice: Entry, end: datetime, clock: time_machine.Traveller
) -> None:
    """P11."""
    clock.move_to(end + 10 * MINUTE)
    runner.json("invitation", "extend", ALICE, "--by", "2h")
    assert _end(alice) == end + 2 * HOUR + 10 * MINUTE
    assert invitations.lapse(now=end + HOUR) == 0
    people.register(alice, "ada", now=end + 2 * HOUR)


def test_an_extension_brings_one_more_reminder_and_takes_back_the_one_that_is_owed(
    runner: Operator, alice: Entry, end: datetime, clock: time_machine.Traveller, deliver: Deliver
) -> None:
    clock.move_to(end - DAY)
    assert reminding.remind(now=end - DAY) == 1
    runner.json("invitation", "extend", ALICE, "--by", "48h")
    assert deliver(end - DAY) == []
    assert reminding.remind(now=end + DAY - SECOND) == 0
    assert reminding.remind(now=end + DAY) == 1
    assert len(deliver(end + DAY)) == 1


def test_a_short_extension_leaves_the_reminder_which_tells_the_new_end(
    runner: Operator, alice: Entry, end: datetime, clock: time_machine.Traveller, deliver: Deliver
) -> None:
    clock.move_to(end - 20 * HOUR)
    reminding.remind(now=end - 20 * HOUR)
    runner.json("invitation", "extend", ALICE, "--by", "3h")
    (mail,) = deliver(end - 20 * HOUR)
    assert "3:00" in people.words_of(mail)
    assert reminding.remind(now=end) == 0


def test_a_whole_wave_is_extended(
    runner: Operator,
    alice: Entry,
    end: datetime,
    now: datetime,
    deliver: Deliver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extending, "BATCH", 2)
    ids = people.crowd(5, now=now)
    people.open_gate(10, now=now)
    wave_id = waves.admit(5, cohort=None, actor="test", now=now).wave_id
    deliver(now + HOUR)
    people.register(db.session.get_one(Entry, ids[0]), "ada", now=now + HOUR)
    told = runner.json("invitation", "extend", "--wave", str(wave_id), "--by", "1d")
    assert told == {"extended": 4, "unchanged": 0}
    for entry_id in ids[1:]:
        assert _end(db.session.get_one(Entry, entry_id)) == now + 97 * HOUR
    assert _end(alice) == end
    assert _acts() == [("wave.extend", f"wave:{wave_id}", "")]


def test_revoking_frees_the_seat_and_keeps_the_place(
    runner: Operator, alice: Entry, now: datetime, deliver: Deliver
) -> None:
    """P4, P12."""
    said = runner.json("invitation", "revoke", ALICE, "--apology")
    assert said == {"revoked": 1, "apologies": 1}
    assert people.find(ALICE).state == "waiting"
    assert people.find(ALICE).rank == alice.rank
    (mail,) = deliver(now + HOUR)
    assert "came too early" in str(mail["Subject"])
    assert gate.show(now=now).seats_used == 0
    _all_is_well()
    assert runner.run("invitation", "revoke", ALICE).exit_code == 1


def test_who_was_never_mailed_needs_no_apology(
    runner: Operator, now: datetime, deliver: Deliver
) -> None:
    """P9."""
    bob = people.wait_in_line(BOB, now=now)
    people.invite(bob, now=now)
    assert runner.json("invitation", "revoke", BOB, "--apology") == {"revoked": 1, "apologies": 0}
    deliver(now + HOUR)
    assert ("invitation", "cancelled") in people.mails_owed(bob)
    assert "apology" not in dict(people.mails_owed(bob))
    _all_is_well()


def test_an_operator_issues_a_fresh_one_where_the_three_are_used_up(
    runner: Operator, alice: Entry, token: str, late: datetime, deliver: Deliver
) -> None:
    people.make(alice, renewals=3)
    assert invitations.renew(token, now=late) is None
    assert runner.json("invitation", "reissue", ALICE, "--reason", "she asked") == {"reissued": 1}
    deliver(late)
    assert people.invitation_of(alice).generation == 2
    assert people.find(ALICE).renewals == 3
    assert _acts() == [("invitation.reissue", f"entry:{alice.id}", "she asked")]
    _all_is_well()


@pytest.mark.parametrize("command", ["resend", "revoke", "reissue"])
def test_all_who_are_named_or_nobody(
    runner: Operator, alice: Entry, now: datetime, command: str, deliver: Deliver
) -> None:
    """One sentence for each who stands in the way."""
    people.wait_in_line(BOB, now=now)
    people.wait_in_line(CAROL, now=now)
    deliver(now + HOUR)
    before = tables.everything()
    refused = runner.run("invitation", command, ALICE, BOB, CAROL)
    assert refused.exit_code == 1
    assert f"{BOB}: " in refused.stderr
    assert f"{CAROL}: " in refused.stderr
    assert tables.everything() == before


def _lapsed(alice: Entry, end: datetime) -> None:
    invitations.lapse(now=end + HOUR)


def _registered(alice: Entry, end: datetime) -> None:
    people.register(alice, "ada", now=end - HOUR)


def _without_seats(alice: Entry, end: datetime) -> None:
    _lapsed(alice, end)
    people.open_gate(0, now=end)


def _paused(alice: Entry, end: datetime) -> None:
    _lapsed(alice, end)
    gate.change(actor="test", now=end, paused=True)


@pytest.mark.parametrize(
    "words,first,sentence",
    [
        (["resend", ALICE], _lapsed, "flask invitation reissue"),
        (["extend", ALICE, "--by", "1h"], _lapsed, "flask invitation reissue"),
        (["revoke", ALICE], _registered, "is registered already"),
        (["reissue", ALICE], _registered, "is registered already"),
        (["reissue", ALICE], None, "flask invitation resend, or extend"),
        (["reissue", ALICE], _without_seats, "no seat is free"),
        (["reissue", ALICE], _paused, "flask gate resume"),
        (["resend", BOB], None, "nobody is known by"),
        (["extend", "--wave", "99", "--by", "1h"], None, "there is no wave 99"),
        (["extend", ALICE, "--by", "soon"], None, "a while is such as"),
        (["extend", ALICE, "--until", "2027-02-01T00:00Z"], None, "is past"),
    ],
)
def test_what_cant_be_done_is_refused_with_what_to_do_instead(
    runner: Operator,
    alice: Entry,
    end: datetime,
    words: list[str],
    first: Callable[[Entry, datetime], None] | None,
    sentence: str,
) -> None:
    if first is not None:
        first(alice, end)
    before = tables.everything()
    refused = runner.run("invitation", *words)
    assert (refused.exit_code, sentence in refused.stderr) == (1, True), refused.stderr
    assert tables.everything() == before


@pytest.mark.parametrize(
    "words",
    [
        ["extend", "--by", "1h"],
        ["extend", ALICE],
        ["extend", ALICE, "--by", "1h", "--until", "2027-03-09T12:00Z"],
        ["extend", ALICE, "--wave", "1", "--by", "1h"],
        ["resend"],
    ],
)
def test_what_isnt_a_command_is_told_how(runner: Operator, words: list[str]) -> None:
    assert runner.run("invitation", *words).exit_code == 2


@pytest.mark.parametrize(
    "state,subject",
    [
        ("pending", "Confirm your place"),
        ("unconfirmed", "Confirm your place"),
        ("waiting", "Your place in the line"),
        ("invited", "Your fresh link"),
        ("registered", "Welcome to Aurora"),
        ("lapsed", "Ask for a new invitation"),
        ("withdrawn", "Come back to the line"),
        ("suppressed", None),
        ("removed", None),
    ],
)
def test_a_person_is_mailed_again_what_fits_how_they_stand(
    app: Flask,
    runner: Operator,
    now: datetime,
    clock: time_machine.Traveller,
    deliver: Deliver,
    state: str,
    subject: str | None,
) -> None:
    clock.move_to(now)
    entry = people.in_every_state(now=now, deliver=deliver)[state]
    before = (entry.state, entry.rank, entry.confirm_by)
    done = runner.run("person", "resend", entry.address, "--reason", "asked by phone")
    assert done.exit_code == (0 if subject else 1), done.stderr
    mails = deliver(now)
    assert [subject in str(mail["Subject"]) for mail in mails if subject] == [True] * bool(subject)
    after = people.find(entry.address)
    assert (after.state, after.rank, after.confirm_by) == before


def test_who_is_extended_while_others_lapse_stays_open_or_hears_that_it_is_too_late(
    app: Flask, alice: Entry, end: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P12: the lapse has found her over, and is held before it says so."""
    at, found = end + 30 * MINUTE, threading.Event()
    give_back = seats.give_back

    def late(*args: Any, **more: Any) -> Sequence[int]:
        found.set()
        threading.Event().wait(0.5)
        return give_back(*args, **more)

    def extend() -> int:
        found.wait(10)
        try:
            return extending.extend([alice.id], by=HOUR, actor="test", reason="", now=at).extended
        except ValueRefused:
            return 0

    monkeypatch.setattr(seats, "give_back", late)
    calls: list[Callable[[], int]] = [extend, lambda: invitations.lapse(now=at)]
    extended, lapsed = people.at_once(app, calls)
    assert (extended, lapsed) == (0, 1)
    assert people.find(ALICE).state == "lapsed"
    _all_is_well()
