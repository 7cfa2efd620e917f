"""Invitations keep to the hours of their cohort; what people ask for goes at any hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import delete, select, update

from tests import people
from tests.conftest import Deliver, MakeApp
from tests.people import ALICE
from tests.servers import SmtpSink
from waitlist import delivery, leasing, postage
from waitlist.admission import gate
from waitlist.extensions import db
from waitlist.models import Cohort, MailPace, Message

HOUR = timedelta(hours=1)
NIGHT = datetime(2027, 3, 1, 2, 0, tzinfo=UTC)  # 03:00 in Paris
NINE = datetime(2027, 3, 1, 8, 0, tzinfo=UTC)
NINE_AT_NIGHT = datetime(2027, 3, 1, 20, 0, tzinfo=UTC)


@pytest.fixture
def by_day(app: Flask) -> None:
    """`general` is mailed from 9 to 21 h of Paris."""
    hours = {"hours": "09:00-21:00", "timezone": "Europe/Paris"}
    db.session.execute(update(Cohort).values(**hours))
    db.session.commit()


def _invited(how_many: int, at: datetime) -> list[str]:
    """Addresses of so many who are admitted, and to whom nothing else is owed."""
    people.crowd(how_many, now=at)
    db.session.execute(delete(Message))
    db.session.commit()
    people.admit(how_many, now=at)
    return [f"p{number}@example.org" for number in range(how_many)]


def _invitations() -> list[Message]:
    query = select(Message).where(Message.kind == "invitation").order_by(Message.id)
    found = list(db.session.scalars(query.execution_options(populate_existing=True)))
    db.session.rollback()
    return found


@pytest.mark.usefixtures("by_day")
def test_an_invitation_waits_for_its_hours_and_keeps_its_order(
    now: datetime, deliver: Deliver
) -> None:
    addresses = _invited(25, NIGHT)
    assert deliver(NIGHT) == []
    assert {(one.state, one.attempts, one.due_at) for one in _invitations()} == {
        ("queued", 0, NINE)
    }
    assert not leasing.is_due(now=NINE - timedelta(seconds=1))
    assert leasing.is_due(now=NINE)
    db.session.rollback()
    mails = deliver(NINE)
    assert [mail.envelope.rcpt_tos[0] for mail in mails] == addresses


@pytest.mark.usefixtures("by_day")
def test_its_lifetime_begins_when_it_is_mailed(deliver: Deliver) -> None:
    _invited(1, NIGHT)
    deliver(NIGHT)
    alice = people.find("p0@example.org")
    assert people.invitation_of(alice).expires_at is None
    deliver(NINE)
    assert people.invitation_of(alice).expires_at == NINE + 72 * HOUR


@pytest.mark.usefixtures("by_day")
def test_what_waits_for_its_hours_costs_nothing_of_the_budgets(deliver: Deliver) -> None:
    _invited(30, NIGHT)
    deliver(NIGHT)
    assert db.session.scalar(select(MailPace.sent_today)) == 0
    assert postage.read(now=NIGHT).spent.allowance == postage.read(now=NIGHT).pace.at_once


@pytest.mark.usefixtures("by_day")
def test_those_who_wait_for_their_hours_hold_up_nobody_elses_admission(
    make_app: MakeApp, deliver: Deliver
) -> None:
    _invited(20, NIGHT)
    deliver(NIGHT)
    with make_app(mail_per_minute=1).app_context():
        people.open_gate(100, 3_600, now=NIGHT)
        people.add_cohort("beta", now=NIGHT)
        people.crowd(1, now=NIGHT, cohort="beta", name="beta")
        assert gate.show(now=NIGHT).limit == "rate"


@pytest.mark.usefixtures("by_day")
def test_what_people_ask_for_goes_at_any_hour(deliver: Deliver) -> None:
    _invited(3, NIGHT)
    people.join(ALICE, now=NIGHT)
    (mail,) = deliver(NIGHT)
    assert mail.envelope.rcpt_tos == [ALICE]


@pytest.mark.usefixtures("by_day")
def test_when_the_hours_end_in_the_midst_of_a_wave_the_rest_waits(
    app: Flask, sink: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "FRESH", -1.0)  # what SQL says is read again for each
    _invited(5, NINE)
    step = timedelta(seconds=10)
    moments = iter(NINE_AT_NIGHT - step + n * step / 10 for n in range(200))
    delivery.deliver(lambda: next(moments), until=NINE_AT_NIGHT + HOUR)
    states = [one.state for one in _invitations()]
    assert 0 < states.count("sent") < 5
    waiting = {one.due_at for one in _invitations() if one.state == "queued"}
    assert waiting == {NINE + 24 * HOUR}


@pytest.mark.usefixtures("by_day")
def test_others_than_those_of_the_cohort_dont_wait(now: datetime, deliver: Deliver) -> None:
    people.add_cohort("beta", now=NIGHT)
    people.crowd(2, now=NIGHT, cohort="beta", name="beta")
    db.session.execute(delete(Message))
    db.session.commit()
    people.admit(2, now=NIGHT)
    assert len(deliver(NIGHT)) == 2
