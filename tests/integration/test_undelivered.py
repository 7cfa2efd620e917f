"""Mails that can't go on by themselves: set aside with a reason, listed, sent again or dropped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
import time_machine
from flask import Flask
from jinja2 import FileSystemLoader
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from tests import people, tables
from tests.conftest import Deliver
from tests.people import ALICE, BOB, CAROL, mails_owed
from tests.servers import SmtpSink
from tests.visitors import Browser, Operator
from waitlist import delivery, leasing, outbox, settling, undelivered, writing
from waitlist.admission import gate, recall, waves
from waitlist.errors import MessagesRefused
from waitlist.extensions import db
from waitlist.models import Audit, Entry, Message, Wave

SECOND = timedelta(seconds=1)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
AFTER_LEASE = outbox.LEASE + SECOND
FOREVER = timedelta(days=3_650)


class Killed(BaseException):
    """What a worker that is killed never gets to see."""


@pytest.fixture
def three(
    app: Flask, clock: time_machine.Traveller, now: datetime, deliver: Deliver
) -> list[Entry]:
    """Alice, Bob and Carol, who are invited; only their invitations are owed."""
    entries = [people.wait_in_line(address, now=now) for address in (ALICE, BOB, CAROL)]
    deliver(now)
    people.invite(*entries, now=now)
    return [people.find(entry.address) for entry in entries]


def _message(entry: Entry) -> Message:
    """A person's newest mail, as it stands now."""
    db.session.rollback()
    query = select(Message).where(Message.entry_id == entry.id).order_by(Message.id.desc())
    found = db.session.scalars(query.execution_options(populate_existing=True)).first()
    db.session.rollback()
    assert found is not None
    return found


def _breaks_for(entry: Entry, monkeypatch: pytest.MonkeyPatch, *, by: BaseException) -> None:
    """The mail of this person can't be written, as long as nothing is mended."""
    compose = writing._compose

    def broken(message: Any, *, now: datetime) -> bytes:
        if message.entry_id == entry.id:
            raise by
        return compose(message, now=now)

    monkeypatch.setattr(writing, "_compose", broken)


def _until_dead(now: datetime, deliver: Deliver) -> datetime:
    at = now
    for _ in range(settling.MOST_UNWRITTEN):
        deliver(at)
        at += MINUTE
    return at


@pytest.fixture
def dead(
    three: list[Entry], now: datetime, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> Entry:
    """Bob, whose invitation's mail is dead; the template is mended since."""
    with monkeypatch.context() as broken:
        _breaks_for(three[1], broken, by=KeyError("link"))
        _until_dead(now, deliver)
    return three[1]


def test_a_mail_that_cant_be_written_stops_no_other_and_is_set_aside_with_the_reason(
    three: list[Entry], now: datetime, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P8, P16: it is tried again a while, since a newer release may have staged it."""
    _breaks_for(three[1], monkeypatch, by=KeyError(BOB))
    assert [mail["To"] for mail in deliver(now)] == [ALICE, CAROL]
    message = _message(three[1])
    assert (message.state, message.attempts) == ("queued", 1)
    assert now < message.due_at <= now + timedelta(seconds=15)
    _until_dead(now + MINUTE, deliver)
    message = _message(three[1])
    assert message.state == "dead"
    assert message.reason.startswith("can't be written: KeyError at waitlist/writing.py:")
    assert BOB not in message.reason
    assert not leasing.is_due(now=now + FOREVER)
    assert people.invitation_of(three[1]).state == "open"
    assert gate.verify() == {}


def test_a_template_that_is_broken_is_named(
    three: list[Entry], now: datetime, deliver: Deliver, app: Flask, tmp_path: Any
) -> None:
    folder = tmp_path / "email" / "invitation"
    folder.mkdir(parents=True)
    for part in ("subject.txt", "body.txt", "body.html"):
        (folder / part).write_text("{{ nobody.said.so }}")
    app.jinja_env.cache = {}
    app.jinja_env.loader = FileSystemLoader(tmp_path)
    _until_dead(now, deliver)
    assert {_message(entry).state for entry in three} == {"dead"}
    assert "UndefinedError" in _message(three[0]).reason


def test_sql_that_goes_away_while_a_mail_is_written_is_held_against_no_mail(
    three: list[Entry], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P15."""
    _breaks_for(three[1], monkeypatch, by=OperationalError("SELECT 1", {}, Exception()))
    with pytest.raises(OperationalError):
        delivery.deliver(lambda: now, until=now + FOREVER)
    assert {_message(entry).attempts for entry in three} == {0}


def test_a_mail_that_kills_its_workers_takes_nobody_along_and_is_set_aside(
    three: list[Entry], now: datetime, sink: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P16: who was lost with a worker goes alone the next time."""
    _breaks_for(three[1], monkeypatch, by=Killed())
    at, kills = now, 0
    for _ in range(6):
        try:
            delivery.deliver(lambda at=at: at, until=at + FOREVER)  # type: ignore[misc]
        except Killed:
            kills += 1
        db.session.rollback()
        at += AFTER_LEASE
    assert kills == outbox.MOST_LOST
    assert sorted(mail["To"] for mail in sink.messages[-2:]) == [ALICE, CAROL]
    states = [_message(entry).state for entry in three]
    assert states == ["sent", "dead", "sent"]
    message = _message(three[1])
    assert message.reason == "its worker didn't come back 3 times"
    undelivered.retry([message.id], actor="test", reason="", now=at)
    assert _message(three[1]).lost == 1  # so that it goes alone


def test_a_worker_that_dies_twice_kills_no_mail(
    three: list[Entry], now: datetime, sink: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P8: whoever is lost twice by chance is mailed all the same."""
    passed, at = count(1), now

    def kill(place: str) -> None:
        if place == "mail.leased" and next(passed) <= 2:
            raise Killed

    monkeypatch.setattr(delivery, "failpoint", kill)
    for _ in range(4):
        try:
            delivery.deliver(lambda at=at: at, until=at + FOREVER)  # type: ignore[misc]
        except Killed:
            db.session.rollback()
        at += AFTER_LEASE
    assert {_message(entry).state for entry in three} == {"sent"}


def test_a_dead_mail_goes_again_by_command_and_its_lifetime_runs_from_then(
    runner: Operator, dead: Entry, clock: time_machine.Traveller, deliver: Deliver
) -> None:
    clock.shift(HOUR)
    message_id = _message(dead).id
    told = runner.json("outbox", "retry", str(message_id), "--reason", "the template is mended")
    assert told == {"queued": 1}
    at = datetime.now(UTC)
    assert [mail["To"] for mail in deliver(at)] == [BOB]
    assert people.invitation_of(dead).expires_at == at + 72 * HOUR
    [act] = db.session.scalars(select(Audit).where(Audit.action == "outbox.retry"))
    assert act.subject == f"message:{message_id}"
    assert (act.before, act.after) == ({"state": "dead"}, {"state": "queued"})
    assert act.reason == "the template is mended"


def test_all_that_is_dead_goes_again_at_once_or_only_one_kind(
    runner: Operator, dead: Entry, now: datetime, deliver: Deliver
) -> None:
    db.session.execute(update(Message).where(Message.entry_id == dead.id).values(state="dead"))
    db.session.commit()
    assert runner.json("outbox", "retry", "--all-dead", "--kind", "invitation") == {"queued": 1}
    assert [mail["To"] for mail in deliver(datetime.now(UTC))] == [BOB]
    assert runner.json("outbox", "retry", "--all-dead") == {"queued": 2}
    assert undelivered.dead() == 0
    assert runner.json("outbox", "retry", "--all-dead") == {"queued": 0}


def test_the_list_tells_what_is_dead_and_why_how_many_there_are_and_the_oldest_due(
    runner: Operator, dead: Entry, now: datetime
) -> None:
    outbox.stage("standing", [dead.id], now=now - HOUR)
    db.session.commit()
    told = runner.json("outbox", "list")
    [one] = told["messages"]
    assert (one["address"], one["kind"], one["state"]) == (BOB, "invitation", "dead")
    assert "KeyError" in one["reason"]
    assert {"kind": "invitation", "state": "sent", "messages": 2} in told["counts"]
    assert {"kind": "invitation", "state": "dead", "messages": 1} in told["counts"]
    assert told["oldest_due_at"] == (now - HOUR).isoformat()
    words = runner.run("outbox", "list").stdout
    assert "bob@example.org" in words
    assert "3,600 s" in words


def test_the_list_is_narrowed_by_state_kind_and_address(runner: Operator, dead: Entry) -> None:
    def listed(*words: str) -> list[tuple[str, str]]:
        found = runner.json("outbox", "list", *words)["messages"]
        return [(one["address"], one["kind"]) for one in found]

    assert listed("--state", "sent", "--kind", "invitation") == [
        (CAROL, "invitation"),
        (ALICE, "invitation"),
    ]
    kinds = ("invitation", "standing", "confirm")
    assert listed("--address", "Bob@example.org") == [(BOB, kind) for kind in kinds]
    assert len(listed("--state", "sent", "--most", "1")) == 1
    assert runner.run("outbox", "list", "--address", "nobody@example.org").exit_code == 1


def test_what_is_under_way_is_listed_and_can_be_neither_dropped_nor_sent_again(
    runner: Operator, three: list[Entry], now: datetime
) -> None:
    """P9."""
    leased = leasing.lease(now=now, most=1)[0]
    [one] = runner.json("outbox", "list")["messages"]
    assert (one["id"], one["state"]) == (leased.id, "sending")
    before = tables.everything()
    for command in ("retry", "drop"):
        result = runner.run("outbox", command, str(leased.id))
        assert result.exit_code == 1
        assert "already under way" in result.stderr
    assert tables.everything() == before


def test_dropping_an_unmailed_invitation_puts_its_person_back_at_their_place(
    runner: Operator, dead: Entry, now: datetime, deliver: Deliver
) -> None:
    """P4, P8: cancelled, with the reason."""
    message = _message(dead)
    told = runner.json("outbox", "drop", str(message.id), "--reason", "a name we can't write")
    assert told == {"messages": 1, "back": 1}
    message = _message(dead)
    assert message.state == "cancelled"
    assert message.reason == "dropped by an operator: a name we can't write"
    bob = people.find(BOB)
    assert (bob.state, bob.rank, bob.suppressed_at) == ("waiting", dead.rank, None)
    assert people.invitation_of(bob).state == "revoked"
    assert gate.verify() == {}
    assert waves.admit(1, cohort=None, actor="test", now=now).admitted == 1
    assert [mail["To"] for mail in deliver(datetime.now(UTC))] == [BOB]


def test_dropping_another_mail_of_somebody_invited_leaves_their_invitation(
    runner: Operator, three: list[Entry], now: datetime, deliver: Deliver
) -> None:
    deliver(now)
    outbox.stage("renewal", [three[0].id], now=now, invitations=[people.invitation_of(three[0]).id])
    db.session.commit()
    told = runner.json("outbox", "drop", str(_message(three[0]).id))
    assert told == {"messages": 1, "back": 0}
    assert people.invitation_of(three[0]).state == "open"


def test_a_bounced_invitation_isnt_sent_again_and_the_command_says_how_to_go_on(
    runner: Operator, three: list[Entry], now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    sink.pipelines, sink.answers = False, ["550 No such person"]
    deliver(now)
    alice = _message(three[0])
    assert alice.state == "bounced"
    result = runner.run("outbox", "retry", str(alice.id))
    assert result.exit_code == 1
    assert f"flask person unsuppress {ALICE}" in result.stderr
    runner.json("person", "unsuppress", ALICE)
    waves.admit(1, cohort=None, actor="test", now=now)
    assert [mail["To"] for mail in deliver(now)] == [ALICE]


def test_another_mail_that_bounced_goes_again_once_the_address_is_mailed_again(
    runner: Operator, app: Flask, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    alice = people.join(ALICE, now=now)
    sink.pipelines, sink.answers = False, ["550 No such person"]
    deliver(now)
    number = str(_message(alice).id)
    assert "unsuppress" in runner.run("outbox", "retry", number).stderr
    runner.json("person", "unsuppress", ALICE)
    assert runner.json("outbox", "retry", number) == {"queued": 1}
    assert len(deliver(datetime.now(UTC) + FOREVER)) == 1


def test_if_one_of_several_cant_be_changed_none_is_and_each_is_told(
    runner: Operator, dead: Entry, three: list[Entry]
) -> None:
    numbers = [str(_message(entry).id) for entry in three]
    before = tables.everything()
    for command in ("retry", "drop"):
        result = runner.run("outbox", command, *numbers, "999999")
        assert result.exit_code == 1
        assert f"message {numbers[0]}: it is sent" in result.stderr
        assert "message 999999: there is none of that id" in result.stderr
        assert numbers[1] not in result.stderr
    assert tables.everything() == before
    assert runner.run("outbox", "retry").exit_code == 2
    assert runner.run("outbox", "retry", numbers[0], "--all-dead").exit_code == 2


def test_a_worker_that_was_faster_wins(
    three: list[Entry], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9: a guarded update, whatever was read before."""
    message = _message(three[0])
    found = undelivered._all_of

    def meanwhile(*given: Any) -> Any:
        seen = found(*given)
        db.session.execute(
            update(Message).where(Message.id == message.id).values(state="sending", lease=1)
        )
        return seen

    monkeypatch.setattr(undelivered, "_all_of", meanwhile)
    with pytest.raises(MessagesRefused, match="look again"):
        undelivered.drop([message.id], actor="test", reason="", now=now)
    assert people.invitation_of(three[0]).state == "open"


def test_leaving_and_recalling_take_a_dead_mail_too(
    dead: Entry, three: list[Entry], now: datetime, deliver: Deliver
) -> None:
    """P9: so that no retry mails what isn't true any more."""
    wave_id = db.session.scalars(select(Wave.id).order_by(Wave.id.desc())).first()
    assert wave_id is not None
    recalled = recall.recall(wave_id, revoke=False, actor="test", reason="", now=now)
    assert recalled.back == 1
    assert ("invitation", "cancelled") in mails_owed(dead)
    assert people.find(BOB).state == "waiting"


def test_the_gate_and_the_metrics_tell_of_dead_letters_and_of_the_oldest_that_is_due(
    runner: Operator, dead: Entry, clock: time_machine.Traveller, deliver: Deliver
) -> None:
    assert "1: see flask outbox list" in runner.run("gate", "show").stdout
    figures = Browser(runner.app).get("/metrics").text
    assert "waitlist_outbox_dead_messages 1.0" in figures
    assert "waitlist_outbox_oldest_invitation_seconds 0.0" in figures
    runner.json("outbox", "retry", "--all-dead")
    clock.shift(HOUR)
    figures = Browser(runner.app).get("/metrics").text
    assert "waitlist_outbox_dead_messages 0.0" in figures
    assert "waitlist_outbox_oldest_invitation_seconds 3600.0" in figures
    runner.json("gate", "hold", "invitation")
    figures = Browser(runner.app).get("/metrics").text
    assert "waitlist_outbox_oldest_invitation_seconds 0.0" in figures


def test_no_join_of_a_stranger_shows_in_the_metrics(
    app: Flask, clock: time_machine.Traveller, now: datetime
) -> None:
    """P21: known or not, and however long the mail waits."""
    before = Browser(app).get("/metrics").text
    people.join(ALICE, now=now)
    clock.shift(HOUR)
    assert Browser(app).get("/metrics").text == before
