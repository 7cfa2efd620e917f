"""Who registers is owed to the product, in the same transaction, once and without their words."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial

import pytest
from flask import Flask
from sqlalchemy import delete, select, text
from standardwebhooks.webhooks import WebhookVerificationError

from tests import people, products, tables
from tests.conftest import POSTGRES, Deliver
from tests.integration.handover.conftest import (
    HandOver,
    Register,
    add,
    states,
    webhooks,
)
from tests.people import ALICE, BOB, form
from tests.products import Answered, Product
from waitlist import links
from waitlist.errors import FieldsInvalid
from waitlist.extensions import db
from waitlist.handover import staging
from waitlist.handover.endpoints import Who, disable, find
from waitlist.handover.events import COMPLETED
from waitlist.models import (
    Entry,
    Invitation,
    Message,
    Registration,
    Webhook,
    WebhookAttempt,
    WebhookEndpoint,
)
from waitlist.onboarding import by_hand, completion, disputes

SECOND = timedelta(seconds=1)


def test_the_product_is_told_of_a_registration_signed_by_the_endpoints_secret(
    endpoint: WebhookEndpoint, register: Register, hand_over: HandOver, now: datetime
) -> None:
    entry = register()
    [told] = hand_over(now + SECOND)
    said = told.verified(endpoint.secret)
    registration = db.session.scalars(select(Registration)).one()
    assert said == {
        "type": "registration.completed",
        "timestamp": "2027-03-01T12:00:00Z",
        "data": {
            "id": str(registration.id),
            "entry_id": str(entry.id),
            "handle": "ada1",
            "display_name": "Ada L.",
            "address": "ada1@example.org",
            "locale": "en",
            "cohort": "general",
            "attributes": {},
            "joined_at": "2027-03-01T12:00:00Z",
            "confirmed_at": "2027-03-01T12:00:00Z",
            "terms_at": "2027-03-01T12:00:00Z",
            "registered_at": "2027-03-01T12:00:00Z",
        },
    }
    assert told.headers["content-type"] == "application/json"
    assert told.headers["idempotency-key"] == told.webhook_id
    assert int(told.headers["webhook-timestamp"]) == int((now + SECOND).timestamp())
    assert states() == ["delivered"]
    assert hand_over(now + timedelta(days=9)) == []


def test_a_password_hash_is_sent_only_where_it_is_asked_for(
    app: Flask, product: Product, who: Who, register: Register, hand_over: HandOver
) -> None:
    plain, asking = add(product.url, who), _add_with_hash(product, who)
    register()
    by_secret = {}
    for told in hand_over():
        for endpoint in (plain, asking):
            if _is_signed_by(told, endpoint.secret):
                by_secret[endpoint.id] = told.verified(endpoint.secret)["data"]
    stored = db.session.scalar(select(Registration.password_hash))
    assert "password_hash" not in by_secret[plain.id]
    assert by_secret[asking.id]["password_hash"] == stored


def test_each_attempt_has_the_same_id_and_bytes_and_its_own_time(
    endpoint: WebhookEndpoint,
    product: Product,
    register: Register,
    hand_over: HandOver,
    now: datetime,
) -> None:
    product.answers += [Answered(500)]
    register()
    [first] = hand_over(now)
    [second] = hand_over(now + 6 * SECOND)
    assert (first.webhook_id, first.body) == (second.webhook_id, second.body)
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_32_who_press_at_once_are_one_hand_over(
    app: Flask, endpoint: WebhookEndpoint, hand_over: HandOver, now: datetime, deliver: Deliver
) -> None:
    """P10."""
    entry = people.wait_in_line(ALICE, now=now)
    people.invite(entry, now=now)
    deliver(now)
    token = links.invitation_token(people.invitation_of(entry))
    people.at_once(app, [partial(completion.complete, token, form("ada"), now=now)] * 32)
    assert states() == ["pending"]
    assert len(hand_over()) == 1


@pytest.mark.skipif(not POSTGRES, reason="SQLite has one writer, who is at it")
def test_who_registers_waits_for_nobody_who_holds_the_endpoint(
    app: Flask, endpoint: WebhookEndpoint, register: Register
) -> None:
    """P11: a worker marks, or an operator rotates, while somebody presses the button."""
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with app.app_context():
            find(endpoint.id, lock=True)
            held.set()
            go_on.wait(30)
            db.session.rollback()

    with ThreadPoolExecutor(1) as elsewhere:
        holding = elsewhere.submit(hold)
        held.wait(30)
        register()  # it would give up after `LOCK_WAIT`
        go_on.set()
        holding.result(30)
    assert states() == ["pending"]


def test_a_registration_that_fails_owes_nothing(
    endpoint: WebhookEndpoint, register: Register, now: datetime
) -> None:
    register()
    entry = people.wait_in_line(BOB, now=now)
    people.invite(entry, now=now)
    with pytest.raises(FieldsInvalid):
        people.register(entry, "ada1", now=now)
    assert len(webhooks()) == 1


def test_every_endpoint_is_owed_it_and_one_that_doesnt_subscribe_isnt(
    endpoint: WebhookEndpoint, product: Product, who: Who, register: Register, hand_over: HandOver
) -> None:
    other, deaf = add(product.url, who), add(product.url, who)
    db.session.execute(
        text("DELETE FROM webhook_subscriptions WHERE endpoint_id = :id"), {"id": deaf.id}
    )
    db.session.commit()
    register()
    assert {webhook.endpoint_id for webhook in webhooks()} == {endpoint.id, other.id}
    told = hand_over()
    assert len(told) == 2
    assert told[0].webhook_id == told[1].webhook_id


def test_owing_it_is_one_statement_of_the_last_step_however_many_endpoints(
    app: Flask, product: Product, who: Who, now: datetime, deliver: Deliver
) -> None:
    """And no commit of its own: a registration without its hand-over can't be."""
    alice, bob = (people.wait_in_line(one, now=now) for one in (ALICE, BOB))
    people.invite(alice, bob, now=now)
    deliver(now)
    found = []
    for entry, handle in ((alice, "ada"), (bob, "bob")):
        token = links.invitation_token(people.invitation_of(entry))
        with tables.counting() as work:
            completion.complete(token, form(handle), now=now)
        db.session.rollback()
        found.append((work.statements, work.commits))
        for _ in range(3):
            add(product.url, who)
    assert found[0] == found[1]
    assert found[0][1] == 1
    assert len(webhooks()) == 3


def test_who_owes_it_hears_how_many_are_told_so_that_nobody_is_woken_for_nothing(
    app: Flask, product: Product, who: Who, register: Register, now: datetime
) -> None:
    entry = register()
    owed = []
    for nonce in ("none", "one", "two"):
        owed.append(staging.stage(COMPLETED, 1, nonce, entry_id=entry.id, now=now))
        db.session.commit()
        add(product.url, who)
    assert owed == [0, 1, 2]


def test_a_disabled_endpoint_is_owed_it_too_and_it_waits_for_an_operator(
    endpoint: WebhookEndpoint, who: Who, register: Register, hand_over: HandOver
) -> None:
    disable(endpoint.id, who=who)
    register()
    assert states() == ["attention"]
    assert hand_over() == []


def test_of_an_erased_person_nothing_is_sent_and_nothing_is_left(
    endpoint: WebhookEndpoint,
    product: Product,
    register: Register,
    hand_over: HandOver,
    now: datetime,
) -> None:
    """P19: their webhooks and attempts go with their row."""
    product.answers.append(Answered(500))
    entry = register()
    hand_over()
    _erase(entry)
    assert hand_over(now + 6 * SECOND) == []
    assert webhooks() == []
    assert db.session.scalars(select(WebhookAttempt)).all() == []


def test_a_registration_that_is_gone_before_it_is_told_cancels_its_webhook(
    endpoint: WebhookEndpoint, register: Register, hand_over: HandOver
) -> None:
    """P19: where only the registration is taken away."""
    register()
    db.session.execute(delete(Registration))
    db.session.commit()
    assert hand_over() == []
    assert [(one.state, one.reason) for one in webhooks()] == [("cancelled", "no longer true")]


def test_nothing_of_a_person_is_kept_in_what_is_owed_or_logged(
    endpoint: WebhookEndpoint, product: Product, register: Register, hand_over: HandOver
) -> None:
    """P19: a product may answer with their words, which aren't kept."""
    product.answer = Answered(500, body=b"no user ada1@example.org")
    register()
    hand_over()
    found = tables.everything()
    for table in ("webhooks", "webhook_attempts", "webhook_endpoints"):
        assert found[table]
        assert "ada1" not in repr(found[table])


def test_who_says_that_it_wasnt_they_is_told_to_the_product_each_time(
    endpoint: WebhookEndpoint, register: Register, hand_over: HandOver, now: datetime
) -> None:
    entry = register()
    hand_over()
    _dispute(entry, now + SECOND)
    _dispute(entry, now + 2 * SECOND)
    [told] = hand_over(now + 2 * SECOND)
    said = told.verified(endpoint.secret)
    assert said["type"] == "registration.disputed"
    assert said["timestamp"] == "2027-03-01T12:00:01Z"
    assert said["data"] == {"id": "1", "entry_id": str(entry.id), "handle": "ada1"}
    _undispute(entry, now + 3 * SECOND)
    _dispute(entry, now + 4 * SECOND)
    [again] = hand_over(now + 4 * SECOND)
    assert again.webhook_id != told.webhook_id


def test_a_dispute_that_an_operator_has_decided_is_told_no_more(
    endpoint: WebhookEndpoint, register: Register, hand_over: HandOver, now: datetime
) -> None:
    entry = register()
    hand_over()
    _dispute(entry, now + SECOND)
    _undispute(entry, now + 2 * SECOND)
    assert hand_over(now + 3 * SECOND) == []
    assert states() == ["delivered", "cancelled"]


def test_the_registration_that_takes_a_disputed_ones_place_is_told_under_an_id_of_its_own(
    endpoint: WebhookEndpoint,
    register: Register,
    hand_over: HandOver,
    now: datetime,
    deliver: Deliver,
) -> None:
    entry = register()
    [first] = hand_over()
    _dispute(entry, now)
    by_hand.reissue([entry.id], actor="test", reason="", now=now)
    deliver(now)
    people.register(entry, "ada_herself", now=now)
    [second] = hand_over(now + SECOND)
    data = [one.verified(endpoint.secret)["data"] for one in (first, second)]
    assert data[0]["entry_id"] == data[1]["entry_id"]
    assert data[0]["id"] != data[1]["id"]
    assert first.webhook_id != second.webhook_id


def test_an_event_of_a_newer_release_is_left_to_its_workers(
    endpoint: WebhookEndpoint, register: Register, hand_over: HandOver
) -> None:
    """P23: releases work side by side."""
    register()
    newer = Webhook.__table__.update().values(event="entry.levitated")
    db.session.execute(newer)
    db.session.commit()
    assert hand_over() == []
    assert states() == ["pending"]


def _add_with_hash(product: Product, who: Who) -> WebhookEndpoint:
    """Past the rule that a hash goes by https only, which the test's product doesn't speak."""
    endpoint = add(product.url, who)
    db.session.execute(
        text("UPDATE webhook_endpoints SET with_password_hash = :yes WHERE id = :id"),
        {"yes": True, "id": endpoint.id},
    )
    db.session.commit()
    return endpoint


def _is_signed_by(told: products.Told, secret: str) -> bool:
    try:
        told.verified(secret)
    except WebhookVerificationError:
        return False
    return True


def _dispute(entry: Entry, now: datetime) -> None:
    which = select(Registration).where(Registration.entry_id == entry.id)
    token = links.to_dispute(db.session.scalars(which).one()).rpartition("/")[2]
    db.session.rollback()
    disputes.dispute(token, now=now)


def _undispute(entry: Entry, now: datetime) -> None:
    disputes.undispute(entry.id, actor="test", reason="", now=now)


def _erase(entry: Entry) -> None:
    db.session.rollback()
    for model in (Registration, Message):
        db.session.execute(delete(model).where(model.entry_id == entry.id))
    db.session.execute(delete(Invitation).where(Invitation.entry_id == entry.id))
    db.session.execute(delete(Entry).where(Entry.id == entry.id))
    db.session.commit()
