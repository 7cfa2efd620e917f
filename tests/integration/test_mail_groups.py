"""Mails leased and marked in groups: none twice, none lost, nothing that was taken back."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import count

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import delete, func, select, update

from tests import people
from tests.conftest import Deliver, MakeApp
from tests.servers import SmtpSink, stopped
from waitlist import delivery, outbox
from waitlist.extensions import db
from waitlist.models import Entry, Invitation, Message

SECOND = timedelta(seconds=1)
AFTER_LEASE = outbox.LEASE + SECOND
FOREVER = timedelta(days=1)


class Killed(RuntimeError):
    """What a worker that is killed never gets to see."""


@pytest.fixture
def five(app: Flask, now: datetime, deliver: Deliver) -> list[Entry]:
    """Five people who were admitted together and not yet mailed."""
    entries = [people.wait_in_line(f"p{number}@example.org", now=now) for number in range(5)]
    deliver(now)
    people.admit(5, now=now)
    return entries


def _killed_at(place: str, nth: int) -> Callable[[str], None]:
    passed = count(1)

    def failpoint(name: str) -> None:
        if name == place and next(passed) == nth:
            raise Killed(name)

    return failpoint


def _sent(sink: SmtpSink) -> Counter[str]:
    return Counter(
        message["To"] for message in sink.messages if "invitation" in str(message["Feedback-ID"])
    )


@pytest.mark.parametrize(
    "place,nth,twice", [("mail.leased", 1, 0), ("mail.accepted", 3, 1), ("mail.before-mark", 1, 0)]
)
def test_a_killed_worker_repeats_at_most_the_one_mail_under_way(
    five: list[Entry],
    now: datetime,
    sink: SmtpSink,
    deliver: Deliver,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    nth: int,
    twice: int,
) -> None:
    """P8."""
    with monkeypatch.context() as killing:
        killing.setattr(delivery, "failpoint", _killed_at(place, nth))
        with pytest.raises(Killed):
            delivery.deliver(lambda: now, until=now + FOREVER)
        db.session.rollback()
    deliver(now + AFTER_LEASE)
    mails = _sent(sink)
    assert len(mails) == 5
    assert sum(mails.values()) == 5 + twice
    open_until = db.session.scalars(select(Invitation.expires_at)).all()
    assert len(open_until) == 5
    assert None not in open_until  # the lifetime of those that weren't repeated runs too
    invitations = select(Message.state).where(Message.kind == "invitation")
    assert set(db.session.scalars(invitations)) == {"sent"}


def test_without_redis_too(
    five: list[Entry],
    make_app: MakeApp,
    now: datetime,
    sink: SmtpSink,
    deliver: Deliver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P8, P14: then each is marked at once."""
    with (
        monkeypatch.context() as killing,
        make_app(redis_url="redis://127.0.0.1:1/0").app_context(),
    ):
        killing.setattr(delivery, "failpoint", _killed_at("mail.accepted", 3))
        with pytest.raises(Killed):
            delivery.deliver(lambda: now, until=now + FOREVER)
        db.session.rollback()
    deliver(now + AFTER_LEASE)
    assert sum(_sent(sink).values()) == 6


def test_a_redis_that_freezes_is_found_out_by_the_next_mail(
    five: list[Entry],
    now: datetime,
    sink: SmtpSink,
    redis: Redis,
    deliver: Deliver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P8, P14: what it was told and didn't answer to goes to SQL."""
    killed = _killed_at("mail.accepted", 4)
    with stopped(redis), monkeypatch.context() as killing:
        killing.setattr(delivery, "failpoint", killed)
        with pytest.raises(Killed):
            delivery.deliver(lambda: now, until=now + FOREVER)
        db.session.rollback()
    redis.flushall()
    deliver(now + AFTER_LEASE)
    assert sum(_sent(sink).values()) == 6


def test_workers_side_by_side_send_none_twice(
    app: Flask, now: datetime, sink: SmtpSink, deliver: Deliver
) -> None:
    """P9."""
    for number in range(60):
        people.wait_in_line(f"p{number}@example.org", now=now)
    deliver(now)
    people.admit(60, now=now)
    people.at_once(app, [lambda: delivery.deliver(lambda: now, until=now + FOREVER)] * 3)
    mails = _sent(sink)
    assert len(mails) == 60
    assert set(mails.values()) == {1}


def test_what_is_revoked_while_a_slow_group_is_sent_doesnt_go(
    app: Flask,
    five: list[Entry],
    now: datetime,
    sink: SmtpSink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P9."""
    monkeypatch.setattr(delivery, "FRESH", 0.0)
    accepted = count(1)

    def revoke(name: str) -> None:
        if name == "mail.accepted" and next(accepted) == 2:
            thread = threading.Thread(target=_revoke_all, args=[app])
            thread.start()
            thread.join()

    monkeypatch.setattr(delivery, "failpoint", revoke)
    delivery.deliver(lambda: now, until=now + FOREVER)
    assert sum(_sent(sink).values()) == 2
    states = db.session.execute(
        select(Message.state, func.count()).where(Message.kind == "invitation").group_by("state")
    )
    assert dict(states.all()) == {"sent": 2, "cancelled": 3}


def _revoke_all(app: Flask) -> None:
    with app.app_context():
        db.session.execute(update(Invitation).values(state="revoked"))
        db.session.commit()


def test_what_there_is_no_time_for_goes_back_as_it_was(
    five: list[Entry], now: datetime, sink: SmtpSink, deliver: Deliver
) -> None:
    """P20."""
    times = _clock(now, step=SECOND)
    assert delivery.deliver(lambda: next(times), until=now + 8 * SECOND)
    went = sum(_sent(sink).values())
    assert 0 < went < 5
    left = db.session.scalars(select(Message).where(Message.state == "queued")).all()
    assert len(left) == 5 - went
    assert {message.attempts for message in left} == {0}
    db.session.rollback()
    deliver(now + FOREVER)
    assert set(_sent(sink).values()) == {1}


def test_no_mail_is_begun_that_could_outlast_its_lease(
    five: list[Entry], now: datetime, sink: SmtpSink
) -> None:
    """P8: a server so slow that the lease would run out gets a group in several leases."""
    times = _clock(now, step=timedelta(seconds=4))
    delivery.deliver(lambda: next(times), until=now + 20 * FOREVER)
    assert set(_sent(sink).values()) == {1}
    leases = db.session.scalars(select(Message.lease).where(Message.kind == "invitation")).all()
    assert max(leases) > 1


def _clock(start: datetime, *, step: timedelta) -> Iterator[datetime]:
    return (start + number * step for number in count())


def test_a_mail_whose_person_is_gone_holds_up_nobody_elses(
    five: list[Entry], now: datetime, sink: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P16: as when an import is taken back while a worker has leased mail of it."""

    def erase(place: str) -> None:
        if place == "mail.leased":
            db.session.execute(delete(Message).where(Message.entry_id == five[1].id))
            db.session.commit()

    monkeypatch.setattr(delivery, "failpoint", erase)
    delivery.deliver(lambda: now, until=now + FOREVER)
    assert sum(_sent(sink).values()) == 4
