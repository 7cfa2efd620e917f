"""The budgets of mail: a minute's and a day's, shared by all workers, and spent only by mail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import delete, func, select, update

from tests import people
from tests.conftest import MakeApp
from tests.people import ALICE
from tests.servers import SmtpSink
from tests.visitors import Operator
from waitlist import delivery, leasing, outbox, postage, projection
from waitlist.admission import gate, waves
from waitlist.extensions import db
from waitlist.models import MailPace, Message

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
FOREVER = timedelta(days=9)
Paced = Callable[..., Flask]


@pytest.fixture
def paced(app: Flask, make_app: MakeApp, now: datetime) -> Paced:
    """An app with such budgets, and so many people who wait and to whom nothing is owed."""

    def make(waiting: int, **budgets: object) -> Flask:
        people.crowd(waiting, now=now)
        db.session.execute(delete(Message))
        db.session.commit()
        return make_app(**budgets)

    return make


def _deliver(at: datetime) -> int:
    """How many mails go at this moment."""
    before = _sent()
    delivery.deliver(lambda: at, until=at + FOREVER)
    return _sent() - before


def _sent() -> int:
    db.session.rollback()
    count = select(func.count()).select_from(Message).where(Message.state == "sent")
    found = db.session.scalar(count) or 0
    db.session.rollback()
    return found


def _spent() -> tuple[float, int]:
    row = db.session.execute(select(MailPace.allowance, MailPace.sent_today)).one()
    db.session.rollback()
    return row.allowance, row.sent_today


def test_no_more_mail_goes_than_the_minute_allows(paced: Paced, now: datetime) -> None:
    with paced(80, mail_per_minute=60).app_context():
        people.admit(80, now=now)
        went = [_deliver(now + n * SECOND) for n in range(70)]
    assert sum(went[:60]) <= 60
    assert sum(went) in (69, 70)
    assert max(went) <= 3


def test_workers_side_by_side_share_the_minutes_budget_exactly(paced: Paced, now: datetime) -> None:
    app = paced(60, mail_per_minute=600)
    with app.app_context():
        people.admit(60, now=now)
        for moment, budget in ((now, 21), (now + SECOND, 30)):
            people.at_once(app, [lambda at=moment: _deliver(at) for _ in range(4)])  # type: ignore[misc]
            assert _sent() == budget


def test_of_a_day_a_tenth_is_kept_for_what_people_ask_for(
    paced: Paced, now: datetime, sink: SmtpSink
) -> None:
    with paced(30, mail_per_day=20).app_context():
        people.admit(30, now=now)
        assert _deliver(now) == 18
        for number in range(5):
            people.join(f"late{number}@example.org", now=now)
        assert _deliver(now + HOUR) == 2
        assert {mail["Feedback-ID"].split(":")[0] for mail in sink.messages[-2:]} == {"confirm"}
        assert _deliver(now + 2 * HOUR) == 0
        midnight = datetime(now.year, now.month, now.day, tzinfo=UTC) + 24 * HOUR
        assert _deliver(midnight - SECOND) == 0
        assert _deliver(midnight) == 15


def test_the_first_days_are_a_warm_up(paced: Paced, now: datetime) -> None:
    with paced(40, mail_warm_up=(5, 12)).app_context():
        people.admit(40, now=now)
        assert [_deliver(now + n * 24 * HOUR) for n in range(3)] == [5, 11, 24]


def test_a_day_that_is_used_up_wakes_no_worker_until_it_is_over(
    paced: Paced, now: datetime
) -> None:
    with paced(3, mail_per_day=2).app_context():
        people.admit(3, now=now)
        assert leasing.is_due(now=now)
        db.session.rollback()
        assert _deliver(now) == 2
        assert not leasing.is_due(now=now + HOUR)
        assert leasing.is_due(now=now + 12 * HOUR)


def test_the_end_of_a_budget_is_said_once_and_is_no_error(
    paced: Paced, now: datetime, capsys: pytest.CaptureFixture[str]
) -> None:
    with paced(3, mail_per_day=2).app_context():
        people.admit(3, now=now)
        capsys.readouterr()
        for n in range(3):
            _deliver(now + n * SECOND)
        logged = capsys.readouterr().err
    assert logged.count("mail waits for its budget") == 1
    assert '"until": "2027-03-02T00:00:00+00:00"' in logged
    assert '"level": "error"' not in logged


def test_the_days_end_is_said_after_the_minutes_too(
    paced: Paced, now: datetime, capsys: pytest.CaptureFixture[str]
) -> None:
    with paced(9, mail_per_minute=60, mail_per_day=6).app_context():
        people.admit(9, now=now)
        capsys.readouterr()
        for n in range(9):
            _deliver(now + n * SECOND)
        logged = capsys.readouterr().err
    assert [of for of in ("minute", "day") for _ in range(logged.count(f'"of": "{of}"'))] == [
        "minute",
        "day",
    ]


def test_a_budget_that_is_just_enough_is_no_news(
    paced: Paced, now: datetime, capsys: pytest.CaptureFixture[str]
) -> None:
    with paced(2, mail_per_day=2).app_context():
        people.admit(2, now=now)
        assert _deliver(now) == 2
    assert "mail waits for its budget" not in capsys.readouterr().err


def test_a_server_that_is_away_costs_nothing_of_the_day(
    paced: Paced, now: datetime, sink: SmtpSink
) -> None:
    with paced(4, mail_per_day=4, mail_per_minute=600).app_context():
        people.admit(4, now=now)
        sink.rcpt_answer = "421 Not now"
        for n in range(10):
            _deliver(now + n * timedelta(seconds=16))
        assert _spent()[1] == 0
        sink.rcpt_answer = None
        assert _deliver(now + HOUR) == 4


def test_a_mail_that_must_not_go_any_more_costs_nothing(paced: Paced, now: datetime) -> None:
    with paced(3, mail_per_day=4).app_context():
        people.admit(3, now=now)
        db.session.execute(update(db.metadata.tables["entries"]).values(suppressed_at=now))
        db.session.commit()
        assert _deliver(now) == 0
        assert _spent()[1] == 0


def test_what_there_was_no_time_for_costs_nothing(paced: Paced, now: datetime) -> None:
    with paced(3, mail_per_day=3).app_context():
        people.admit(3, now=now)
        moments = iter([now, now, now, now + 2 * FOREVER, *[now + 2 * FOREVER] * 9])
        assert delivery.deliver(lambda: next(moments), until=now + FOREVER)
        assert _spent()[1] == _sent()


def test_a_wave_of_invitations_lets_a_share_of_other_mail_by(
    app: Flask, now: datetime, sink: SmtpSink
) -> None:
    """In every tenth turn what people ask for goes first, however many invitations wait."""
    alice = people.wait_in_line(ALICE, now=now)
    db.session.execute(delete(Message))
    for kind, many in (("invitation", 300), ("confirm", 30)):
        outbox.stage(kind, [alice.id] * many, now=now)
    db.session.commit()
    kinds = [one.kind for _ in range(10) for one in leasing.lease(now=now, most=20)]
    assert kinds[:180] == ["invitation"] * 180
    assert kinds[180:] == ["confirm"] * 20


def test_where_nobody_asks_for_anything_no_turn_is_lost(paced: Paced, now: datetime) -> None:
    with paced(25).app_context():
        db.session.execute(update(MailPace).values(sent_today=185, day=now.date(), counted_at=now))
        db.session.execute(update(MailPace).values(allowance=1_000))
        db.session.commit()
        people.admit(25, now=now)
        assert _deliver(now) == 25


def test_a_tick_admits_no_more_than_the_day_can_mail(paced: Paced, now: datetime) -> None:
    with paced(20, mail_per_day=10).app_context():
        projection.require_valid()
        people.open_gate(100, 36_000, now=now)
        waves.tick(now=now)
        ticks = [waves.tick(now=now + n * SECOND) for n in (1, 2)]
        assert sum(tick.admitted for tick in ticks) == 9
        assert ticks[-1].limit == "mail"


def test_the_gate_tells_what_went_and_what_may_go(paced: Paced, now: datetime) -> None:
    app = paced(9, mail_per_day=10, mail_per_minute=60)
    with app.app_context():
        people.admit(9, now=now)
        _deliver(now)
        mail = gate.show(now=now).mail
        assert (mail.sent_today, mail.most_today, mail.left_today) == (3, 10, 7)
        assert (mail.left_now, mail.a_minute) == (0, 60)
        assert mail.waits_until is not None
        assert mail.waits_until.startswith("2027-03-01T12:00:0")
        db.session.rollback()
    shown = Operator(app).run("gate", "show").stdout
    assert "of 10 today, at most 60 a minute" in shown


def test_the_budgets_are_read_and_never_spent_by_looking(paced: Paced, now: datetime) -> None:
    with paced(1, mail_per_minute=60).app_context():
        for _ in range(20):
            leasing.is_due(now=now)
            assert postage.read(now=now).grant().mails == 3
            db.session.rollback()
            assert leasing.lease(now=now, most=20) == []
