"""The outbox: owed in the transaction, leased by a number, marked by the lease's holder only."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import select, update

from tests import people
from tests.conftest import Deliver
from tests.people import ALICE, BOB, mails_owed
from tests.servers import SmtpSink
from waitlist import delivery, leasing, outbox, wake
from waitlist.extensions import db
from waitlist.models import Entry, Message
from workers import clock as workers_clock

SECOND = timedelta(seconds=1)


def _owe(kind: str, entry: Entry, now: datetime) -> None:
    outbox.stage(kind, [entry.id], now=now)
    db.session.commit()


def _lease(now: datetime) -> outbox.Leased:
    [leased] = leasing.lease(now=now)
    return leased


def _state(message_id: int) -> str | None:
    state = db.session.scalar(select(Message.state).where(Message.id == message_id))
    db.session.rollback()
    return state


@pytest.fixture
def alice(app: Flask, now: datetime, deliver: Deliver) -> Entry:
    """Alice, who waits and to whom nothing is owed."""
    entry = people.wait_in_line(ALICE, now=now)
    deliver(now)
    return entry


def test_mail_goes_in_the_order_of_its_kind_and_then_of_its_age(
    alice: Entry, now: datetime
) -> None:
    kinds = ["standing", "confirm", "left", "renewal", "invitation", "confirm", "apology"]
    for kind in kinds:
        _owe(kind, alice, now)
    leased = [_lease(now).id for _ in kinds]
    kind_of = {row.id: row.kind for row in db.session.scalars(select(Message))}
    assert [kind_of[one] for one in leased] == [
        "invitation",
        "renewal",
        "apology",
        "confirm",
        "confirm",
        "standing",
        "left",
    ]
    assert leased[3] < leased[4]


def test_a_mail_isnt_leased_before_it_is_due(alice: Entry, now: datetime) -> None:
    _owe("standing", alice, now)
    assert leasing.lease(now=now - SECOND) == []
    assert leasing.lease(now=now) != []


def test_a_leased_mail_isnt_leased_to_another(alice: Entry, now: datetime) -> None:
    """P9: each send takes a guarded queued to sending."""
    _owe("standing", alice, now)
    _lease(now)
    assert leasing.lease(now=now) == []


def test_workers_at_once_lease_each_mail_once(app: Flask, alice: Entry, now: datetime) -> None:
    """P9."""
    for _ in range(8):
        _owe("standing", alice, now)
    leased = people.at_once(app, [lambda: _lease(now).id] * 8)
    assert len(set(leased)) == 8


def test_a_worker_stopped_past_its_lease_marks_nothing(alice: Entry, now: datetime) -> None:
    """P8, P9: the second lease is the only one that counts."""
    _owe("standing", alice, now)
    stopped = _lease(now)
    later = now + outbox.LEASE + SECOND
    assert outbox.overdue(now=now + outbox.LEASE) == []
    assert outbox.reclaim(outbox.overdue(now=later), now=later) == []
    second = _lease(later)
    assert second.id == stopped.id
    assert not outbox.mark(stopped, state="sent", now=later)
    assert not outbox.put_back(stopped, now=later, reason="late")
    assert _state(stopped.id) == "sending"
    assert outbox.mark(second, state="sent", now=later)
    db.session.commit()
    assert _state(stopped.id) == "sent"


def test_a_mail_that_was_sent_isnt_marked_again(alice: Entry, now: datetime) -> None:
    _owe("standing", alice, now)
    leased = _lease(now)
    assert outbox.mark(leased, state="sent", now=now)
    assert not outbox.mark(leased, state="bounced", now=now)


def test_what_a_dead_worker_left_is_sent_by_the_next(
    alice: Entry, now: datetime, deliver: Deliver
) -> None:
    """P16: half a minute after its lease, without anyone's help."""
    _owe("standing", alice, now)
    _lease(now)
    assert not leasing.is_due(now=now)
    assert deliver(now) == []
    later = now + outbox.LEASE + SECOND
    assert leasing.is_due(now=later)
    assert len(deliver(later)) == 1
    assert not leasing.is_due(now=later)


def test_after_redis_lost_everything_what_is_overdue_is_sent_within_a_minute(
    alice: Entry, now: datetime, redis: Redis, sink: SmtpSink, deliver: Deliver
) -> None:
    """P16: the clock finds it in SQL, whoever forgot about it: queues, notes, wake-ups."""
    bob = people.wait_in_line(BOB, now=now)
    deliver(now)
    _owe("standing", alice, now)
    _lease(now)  # by a worker that died
    _owe("standing", bob, now)
    redis.flushall()
    fault_over, sent = now + outbox.LEASE, []
    for second in range(1, 60):
        at = fault_over + second * SECOND
        redis.delete(wake.asked_key("mail"))  # which lives for five seconds
        workers_clock.tick(now=at)
        if redis.lpop("rq:queue:mail"):
            sent += [str(mail["To"]) for mail in deliver(at)]
    assert sorted(sent) == [ALICE, BOB]


def test_cancelling_stops_what_is_queued_and_not_what_is_under_way(
    alice: Entry, now: datetime
) -> None:
    """P9."""
    _owe("act", alice, now)
    under_way = _lease(now)
    _owe("standing", alice, now)
    assert outbox.cancel(Message.entry_id == alice.id, reason="withdrawn") == 1
    db.session.commit()
    assert _state(under_way.id) == "sending"
    assert mails_owed(alice)[-1] == ("standing", "cancelled")


def test_nothing_is_sent_before_its_commit(
    app: Flask, alice: Entry, now: datetime, sink: SmtpSink
) -> None:
    """P9: a mail staged in an open transaction is nobody's, and goes away with it."""
    before = len(sink.messages)
    outbox.stage("standing", [alice.id], now=now)
    db.session.flush()
    if db.engine.dialect.name == "postgresql":  # SQLite has one writer, who is at it
        with app.app_context():
            delivery.deliver(lambda: now, until=now + SECOND)
    db.session.rollback()
    delivery.deliver(lambda: now, until=now + SECOND)
    assert len(sink.messages) == before


def test_put_back_it_is_due_later_each_time_and_never_over_an_hour(
    alice: Entry, now: datetime
) -> None:
    _owe("standing", alice, now)
    at, waits = now, []
    for _ in range(12):
        leased = _lease(at)
        outbox.put_back(leased, now=at, reason="450")
        db.session.commit()
        due_at = db.session.get_one(Message, leased.id).due_at
        db.session.rollback()
        waits.append(due_at - at)
        at = due_at
    assert timedelta(seconds=7) <= waits[0] <= timedelta(seconds=15)
    assert all(wait <= timedelta(hours=1) for wait in waits)
    assert waits[-1] >= timedelta(minutes=30)
    assert all(later > earlier / 2 for earlier, later in pairwise(waits))


def test_an_invitation_goes_before_a_flood_of_other_mail(
    app: Flask, alice: Entry, now: datetime, deliver: Deliver
) -> None:
    bob = people.wait_in_line(BOB, now=now)
    for _ in range(3):
        _owe("confirm", alice, now)
    people.make(alice, state="removed")  # so that Bob stands at the front
    people.invite(bob, now=now)
    assert deliver(now)[0].envelope.rcpt_tos == [BOB]


def test_an_invitation_taken_back_after_its_lease_isnt_sent(
    app: Flask, alice: Entry, now: datetime, sink: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9: what the worker reads last is the truth."""
    people.invite(alice, now=now)
    before = len(sink.messages)

    def take_back(place: str) -> None:
        if place == "mail.leased":
            table = db.metadata.tables["invitations"]
            db.session.execute(update(table).values(state="revoked"))
            db.session.commit()
            db.session.expire_all()  # as in the worker, who never saw it before

    monkeypatch.setattr(delivery, "failpoint", take_back)
    delivery.deliver(lambda: now, until=now + SECOND)
    assert len(sink.messages) == before
    assert mails_owed(alice)[-1] == ("invitation", "cancelled")
    assert people.invitation_of(alice).mailed_at is None
