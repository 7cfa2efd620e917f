"""When invitations come back: the gate slows, then stops, and goes on when somebody has looked."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select

from tests import people
from tests.conftest import Deliver, MakeApp
from tests.people import ALICE, mails_owed
from tests.servers import SmtpSink
from tests.visitors import Operator
from waitlist import leasing, outbox, postage, projection
from waitlist.admission import gate, waves
from waitlist.extensions import db
from waitlist.models import Invitation, Message
from waitlist.onboarding import invitations

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
NO, LATER = "550 No such person", "450 Later"


@pytest.fixture(autouse=True)
def plain(sink: SmtpSink) -> None:
    """Each mail is asked for once."""
    sink.pipelines = False


def _admit(how_many: int, *, now: datetime, name: str) -> int:
    """The number of a wave of so many, who came just now, and to whom nothing else is owed."""
    people.crowd(how_many, now=now, name=name)
    outbox.cancel(Message.kind == "standing", reason="for this test")
    db.session.commit()
    free = gate.show(now=now).seats_used + how_many
    db.session.rollback()
    people.open_gate(free, now=now)
    wave = waves.admit(how_many, cohort=None, actor="test", now=now)
    assert wave.wave_id is not None
    return wave.wave_id


def _answer(sink: SmtpSink, deliver: Deliver, answers: list[str], now: datetime) -> None:
    """Deliver what is due; the first mails are answered so."""
    sink.answers[:] = answers
    deliver(now)
    assert sink.answers == []


def _queued(kind: str = "invitation") -> int:
    queued = (Message.state == "queued") & (Message.kind == kind)
    found = db.session.scalar(select(func.count()).select_from(Message).where(queued)) or 0
    db.session.rollback()
    return found


def _state(now: datetime) -> str:
    state = gate.show(now=now).bounces.state
    db.session.rollback()
    return state


def test_one_bounce_of_three_stops_no_launch(
    app: Flask, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    _admit(3, now=now, name="a")
    _answer(sink, deliver, [NO], now)
    assert _state(now) == "well"
    assert _queued() == 0


def test_when_too_many_come_back_the_rest_is_held_and_nobody_is_admitted(
    app: Flask, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    """P3, P8: those who are admitted keep their seats, and their mail has no deadline."""
    _admit(45, now=now, name="a")
    _answer(sink, deliver, [NO] * 20, now)
    assert _queued() == 25
    assert _state(now) == "stopped"
    assert not leasing.is_due(now=now + HOUR)
    db.session.rollback()
    deliver(now + 30 * HOUR)
    assert _queued() == 25
    still_open = select(Invitation.expires_at).where(Invitation.state == "open")
    assert set(db.session.scalars(still_open)) == {None}
    db.session.rollback()
    people.open_gate(1_000, 3_600, now=now)
    people.crowd(3, now=now, name="next")
    waves.tick(now=now)
    tick = waves.tick(now=now + SECOND)
    assert (tick.admitted, tick.limit) == (0, "bounces")
    assert gate.verify() == {}


def test_all_other_mail_goes_on_while_invitations_are_held(
    app: Flask, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    _admit(21, now=now, name="a")
    _answer(sink, deliver, [NO] * 20, now)
    alice = people.join(ALICE, now=now)
    deliver(now + 30 * HOUR)
    assert mails_owed(alice) == [("confirm", "sent")]
    assert gate.show(now=now + 30 * HOUR).bounces.bounced == 20  # nothing new is known of these


def test_it_goes_on_when_an_operator_has_looked_and_counts_anew(
    app: Flask, now: datetime, deliver: Deliver, sink: SmtpSink, runner: Operator
) -> None:
    _admit(60, now=now, name="a")
    _answer(sink, deliver, [NO] * 20, now)
    shown = runner.json("gate", "accept-bounces", "--reason", "an old list; the rest is checked")
    assert shown["bounces"]["state"] == "well"
    assert shown["bounces"]["bounced"] == 0
    (change,) = [one for one in runner.json("gate", "history") if "bounces_since" in one["after"]]
    assert change["before"] == {"bounces_since": None}
    assert change["reason"].startswith("an old list")
    _answer(sink, deliver, [NO], now + HOUR)
    assert _queued() == 0
    assert _state(now + HOUR) == "well"


def test_it_stops_again_when_it_goes_on_as_before(
    app: Flask, now: datetime, deliver: Deliver, sink: SmtpSink, runner: Operator
) -> None:
    _admit(60, now=now, name="a")
    _answer(sink, deliver, [NO] * 20, now)
    runner.json("gate", "accept-bounces")
    _answer(sink, deliver, [NO] * 20, now + HOUR)
    assert _state(now + HOUR) == "stopped"
    assert _queued() == 20


def test_the_wave_whose_mails_come_back_names_itself(
    runner: Operator,
    clock: time_machine.Traveller,
    now: datetime,
    deliver: Deliver,
    sink: SmtpSink,
) -> None:
    good = _admit(20, now=now, name="good")
    _answer(sink, deliver, [NO], now)
    bad = _admit(20, now=now, name="bad")
    _answer(sink, deliver, ["250 OK"] * 12 + [NO] * 8, now)
    shown = gate.show(now=now)
    assert shown.bounces.bounced == 9
    assert (shown.bounces.state, shown.limit) == ("stopped", "bounces")
    assert (shown.bounces.wave, shown.bounces.wave_bounced) == (bad, 8)
    assert good != bad
    db.session.rollback()
    said = runner.run("gate", "show").stdout
    assert "stopped: 9 of the last 40, 8 of wave" in said
    assert "accept-bounces" in said
    clock.shift(SECOND)
    runner.json("gate", "accept-bounces")
    assert gate.show(now=now).bounces.wave is None


def test_a_share_in_between_slows_the_gate_and_its_mail_to_a_quarter(
    app: Flask, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    usual = postage.read(now=now).within_horizon()
    db.session.rollback()
    _admit(60, now=now, name="a")
    _answer(sink, deliver, ["250 OK"] * 57 + [NO] * 3, now)
    assert _state(now) == "slowed"
    assert postage.read(now=now).within_horizon() == pytest.approx(usual / 4, rel=0.01)
    db.session.rollback()
    people.open_gate(1_000, 14_400, now=now)
    assert gate.show(now=now).rate_in_force == 3_600
    db.session.rollback()
    people.crowd(30, now=now, name="next")
    projection.require_valid()
    waves.tick(now=now)
    admitted = [waves.tick(now=now + n * SECOND).admitted for n in range(1, 11)]
    assert 9 <= sum(admitted) <= 10


def test_mail_that_arrives_again_gives_the_pace_back(
    app: Flask, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    _admit(60, now=now, name="a")
    _answer(sink, deliver, ["250 OK"] * 57 + [NO] * 3, now)
    assert _state(now) == "slowed"
    _admit(100, now=now, name="b")
    deliver(now)
    assert _state(now) == "well"


def test_what_is_refused_for_now_slows_and_never_stops(
    app: Flask, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    _admit(40, now=now, name="a")
    _answer(sink, deliver, [LATER] * 40, now)
    assert _state(now) == "slowed"
    assert gate.show(now=now).bounces.later == 40
    db.session.rollback()
    deliver(now + HOUR)
    assert _queued() == 0


def test_only_invitations_count(
    app: Flask, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    for number in range(30):
        people.join(f"stranger{number}@example.net", now=now)
    _answer(sink, deliver, [NO] * 30, now)
    assert _state(now) == "well"
    assert gate.show(now=now).bounces.bounced == 0


def test_a_seat_whose_mail_came_back_is_free_and_its_person_is_passed_over(
    app: Flask, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    """P4: as ever, whether the gate stops or not."""
    _admit(25, now=now, name="a")
    _answer(sink, deliver, [NO] * 20, now)
    assert gate.show(now=now).seats_used == 5
    assert gate.verify() == {}
    invitations.lapse(now=now + 900 * HOUR)
    assert gate.show(now=now).seats_used == 5


def test_it_is_logged_once_when_it_stops(
    app: Flask,
    make_app: MakeApp,
    now: datetime,
    deliver: Deliver,
    sink: SmtpSink,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _admit(60, now=now, name="a")
    with make_app().app_context():
        _answer(sink, deliver, [NO] * 20, now)
        deliver(now + HOUR)
    assert capsys.readouterr().err.count("too many invitations bounce") == 1
