"""What follows from a report: states, seats, suppression and the bounce guard, each once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests import people
from tests.conftest import Deliver
from tests.people import ALICE, BOB, mails_owed
from tests.reports import kept, mail_of
from tests.servers import SmtpSink
from tests.visitors import Operator
from waitlist import leasing, lifetimes, links, mailer, outbox, projection, writing
from waitlist.admission import gate, waves
from waitlist.errors import InvitationClosed
from waitlist.extensions import db
from waitlist.models import Audit, Entry, Message
from waitlist.onboarding import completion
from waitlist.policy.reports import Kind
from waitlist.reports import taking
from waitlist.reports.report import Report
from waitlist.reports.taking import Outcome
from waitlist.signup import leaving
from waitlist.tokens import Purpose

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
NUMBERS = itertools.count()
ORDERS = list(itertools.permutations(["delivered", "complained", "bounced"]))


def _report(kind: str, message: Message, *, number: int | None = None, to: str = ALICE) -> Report:
    """A report of this mail; each another one, unless it has a number."""
    which = next(NUMBERS) if number is None else number
    named = mailer.stable_message_id(message.id)
    return Report("test", f"r{which}", Kind(kind), names=named, address=to, words="5.1.1")


def _say(kind: str, entry: Entry, of: str = "invitation", *, now: datetime) -> Outcome:
    return taking.take(_report(kind, mail_of(entry, of), to=entry.address), now=now)


def _seats(now: datetime) -> int:
    used = gate.show(now=now).seats_used
    db.session.rollback()
    return used


def test_a_delivered_mail_says_so_and_all_else_stays(alice: Entry, now: datetime) -> None:
    assert _say("delivered", alice, now=now) is Outcome.TAKEN
    message = mail_of(alice, "invitation")
    assert (message.state, message.sent_at) == ("delivered", now)
    assert people.invitation_of(alice).state == "open"
    assert people.find(ALICE).suppressed_at is None
    assert kept() == [("test", "delivered", "5.1.1")]


def test_an_invitation_that_came_back_gives_its_seat_to_the_gate_and_the_entry_says_so(
    alice: Entry, now: datetime
) -> None:
    """P4, P8."""
    assert _seats(now) == 1
    _say("bounced", alice, now=now + HOUR)
    assert mails_owed(alice)[-1] == ("invitation", "bounced")
    assert people.invitation_of(alice).state == "revoked"
    found = people.find(ALICE)
    assert (found.state, found.suppressed_at) == ("waiting", now + HOUR)
    assert _seats(now) == 0
    assert gate.verify() == {}
    assert projection.place_of(found).position is None  # passed over


def test_whoever_has_registered_keeps_it_though_a_mail_comes_back(
    alice: Entry, now: datetime
) -> None:
    """P12: an invitation that was used stays used."""
    people.register(alice, "ada", now=now)
    _say("bounced", alice, now=now + HOUR)
    assert people.invitation_of(alice).state == "used"
    assert people.find(ALICE).state == "registered"
    assert _seats(now) == 1
    assert gate.verify() == {}


def test_an_invitation_stays_open_where_another_mail_of_it_arrived(
    alice: Entry, now: datetime
) -> None:
    """P11: somebody may be typing in its form."""
    invitation = people.invitation_of(alice)
    outbox.stage("invitation", [alice.id], invitations=[invitation.id], now=now)
    [second] = leasing.lease(now=now)
    outbox.mark(second, state="sent", now=now)
    db.session.commit()
    _say("bounced", alice, now=now + HOUR)
    assert mail_of(alice, "invitation").state == "bounced"
    assert people.invitation_of(alice).state == "open"
    assert people.find(ALICE).suppressed_at == now + HOUR
    assert _seats(now) == 1
    first = select(Message).where(Message.entry_id == alice.id, Message.state == "sent")
    [left] = [one for one in db.session.scalars(first) if one.kind == "invitation"]
    db.session.rollback()
    taking.take(_report("bounced", left), now=now + HOUR)
    assert people.invitation_of(alice).state == "revoked"
    assert _seats(now) == 0


def test_whoever_complains_may_still_finish_and_gets_no_more_mail(
    alice: Entry, now: datetime, deliver: Deliver
) -> None:
    outbox.stage("standing", [alice.id], now=now)
    db.session.commit()
    _say("complained", alice, now=now)
    assert mails_owed(alice)[-1] == ("standing", "cancelled")
    assert people.invitation_of(alice).state == "open"
    assert deliver(now + HOUR) == []
    people.register(alice, "ada", now=now + HOUR)
    assert people.find(ALICE).state == "registered"


def test_what_is_refused_for_now_is_only_noted(alice: Entry, now: datetime) -> None:
    _say("deferred", alice, now=now)
    assert mail_of(alice, "invitation").state == "sent"
    assert people.find(ALICE).suppressed_at is None
    assert kept() == [("test", "deferred", "5.1.1")]


def test_the_same_report_again_changes_nothing(
    alice: Entry, now: datetime, runner: Operator
) -> None:
    report = _report("bounced", mail_of(alice, "invitation"))
    assert taking.take(report, now=now) is Outcome.TAKEN
    runner.json("person", "unsuppress", ALICE)
    assert taking.take(report, now=now + HOUR) is Outcome.KNOWN
    assert people.find(ALICE).suppressed_at is None
    assert len(kept()) == 1


def test_another_report_of_what_is_known_changes_nothing_either(
    alice: Entry, now: datetime, runner: Operator
) -> None:
    """A provider and a mail server may both tell the same bounce."""
    _say("bounced", alice, now=now)
    runner.json("person", "unsuppress", ALICE)
    _say("bounced", alice, now=now + HOUR)
    assert people.find(ALICE).suppressed_at is None
    assert gate.verify() == {}


@pytest.mark.parametrize("kinds", ORDERS)
def test_in_any_order_it_ends_the_same(alice: Entry, now: datetime, kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        _say(kind, alice, now=now)
        _say(kind, alice, now=now)
    assert mail_of(alice, "invitation").state == "bounced"
    assert people.invitation_of(alice).state == "revoked"
    assert people.find(ALICE).suppressed_at == now
    assert _seats(now) == 0


@pytest.mark.parametrize("kind", ["delivered", "complained", "bounced"])
def test_a_report_at_the_same_moment_twice_counts_once(
    app: Flask, alice: Entry, now: datetime, kind: str
) -> None:
    report = _report(kind, mail_of(alice, "invitation"))
    outcomes = people.at_once(app, [lambda: taking.take(report, now=now)] * 6)
    assert sorted(outcomes) == [*[Outcome.KNOWN] * 5, Outcome.TAKEN]
    assert len(kept()) == 1
    assert gate.verify() == {}


@pytest.mark.parametrize("kind", ["bounced", "complained"])
def test_a_report_and_the_last_step_at_the_same_moment_release_no_seat_that_is_used(
    app: Flask, now: datetime, deliver: Deliver, kind: str
) -> None:
    """P12: whichever is first."""
    crowd = [people.wait_in_line(f"p{n}@example.org", now=now) for n in range(6)]
    invitations = people.invite(*crowd, now=now)
    deliver(now)
    calls: list[Callable[[], object]] = []
    for number, entry in enumerate(crowd):
        report = _report(kind, mail_of(entry, "invitation"), to=entry.address)
        token = links.invitation_token(invitations[number])
        calls.append(partial(taking.take, report, now=now))
        calls.append(partial(_finish, token, number, now=now))
    people.at_once(app, calls)
    assert gate.verify() == {}
    for entry in crowd:
        ends = (people.find(entry.address).state, people.invitation_of(entry).state)
        bounced_first = kind == "bounced" and ends == ("waiting", "revoked")
        assert bounced_first or ends == ("registered", "used")


def test_a_bounce_and_a_leaving_at_the_same_moment_wait_for_each_other_in_one_order(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    """Both take the gate's lock first: else each would hold what the other waits for."""
    crowd = [people.wait_in_line(f"p{n}@example.org", now=now) for n in range(6)]
    people.invite(*crowd, now=now)
    for entry in crowd:
        leaving.ask_to_act(links.entry_token(Purpose.PLACE, entry), now=now)
    deliver(now)
    calls: list[Callable[[], object]] = []
    for entry in crowd:
        report = _report("bounced", mail_of(entry, "invitation"), to=entry.address)
        calls.append(partial(taking.take, report, now=now))
        calls.append(partial(leaving.leave, people.act_token(entry), now=now))
    people.at_once(app, calls)
    assert gate.verify() == {}
    assert _seats(now) == 0
    assert {people.find(entry.address).state for entry in crowd} == {"withdrawn"}


def _finish(token: str, number: int, *, now: datetime) -> bool:
    try:
        completion.complete(token, people.form(f"handle{number}"), now=now)
    except InvitationClosed:
        return False
    return True


# --- earlier than our own mark


def test_a_report_that_comes_before_our_own_mark_isnt_lost(app: Flask, now: datetime) -> None:
    """P8: the provider may be faster than our commit."""
    alice = people.wait_in_line(ALICE, now=now)
    people.invite(alice, now=now)
    [leased] = [one for one in leasing.lease(now=now, most=9) if one.kind == "invitation"]
    assert _say("delivered", alice, now=now) is Outcome.TAKEN
    invitation = people.invitation_of(alice)
    assert (invitation.mailed_at, invitation.expires_at) == (now, now + 72 * HOUR)
    assert outbox.mark_sent([leased], now=now + SECOND) == set()
    assert not outbox.put_back(leased, now=now, reason="unknown")
    db.session.commit()
    assert mail_of(alice, "invitation").state == "delivered"
    assert mail_of(alice, "invitation").sent_at == now


@pytest.mark.parametrize("kind", ["delivered", "bounced"])
def test_our_own_mark_and_a_report_at_the_same_moment_end_the_same(
    app: Flask, now: datetime, kind: str
) -> None:
    """P8: whichever is first, and the invitation's time begins once."""
    crowd = [people.wait_in_line(f"p{n}@example.org", now=now) for n in range(6)]
    people.invite(*crowd, now=now)
    group = [one for one in leasing.lease(now=now, most=99) if one.kind == "invitation"]
    told = [_report(kind, mail_of(entry, "invitation"), to=entry.address) for entry in crowd]

    def mark() -> None:
        letters = writing.read(group, now=now)
        marked = outbox.mark_sent(group, now=now)
        begun = {one.id: letter for one, letter in letters.items() if one.id in marked}
        lifetimes.begin(begun, now=now)
        db.session.commit()

    calls: list[Callable[[], object]] = [mark]
    calls += [partial(taking.take, one, now=now) for one in told]
    people.at_once(app, calls)
    for entry in crowd:
        assert mail_of(entry, "invitation").state == kind
        assert people.invitation_of(entry).expires_at == now + 72 * HOUR
    assert gate.verify() == {}


def test_a_mail_whose_answer_was_cut_off_isnt_sent_again_once_it_is_known_to_have_arrived(
    app: Flask, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    alice = people.wait_in_line(ALICE, now=now)
    deliver(now)
    people.invite(alice, now=now)
    sink.answers[:] = ["drop"]
    deliver(now)
    assert mails_owed(alice)[-1] == ("invitation", "queued")
    _say("delivered", alice, now=now)
    assert deliver(now + HOUR) == []
    assert mails_owed(alice)[-1] == ("invitation", "delivered")
    assert people.invitation_of(alice).expires_at == now + 72 * HOUR


def test_a_mail_that_was_never_given_to_a_server_cant_be_reported(
    app: Flask, now: datetime
) -> None:
    alice = people.wait_in_line(ALICE, now=now)
    people.invite(alice, now=now)
    assert _say("bounced", alice, now=now) is Outcome.NOT_OURS
    assert mails_owed(alice)[-1] == ("invitation", "queued")
    assert kept() == []


# --- whose mail it is


def test_a_report_of_another_address_isnt_about_this_mail(alice: Entry, now: datetime) -> None:
    """P22: after a restore another's mail may have the id."""
    report = _report("bounced", mail_of(alice, "invitation"), to=BOB)
    assert taking.take(report, now=now) is Outcome.NOT_OURS
    assert people.invitation_of(alice).state == "open"


def test_an_address_may_be_told_in_another_case(alice: Entry, now: datetime) -> None:
    report = _report("delivered", mail_of(alice, "invitation"), to=ALICE.upper())
    assert taking.take(report, now=now) is Outcome.TAKEN


@pytest.mark.parametrize(
    "named", ["<x@elsewhere.example>", "<1.0123456789abcdef@join.example.com>", "9" * 40]
)
def test_a_mail_of_somebody_elses_changes_nothing_of_ours(
    alice: Entry, now: datetime, named: str
) -> None:
    report = Report("test", "r", Kind.BOUNCED, names=named, address=ALICE)
    assert taking.take(report, now=now) is Outcome.NOT_OURS
    assert people.find(ALICE).suppressed_at is None


@pytest.mark.parametrize("kind", [Kind.BOUNCED, Kind.COMPLAINED])
def test_where_nothing_names_the_mail_the_address_is_suppressed_and_no_seat_is_touched(
    alice: Entry, now: datetime, runner: Operator, kind: Kind
) -> None:
    """The provider wouldn't mail it any more either; which mail it was isn't known."""
    report = Report("test", "r", kind, address=ALICE, words="5.1.1")
    assert taking.take(report, now=now) is Outcome.TAKEN
    assert taking.take(report, now=now) is Outcome.KNOWN
    assert people.find(ALICE).suppressed_at == now
    assert people.invitation_of(alice).state == "open"
    [act] = db.session.scalars(select(Audit).where(Audit.action == "person.suppress"))
    assert (act.subject, act.actor) == (f"entry:{alice.id}", "mail:test")
    story = runner.json("person", "show", ALICE)["timeline"]
    assert any("person.suppress by mail:test" in one["what"] for one in story)


@pytest.mark.parametrize("kind", [Kind.DELIVERED, Kind.DEFERRED])
def test_of_an_address_alone_nothing_else_counts(alice: Entry, now: datetime, kind: Kind) -> None:
    report = Report("test", "r", kind, address=ALICE)
    assert taking.take(report, now=now) is Outcome.NOT_OURS
    assert kept() == []


def test_an_address_that_nobody_has_is_nobodys(app: Flask, now: datetime) -> None:
    for address in ("nobody@example.org", "", "no address"):
        report = Report("test", "r", Kind.BOUNCED, address=address)
        assert taking.take(report, now=now) is Outcome.NOT_OURS


# --- how many come back


def _mailed(how_many: int, *, now: datetime, deliver: Deliver) -> list[Message]:
    """The invitations of so many, all taken by the server."""
    ids = people.crowd(how_many, now=now)
    outbox.cancel(Message.kind == "standing", reason="for this test")
    db.session.commit()
    people.open_gate(how_many, now=now)
    waves.admit(how_many, cohort=None, actor="test", now=now)
    deliver(now)
    theirs = select(Message).where(Message.entry_id.in_(ids), Message.kind == "invitation")
    found = list(db.session.scalars(theirs.order_by(Message.id)))
    db.session.rollback()
    return found


def test_bounces_that_are_told_later_stop_the_launch_too(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    for message in _mailed(40, now=now, deliver=deliver)[:10]:
        taking.take(_report("bounced", message, to=""), now=now)
    shown = gate.show(now=now).bounces
    assert (shown.state, shown.sent, shown.bounced) == ("stopped", 30, 10)
    assert shown.wave_bounced == 10
    db.session.rollback()
    assert _seats(now) == 30
    assert gate.verify() == {}


def test_a_bounce_that_is_told_twice_counts_once(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    [message, *_rest] = _mailed(5, now=now, deliver=deliver)
    for _ in range(3):
        taking.take(_report("bounced", message, to=""), now=now)
    assert gate.show(now=now).bounces.bounced == 1
    assert gate.show(now=now).bounces.sent == 4


def test_only_invitations_count(alice: Entry, now: datetime) -> None:
    _say("bounced", alice, "standing", now=now)
    assert gate.show(now=now).bounces.bounced == 0
    assert people.find(ALICE).suppressed_at == now
    db.session.rollback()


# --- what others make of the new states


def test_a_wave_counts_what_was_delivered_as_mailed(
    app: Flask, now: datetime, deliver: Deliver, runner: Operator
) -> None:
    first, second, third, fourth, _fifth = _mailed(5, now=now, deliver=deliver)
    for kind, message in (("delivered", first), ("complained", second), ("bounced", third)):
        taking.take(_report(kind, message, to=""), now=now)
    db.session.execute(update(Entry).where(Entry.id == fourth.entry_id).values(name="Eve"))
    db.session.commit()
    wave = runner.json("wave", "list")[0]["id"]
    shown = runner.json("wave", "show", str(wave))
    assert (shown["mailed"], shown["bounced"], shown["back"]) == (4, 1, 0)


def test_a_recall_leaves_those_whose_mail_arrived(
    app: Flask, now: datetime, deliver: Deliver, runner: Operator
) -> None:
    for kind, message in zip(
        ("delivered", "complained"), _mailed(3, now=now, deliver=deliver), strict=False
    ):
        taking.take(_report(kind, message, to=""), now=now)
    wave = runner.json("wave", "list")[0]["id"]
    recalled = runner.json("wave", "recall", str(wave))
    assert recalled["back"] == 0
    assert [one["state"] for one in recalled["rest"]] == ["mailed"] * 3


def test_a_persons_story_tells_what_was_reported(
    alice: Entry, now: datetime, runner: Operator
) -> None:
    _say("delivered", alice, now=now)
    _say("bounced", alice, now=now + HOUR)
    story = [one["what"] for one in runner.json("person", "show", ALICE)["timeline"]]
    mail = mail_of(alice, "invitation").id
    assert f"mail {mail} delivered, as test says: 5.1.1" in story
    assert f"mail {mail} bounced, as test says: 5.1.1" in story
    assert "address can't be mailed" in story
