"""The checker finds what was lost and doubled: each test breaks a good history in one way."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import delete, select, update

from tests import people as cast_of
from tests.conftest import Deliver
from tests.faults import history
from tests.faults.history import Verdict
from tests.faults.people import Answer, People
from tests.faults.stand import Stand
from tests.people import ALICE, BOB
from tests.products import Product, Told
from tests.servers import SmtpSink
from waitlist import projection
from waitlist.extensions import db
from waitlist.handover import endpoints
from waitlist.handover.endpoints import Who
from waitlist.models import (
    Entry,
    Gate,
    Invitation,
    LineChange,
    Message,
    PlaceChange,
    Registration,
    Webhook,
)


@pytest.fixture
def people(app: Flask, sink: SmtpSink, now: datetime, deliver: Deliver) -> People:
    """Alice, who joined, was invited and finished, and Bob, who waits; all of it was answered."""
    stand = cast(Stand, SimpleNamespace(app=app, sink=sink, product=Product()))
    found = People(stand, "nobody", 0)
    found.addresses = [ALICE, BOB]
    for at, who in enumerate(found.addresses):
        cast_of.wait_in_line(who, now=now)
        found.log.answers += [_answer("join", who, at), _answer("confirm", who, at)]
    endpoints.add("https://product.example.com/hooks", who=Who("test", "", now))
    deliver(now)
    cast_of.admit(1, now=now + timedelta(seconds=2))
    deliver(now + timedelta(seconds=3))
    cast_of.register(cast_of.find(ALICE), "ada", now=now + timedelta(seconds=4))
    deliver(now + timedelta(seconds=5))
    _tell(stand.product)
    found.log.answers.append(_answer("complete", ALICE, 9))
    projection.require_valid()
    db.session.commit()
    return found


def _tell(product: Product) -> None:
    """As if the product had taken what it is owed."""
    webhook = db.session.scalars(select(Webhook)).one()
    body = json.dumps({"data": {"id": str(webhook.subject_id)}}).encode()
    product.told.append(Told("/hooks", {"webhook-id": webhook.webhook_id}, body))
    db.session.execute(update(Webhook).values(state="delivered"))
    db.session.commit()


def _answer(what: str, who: str, at: float) -> Answer:
    return Answer(what, who, "/welcome/x" if what == "complete" else "", at, at + 0.5)


def _judged(people: People, *, repeats: int = 0) -> Verdict:
    db.session.commit()
    return history.examine(people.stand, people, repeats=repeats)


def _told(people: People, *, repeats: int = 0) -> str:
    verdict = _judged(people, repeats=repeats)
    return "; ".join([*verdict.lost, *verdict.doubled, *verdict.broken])


def test_a_good_history_has_nothing_wrong(people: People) -> None:
    assert _judged(people) == Verdict()
    assert history.unsettled(people.stand) == []


def _without_bob() -> None:
    bob = cast_of.find(BOB).id
    db.session.execute(delete(LineChange))
    for model in (Message, PlaceChange):
        db.session.execute(delete(model).where(model.entry_id == bob))
    db.session.execute(delete(Entry).where(Entry.id == bob))


def _unregistered() -> None:
    db.session.execute(delete(Registration))


def _not_confirmed() -> None:
    db.session.execute(update(Entry).where(Entry.address == BOB).values(state="pending"))


def _never_mailed() -> None:
    db.session.execute(
        update(Message).where(Message.kind == "invitation").values(state="queued", reason="")
    )


def _without_deadline() -> None:
    db.session.execute(update(Invitation).values(expires_at=None))


def _never_handed_over() -> None:
    db.session.execute(update(Webhook).values(state="attention"))


def _seats_too_many() -> None:
    db.session.execute(update(Gate).values(capacity=0))


def _counted_wrong() -> None:
    db.session.execute(update(Gate).values(seats_used=0))


def _released_and_used() -> None:
    db.session.execute(update(Invitation).values(state="expired"))


def _out_of_rank() -> None:
    db.session.execute(update(Entry).where(Entry.address == BOB).values(rank=77))


@pytest.mark.parametrize(
    "harm, words",
    [
        (_without_bob, f"join of {BOB} was answered, and nobody knows them"),
        (_unregistered, f"{ALICE} finished, and isn't registered"),
        (_not_confirmed, f"{BOB} confirmed, and is pending"),
        (_never_mailed, f"mail invitation of {ALICE} is queued"),
        (_without_deadline, f"the invitation of {ALICE} has no deadline"),
        (
            _never_handed_over,
            f"the registration of {ALICE} is owed to the product as ['attention']",
        ),
        (_seats_too_many, "1 seats are used, of 0"),
        (_counted_wrong, "gate counts 0 seats, and 1 are used"),
        (_released_and_used, "is released and used"),
        (_out_of_rank, "ranks aren't what the records make of them"),
    ],
)
def test_it_finds_in_sql(people: People, harm: Callable[[], None], words: str) -> None:
    harm()
    assert words in _told(people)


def test_it_finds_a_mail_that_sql_calls_sent_and_the_server_never_saw(people: People) -> None:
    """P8."""
    people.stand.sink.messages.pop()
    assert f"mail welcome of {ALICE} is sent, and never arrived" in _told(people)


def test_a_mail_may_come_again_only_where_one_was_in_flight(people: People) -> None:
    """P8."""
    people.stand.sink.messages.append(people.stand.sink.messages[-1])
    assert "came twice" in _told(people)
    assert _told(people, repeats=1) == ""


def test_a_mail_that_comes_again_must_be_the_same(people: People) -> None:
    """P8."""
    again = copy.deepcopy(people.stand.sink.messages[-1])
    again.replace_header("Subject", "Another")
    people.stand.sink.messages.append(again)
    assert "came twice, and differs" in _told(people, repeats=1)


def test_it_finds_a_mail_that_went_before_its_commit(people: People) -> None:
    """P9."""
    stray = copy.deepcopy(people.stand.sink.messages[-1])
    stray.replace_header("Message-ID", "<99.0@join.example.com>")
    people.stand.sink.messages.append(stray)
    assert "and SQL owes none like it" in _told(people)


def test_it_finds_a_product_that_never_heard(people: People) -> None:
    people.stand.product.told.clear()
    assert f"the product never heard of {ALICE}" in _told(people)


def test_a_product_may_be_told_twice_but_not_as_of_two(people: People) -> None:
    """P10."""
    told = people.stand.product.told
    told.append(told[0])
    assert _told(people) == ""
    told.append(replace(told[0], headers={"webhook-id": "another"}))
    assert f"the product was told of {ALICE} as 2" in _told(people)


def test_it_finds_two_answers_to_one_form(people: People) -> None:
    """P10."""
    people.log.answers.append(people.log.answers[-1]._replace(location="/welcome/y"))
    assert f"{ALICE} was sent to 2 places" in _told(people)


def test_it_finds_who_was_let_in_before_somebody_who_was_there_first(people: People) -> None:
    """P5."""
    joins = people.log.of("join")
    people.log.answers = [joins[1]._replace(who=ALICE), joins[0]._replace(who=BOB)]
    assert f"{ALICE} was let in before {BOB}" in _told(people)


def test_it_finds_a_line_that_lacks_somebody(people: People, redis: Redis) -> None:
    """P13."""
    redis.zpopmin("{waitlist:general}:line")
    assert "the line general lacks" in _told(people)
    assert history.unsettled(people.stand) == ["1 people astray in the line"]
