"""How a mail server answers, and what becomes of the mail and the person: real SMTP each time."""

from __future__ import annotations

import asyncio
import socket
from datetime import datetime, timedelta
from typing import cast

import pytest
from aiosmtpd.smtp import SMTP
from flask import Flask
from redis import Redis
from sqlalchemy import select

from tests import people, tables
from tests.conftest import Deliver, MakeApp
from tests.people import ALICE, BOB, mails_owed
from tests.servers import Received, SmtpSink
from waitlist import delivery, links, routing, settling
from waitlist.admission import gate
from waitlist.errors import LinkOver
from waitlist.extensions import db
from waitlist.models import Entry, Message
from waitlist.signup import joining, leaving
from waitlist.tokens import Purpose

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
FOREVER = timedelta(days=3_650)
PROBE = timedelta(seconds=15)  # how often a server that is away is tried


@pytest.fixture(autouse=True, params=[True, False], ids=["pipelined", "one-by-one"])
def _pipelines(request: pytest.FixtureRequest, sink: SmtpSink) -> None:
    """Each answer means the same however the server takes its commands."""
    sink.pipelines = request.param


@pytest.fixture
def alice(app: Flask, now: datetime, deliver: Deliver) -> Entry:
    """Alice, invited a moment ago; only the invitation's mail is owed."""
    entry = people.wait_in_line(ALICE, now=now)
    deliver(now)
    people.invite(entry, now=now)
    return entry


def _message(entry: Entry, kind: str = "invitation") -> Message:
    """A person's newest mail of a kind, as it stands now."""
    db.session.rollback()
    query = select(Message).where(Message.entry_id == entry.id, Message.kind == kind)
    found = db.session.scalars(query.order_by(Message.id.desc())).first()
    assert found is not None
    db.session.refresh(found)
    db.session.rollback()
    return db.session.get_one(Message, found.id)


def _same(one: Received, other: Received) -> bool:
    """Whether two mails are the same to everyone, byte for byte."""
    return one.as_bytes() == other.as_bytes() and one["Message-ID"] == other["Message-ID"]


def test_an_accepted_invitation_runs_for_72_hours_from_its_acceptance(
    alice: Entry, now: datetime, deliver: Deliver
) -> None:
    """P8: however long the mail waited."""
    invitation = people.invitation_of(alice)
    assert (invitation.mailed_at, invitation.expires_at) == (None, None)
    accepted = now + timedelta(days=9)
    (mail,) = deliver(accepted)
    assert people.token_in(mail, "/invite/") == links.invitation_token(invitation)
    invitation = people.invitation_of(alice)
    assert (invitation.mailed_at, invitation.expires_at) == (accepted, accepted + 72 * HOUR)
    message = _message(alice)
    assert (message.state, message.sent_at) == ("sent", accepted)


def test_after_an_unknown_outcome_the_same_mail_goes_again(
    alice: Entry, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    """P8: cut off after DATA; the repeat carries the same link and Message-ID."""
    sink.answers.append("drop")
    (first,) = deliver(now)
    message = _message(alice)
    assert (message.state, message.attempts) == ("queued", 1)
    assert people.invitation_of(alice).expires_at is None
    (second,) = deliver(now + HOUR)
    assert _same(first, second)
    assert people.link_in(first, "/invite/") == people.link_in(second, "/invite/")
    assert _message(alice).state == "sent"
    assert people.invitation_of(alice).expires_at == now + 73 * HOUR


def test_a_repeat_is_the_same_after_the_key_was_changed(
    alice: Entry, now: datetime, deliver: Deliver, sink: SmtpSink, make_app: MakeApp
) -> None:
    """P8, P22: the link of the first mail still opens."""
    invited = alice.id
    sink.answers.append("drop")
    (first,) = deliver(now)
    db.session.rollback()
    newer = "a-newer-key-of-the-tests-which-is-long-enough-too"
    keys = (newer, "a-key-of-the-tests-that-is-long-enough-for-everybody")
    with make_app(secret_keys=keys).app_context():
        delivery.deliver(lambda: now + HOUR, until=now + FOREVER)
        for mail in (first, sink.messages[-1]):
            assert links.invitation_of(people.token_in(mail, "/invite/")).entry_id == invited
    assert first["Message-ID"] == sink.messages[-1]["Message-ID"]


def test_refused_for_now_goes_again_later(
    alice: Entry, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    """P8: 450, and nothing is lost."""
    sink.answers.append("450 Mailbox busy")
    assert deliver(now) == []
    message = _message(alice)
    assert (message.state, message.attempts) == ("queued", 1)
    assert "450" in message.reason
    assert now < message.due_at <= now + timedelta(seconds=15)
    assert deliver(now) == []
    assert len(deliver(now + MINUTE)) == 1


def test_refused_for_now_it_is_given_up_five_days_after_the_first_try_and_not_before(
    alice: Entry, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    """P8: however long it waited for its turn until then (RFC 5321, section 4.5.4.1)."""
    tried = now + timedelta(days=9)
    sink.rcpt_answer = "450 Greylisted"
    deliver(tried)
    assert _message(alice).state == "queued"
    deliver(tried + timedelta(days=5) - MINUTE)
    assert _message(alice).state == "queued"
    deliver(tried + timedelta(days=5) + HOUR)
    assert (_message(alice).state, _message(alice).reason) == ("bounced", "450")
    assert people.find(ALICE).suppressed_at is not None
    assert gate.verify() == {}


def test_cut_off_three_times_it_counts_as_taken_and_refusals_dont_count(
    alice: Entry, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    """P8: a mail that was only ever refused before is tried again when it is cut off."""
    at = now
    for _ in range(3):
        sink.answers += ["450 Busy"] * (2 if sink.pipelines else 1)
        deliver(at)
        sink.answers.clear()
        at += HOUR
    for _ in range(settling.MOST_UNKNOWN):
        sink.answers.append("drop")
        deliver(at)
        assert _message(alice).state == "queued"
        at += HOUR
    sink.answers.append("drop")
    deliver(at)
    assert (_message(alice).state, _message(alice).reason) == ("sent", "presumed taken")
    assert people.invitation_of(alice).expires_at == at + 72 * HOUR


@pytest.mark.parametrize("where,answer", [("rcpt", "550"), ("data", "550"), ("data", "552")])
def test_refused_for_good_gives_the_seat_back_and_keeps_the_place(
    alice: Entry, now: datetime, deliver: Deliver, sink: SmtpSink, where: str, answer: str
) -> None:
    """P4, P8: bounced; suppressed, waiting at the old rank, and out of the line."""
    words = f"{answer} No"
    sink.rcpt_answer = words if where == "rcpt" else None
    sink.answers += [words] if where == "data" else []
    assert deliver(now) == []
    message, entry = _message(alice), people.find(ALICE)
    assert (message.state, message.reason) == ("bounced", answer)
    assert people.invitation_of(alice).state == "revoked"
    assert (entry.state, entry.rank, entry.suppressed_at) == ("waiting", alice.rank, now)
    assert tables.line_in_sql() == []
    assert gate.show(now=now).seats_used == 0
    assert gate.verify() == {}


def test_the_others_mail_goes_on_after_a_bounce(
    alice: Entry, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    people.join(BOB, locale="en", now=now)
    sink.answers += ["550 No"] * (2 if sink.pipelines else 1)  # asked again alone, see route.py
    (mail,) = deliver(now)
    assert mail.envelope.rcpt_tos == [BOB]


@pytest.mark.parametrize("where,answer", [("rcpt", "421"), ("data", "421"), ("data", "503")])
def test_a_server_that_refuses_everyone_isnt_held_against_anyone(
    alice: Entry,
    now: datetime,
    deliver: Deliver,
    sink: SmtpSink,
    redis: Redis,
    where: str,
    answer: str,
) -> None:
    """P16: the server is backed off, not the mail, which isn't counted as tried."""
    words = f"{answer} Not now"
    sink.rcpt_answer = words if where == "rcpt" else None
    sink.answers += [words] if where == "data" else []
    assert deliver(now) == []
    _still_owed(alice, now)
    sink.rcpt_answer = None
    assert delivery.server_is_away()
    assert 0 < redis.ttl(routing.AWAY_KEY) <= PROBE.total_seconds()
    assert len(deliver(now + PROBE)) == 1


def test_a_server_that_doesnt_answer_isnt_held_against_anyone(
    alice: Entry, now: datetime, make_app: MakeApp
) -> None:
    """P16: refused connections."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with make_app(mail_port=unused.getsockname()[1]).app_context():
            assert not delivery.deliver(lambda: now, until=now + FOREVER)
            assert delivery.server_is_away()
    _still_owed(alice, now)


def _still_owed(entry: Entry, now: datetime) -> None:
    message = _message(entry)
    assert (message.state, message.attempts) == ("queued", 0)
    assert message.due_at <= now + PROBE
    assert message.reason.startswith("away")
    assert people.find(ALICE).suppressed_at is None
    assert people.invitation_of(entry).state == "open"
    assert people.invitation_of(entry).expires_at is None


def test_a_server_that_hangs_up_on_quit_has_the_mail(
    alice: Entry, now: datetime, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P8: 250 is an acceptance, whatever comes after it."""
    _hang_up_on_quit(monkeypatch)
    assert len(deliver(now)) == 1
    assert _message(alice).state == "sent"
    assert deliver(now + HOUR) == []


def _hang_up_on_quit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sink drops the connection instead of answering QUIT."""

    async def drop(self: SMTP, _argument: str) -> None:
        cast(asyncio.Transport, self.transport).abort()

    monkeypatch.setattr(SMTP, "smtp_QUIT", drop)


def test_unmailed_there_is_no_deadline_to_confirm_and_then_48_hours(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    entry = people.join(ALICE, now=now)
    assert entry.confirm_by is None
    accepted = now + timedelta(days=5)
    deliver(accepted)
    assert people.find(ALICE).confirm_by == accepted + 48 * HOUR
    assert joining.expire_unconfirmed(now=accepted + 48 * HOUR) == 0
    assert joining.expire_unconfirmed(now=accepted + 48 * HOUR + MINUTE) == 1


def test_a_link_to_act_lasts_half_an_hour_from_its_mail(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    entry = people.wait_in_line(ALICE, now=now)
    deliver(now)
    leaving.ask_to_act(links.entry_token(Purpose.PLACE, entry), now=now)
    sent = now + 5 * HOUR
    (mail,) = deliver(sent)
    token = people.token_in(mail, "/act/")
    assert links.acting_entry(token, now=sent + 29 * MINUTE).id == entry.id
    with pytest.raises(LinkOver):
        links.acting_entry(token, now=sent + 30 * MINUTE)


def test_a_suppressed_person_gets_no_other_mail_that_was_queued(
    app: Flask, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    """P9: suppression cancels what is queued."""
    entry = people.wait_in_line(ALICE, now=now)
    deliver(now)
    people.invite(entry, now=now)
    leaving.ask_to_act(links.entry_token(Purpose.PLACE, entry), now=now)
    sink.answers += ["550 No such person"] * (2 if sink.pipelines else 1)
    assert deliver(now) == []
    assert ("act", "cancelled") in mails_owed(entry)


def test_leaving_cancels_an_invitations_mail_and_gives_the_seat_back(
    alice: Entry, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    """P4, P9."""
    sink.answers.append("450 Later")
    deliver(now)
    people.leave(alice, now=now, deliver=deliver)
    assert ("invitation", "cancelled") in mails_owed(alice)
    assert gate.show(now=now).seats_used == 0
    assert gate.verify() == {}
    (mail,) = deliver(now + HOUR)
    assert people.link_in(mail, "/undo/")


def test_sender_and_recipient_go_at_once_to_a_server_that_pipelines(
    alice: Entry, now: datetime, sink: SmtpSink, deliver: Deliver, said: list[str]
) -> None:
    """A round trip less for every mail."""
    deliver(now)
    assert sink.messages[-1].envelope.rcpt_tos == [alice.mail_to]
    both = [words for words in said if "MAIL" in words.upper() and "RCPT" in words.upper()]
    assert len(both) == (1 if sink.pipelines else 0)
