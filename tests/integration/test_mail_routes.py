"""Two mail servers: which takes the mail, by command and by itself; none ever gets what is sent."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import select, update

from tests import people
from tests.conftest import MakeApp
from tests.people import ALICE, BOB
from tests.servers import SmtpSink, smtp_sink
from tests.visitors import Browser, Operator
from waitlist import delivery, lately, leasing, postage, routing, switches
from waitlist.admission import gate
from waitlist.config import Relay
from waitlist.errors import ValueRefused
from waitlist.extensions import db
from waitlist.models import MailPace, Message
from waitlist.policy.routes import AUTO, FIRST, SECOND, STAY
from workers import mailprobe

SECOND_15 = timedelta(seconds=15)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
FOREVER = timedelta(days=3_650)
CLOSING = "421 Not you"


@pytest.fixture
def other() -> Iterator[SmtpSink]:
    """The second mail server."""
    with smtp_sink() as sink:
        yield sink


@pytest.fixture
def two(make_app: MakeApp, app: Flask, other: SmtpSink) -> Iterator[Flask]:
    """The app, which has a second mail server."""
    both = make_app(mail2=Relay("127.0.0.1", other.port, None, None, False))
    with both.app_context():
        yield both


def _owe(*addresses: str, now: datetime) -> None:
    for address in addresses:
        people.join(address, now=now)


def _work(now: datetime) -> None:
    """What the mail job does."""
    db.session.rollback()
    if not delivery.server_is_away():
        delivery.deliver(lambda: now, until=now + FOREVER)
    db.session.rollback()


def _to(sink: SmtpSink) -> list[str]:
    return [to for mail in sink.messages for to in mail.envelope.rcpt_tos]


def _is_away(sink: SmtpSink, away: bool = True) -> None:
    sink.rcpt_answer = CLOSING if away else None


def _routes() -> list[str | None]:
    found = list(db.session.scalars(select(Message.route).order_by(Message.id)))
    db.session.rollback()
    return found


def _for_minutes(minutes: int, start: datetime, redis: Redis) -> datetime:
    """The mail job runs every quarter of a minute for so long; the last time."""
    at = start
    for nth in range(minutes * 4 + 1):
        at = start + nth * SECOND_15
        redis.delete(routing.AWAY_KEY, f"{routing.AWAY_KEY}:second")  # its time is over
        _work(at)
    redis.delete(routing.AWAY_KEY, f"{routing.AWAY_KEY}:second")
    return at


def test_mail_goes_by_the_first_and_the_second_hears_nothing(
    two: Flask, now: datetime, sink: SmtpSink, other: SmtpSink
) -> None:
    _owe(ALICE, BOB, now=now)
    _work(now)
    assert (_to(sink), _to(other)) == ([ALICE, BOB], [])
    assert _routes() == [FIRST, FIRST]


def test_by_command_the_second_takes_the_same_mail_and_the_change_is_told(
    two: Flask, now: datetime, sink: SmtpSink, other: SmtpSink
) -> None:
    operator = Operator(two)
    said = operator.json("mail", "route", "second", "--reason", "the first is on a block list")
    assert said["mail"]["route"]["in_force"] == SECOND
    _owe(ALICE, now=now)
    _work(now)
    assert (_to(sink), _to(other)) == ([], [ALICE])
    assert _routes() == [SECOND]
    assert "second, set so by an operator" in operator.run("gate", "show").stdout
    change = operator.json("gate", "history")[0]
    assert (change["before"], change["after"]) == ({"mail_route": AUTO}, {"mail_route": SECOND})
    assert change["reason"] == "the first is on a block list"
    operator.json("mail", "route", "auto")
    _owe(BOB, now=now)
    _work(now)
    assert (_to(sink), _to(other)) == ([BOB], [ALICE])


def test_without_a_second_it_cant_be_chosen(app: Flask, runner: Operator, now: datetime) -> None:
    result = runner.run("mail", "route", "second")
    assert result.exit_code == 1
    assert "MAIL2_SERVER" in result.stderr
    assert runner.run("mail", "route", "third").exit_code == 2
    with pytest.raises(ValueRefused):
        gate.change(actor="test", now=now, mail_route="third")
    assert "as there is no second" in runner.run("mail", "show").stdout


def test_a_repeat_by_the_other_route_is_the_same_mail_byte_for_byte(
    two: Flask, now: datetime, sink: SmtpSink, other: SmtpSink
) -> None:
    """P8: cut off by the first, it isn't sent by the second at once, but when its time comes."""
    _owe(ALICE, now=now)
    sink.answers.append("drop")
    _work(now)
    gate.change(actor="test", now=now, mail_route=SECOND)
    _work(now)
    assert _to(other) == []
    _work(now + MINUTE)
    [first], [again] = sink.messages, other.messages
    assert first.as_bytes() == again.as_bytes()
    assert first["Message-ID"] == again["Message-ID"]


def test_another_worker_follows_within_a_second_even_in_the_middle_of_a_group(
    two: Flask,
    make_app: MakeApp,
    now: datetime,
    sink: SmtpSink,
    other: SmtpSink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P9: and no mail goes by both."""
    people_there = [f"p{number}@example.org" for number in range(8)]
    _owe(*people_there, now=now)
    accepted, elsewhere = count(1), make_app(mail2=two.config["SETTINGS"].mail2)

    def switch(place: str) -> None:
        if place == "mail.accepted" and next(accepted) == 3:
            with elsewhere.app_context():  # another process
                gate.change(actor="test", now=now, mail_route=SECOND)
            time.sleep(lately.KEPT)

    monkeypatch.setattr(delivery, "failpoint", switch)
    _work(now)
    assert _to(sink) == people_there[:3]
    assert sorted(_to(other)) == people_there[3:]
    assert _routes() == [FIRST] * 3 + [SECOND] * 5


def test_when_the_first_is_away_for_minutes_the_second_takes_over_by_itself(
    two: Flask, now: datetime, redis: Redis, sink: SmtpSink, other: SmtpSink
) -> None:
    """P16: and nothing is held against the mail."""
    _owe(ALICE, BOB, now=now)
    _is_away(sink)
    at = _for_minutes(4, now, redis)
    assert _to(other) == []
    _for_minutes(2, at, redis)
    assert sorted(_to(other)) == [ALICE, BOB]
    assert _to(sink) == []
    attempts = select(Message.attempts).where(Message.state == "sent")
    assert list(db.session.scalars(attempts)) == [0, 0]
    db.session.rollback()
    shown = Operator(two).json("mail", "show")
    assert shown["route"]["in_force"] == SECOND
    assert "no mail could go by the first for 5 min" in shown["route"]["why"]


def test_that_the_first_is_away_keeps_no_mail_from_the_second(
    two: Flask, now: datetime, sink: SmtpSink, other: SmtpSink
) -> None:
    """P16: the quarter of a minute is that server's."""
    _owe(ALICE, now=now)
    _is_away(sink)
    _work(now)
    assert delivery.server_is_away()
    gate.change(actor="test", now=now, mail_route=SECOND)
    assert not delivery.server_is_away()
    _work(now + SECOND_15)
    assert _to(other) == [ALICE]


def test_a_share_of_refusals_makes_the_second_take_over(
    two: Flask, now: datetime, sink: SmtpSink, other: SmtpSink
) -> None:
    _owe(*(f"p{number}@example.org" for number in range(30)), now=now)
    sink.pipelines, sink.answers = False, ["451 Greylisted"] * 30
    _work(now)
    assert switches_now().route_in_force == SECOND
    _work(now + MINUTE)
    assert len(other.messages) == 30
    assert sink.messages == []


def switches_now() -> switches.Switches:
    switches.forget()
    return switches.current()


def test_to_be_refused_for_good_is_about_the_mail_and_not_about_the_server(
    two: Flask, now: datetime, sink: SmtpSink
) -> None:
    _owe(*(f"p{number}@example.org" for number in range(30)), now=now)
    sink.pipelines, sink.answers = False, ["550 No such person"] * 30
    _work(now)
    assert switches_now().route_in_force == FIRST


def _stand_in(since: datetime) -> None:
    """The second is in force by itself since then."""
    db.session.rollback()
    db.session.execute(update(MailPace).values(route=SECOND, route_since=since))
    db.session.commit()
    switches.forget()


def test_the_first_is_in_force_again_when_a_probe_finds_it_well(
    two: Flask, now: datetime, sink: SmtpSink, other: SmtpSink
) -> None:
    _stand_in(since=now)
    mailprobe.look(now=now + STAY - MINUTE)
    assert switches_now().route_in_force == SECOND
    mailprobe.look(now=now + STAY)
    assert switches_now().route_in_force == FIRST
    assert (sink.messages, other.messages) == ([], [])
    _owe(ALICE, now=now)
    _work(now + STAY)
    assert _to(sink) == [ALICE]


def test_a_probe_that_meets_no_server_changes_nothing(
    app: Flask, make_app: MakeApp, now: datetime, other: SmtpSink
) -> None:
    relay = Relay("127.0.0.1", other.port, None, None, False)
    with make_app(mail2=relay, mail_port=1).app_context():
        _stand_in(since=now)
        mailprobe.look(now=now + HOUR)
        assert switches_now().route_in_force == SECOND
        assert routing.why_not(FIRST) == "ConnectionRefusedError"
        assert routing.why_not(SECOND) == ""


def test_what_operators_chose_no_probe_and_no_failure_changes(
    two: Flask, now: datetime, redis: Redis, sink: SmtpSink, other: SmtpSink
) -> None:
    gate.change(actor="test", now=now, mail_route=SECOND)
    mailprobe.look(now=now + HOUR)
    assert switches_now().route_in_force == SECOND
    gate.change(actor="test", now=now, mail_route=FIRST)
    _owe(ALICE, now=now)
    _is_away(sink)
    _for_minutes(10, now, redis)
    assert switches_now().mail_route_by_itself == FIRST
    assert _to(other) == []
    _is_away(sink, False)
    _work(now + HOUR)
    assert _to(sink) == [ALICE]


def test_to_choose_lets_it_begin_anew(two: Flask, now: datetime) -> None:
    _stand_in(since=now)
    gate.change(actor="test", now=now, mail_route=FIRST)
    gate.change(actor="test", now=now, mail_route=AUTO)
    assert switches_now().route_in_force == FIRST


def test_both_away_mail_waits_and_goes_by_whichever_is_well_first(
    two: Flask, now: datetime, redis: Redis, sink: SmtpSink, other: SmtpSink
) -> None:
    """P16: within a minute, without anyone's help."""
    _owe(ALICE, now=now)
    _is_away(sink)
    _is_away(other)
    at = _for_minutes(7, now, redis)
    assert switches_now().route_in_force == SECOND
    _is_away(sink, False)
    mailprobe.look(now=at + SECOND_15)
    _for_minutes(1, at + SECOND_15, redis)
    assert (_to(sink), _to(other)) == ([ALICE], [])


def test_a_process_is_ready_if_the_server_in_force_answers(
    app: Flask, make_app: MakeApp, now: datetime, other: SmtpSink
) -> None:
    both = make_app(mail2=Relay("127.0.0.1", other.port, None, None, False), mail_port=1)
    parts = Browser(both).get("/readyz").get_json()["parts"]
    assert "MAIL_SERVER" in parts["mail"]
    with both.app_context():
        gate.change(actor="test", now=now, mail_route=SECOND)
    assert Browser(both).get("/readyz").get_json()["parts"]["mail"] == "ok"


@pytest.mark.parametrize("seed", range(4))
def test_whatever_both_servers_answer_every_invitations_mail_ends_and_no_seat_is_lost(
    two: Flask, now: datetime, redis: Redis, sink: SmtpSink, other: SmtpSink, seed: int
) -> None:
    """P4, P8: sent, bounced or cancelled with a reason; a repeat only where no answer came."""
    chance, words = random.Random(seed), ["250 OK", "450 Later", "550 No", "421 Bye", "drop"]
    entries = [people.wait_in_line(f"p{number}@example.org", now=now) for number in range(12)]
    people.invite(*entries, now=now)
    at, servers = now, (sink, other)
    for _ in range(60):
        for server in servers:
            server.answers[:] = chance.choices(words, weights=[3, 4, 1, 2, 2], k=20)
        if chance.random() < 0.3:
            gate.change(actor="test", now=at, mail_route=chance.choice([FIRST, SECOND, AUTO]))
        redis.delete(routing.AWAY_KEY, f"{routing.AWAY_KEY}:second")
        _work(at)
        if chance.random() < 0.1:
            leasing.lease(now=at, most=3)  # by a worker that dies
        at += chance.choice([SECOND_15, MINUTE, HOUR])
    _settle_down(at, redis, servers)
    ended = db.session.execute(
        select(Message.state, Message.reason).where(Message.kind == "invitation")
    ).all()
    assert {state for state, _ in ended} <= {"sent", "bounced", "cancelled"}
    assert all(reason for state, reason in ended if state != "sent")
    assert gate.verify() == {}
    copies: dict[str, set[bytes]] = {}
    for mail in (*sink.messages, *other.messages):
        copies.setdefault(mail["Message-ID"], set()).add(mail.as_bytes())
    assert all(len(same) == 1 for same in copies.values())


def _settle_down(at: datetime, redis: Redis, servers: Iterable[SmtpSink]) -> None:
    """From here on both servers take everything."""
    gate.change(actor="test", now=at, accept_bounces=True)
    for server in servers:
        server.answers.clear()
    for hour in range(1, 4):
        redis.delete(routing.AWAY_KEY, f"{routing.AWAY_KEY}:second")
        _work(at + hour * HOUR)


def test_the_route_is_told_with_the_lease(two: Flask, now: datetime) -> None:
    _owe(ALICE, now=now)
    gate.change(actor="test", now=now, mail_route=SECOND)
    [leased] = leasing.lease(now=now)
    assert leased.route == SECOND
    assert postage.read(now=datetime.now(UTC)).route == SECOND
