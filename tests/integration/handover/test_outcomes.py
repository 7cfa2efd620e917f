"""How a product answers, and what becomes of the webhook and the endpoint: real HTTP each time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select, update

from tests import people, products
from tests.integration.handover.conftest import (
    FOREVER,
    HandOver,
    Owe,
    Register,
    add,
    standing,
    states,
    webhooks,
)
from tests.products import Answered, Product
from waitlist.extensions import db
from waitlist.handover import delivering, leasing, reaching, showing
from waitlist.handover.endpoints import Who
from waitlist.handover.sending import AT_ONCE, Answer
from waitlist.handover.settling import Tried
from waitlist.models import Entry, Registration, Webhook, WebhookAttempt, WebhookEndpoint
from waitlist.onboarding import invitations
from waitlist.policy import retrying
from waitlist.policy.retrying import Verdict

SECOND, MINUTE, HOUR, DAY = (
    timedelta(seconds=1),
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
)
PROBE = retrying.PROBE_EVERY


def _next(now: datetime) -> datetime:
    """When the only webhook is due."""
    [webhook] = webhooks()
    assert webhook.due_at > now
    return webhook.due_at


def _tries() -> list[tuple[int | None, str]]:
    found = select(WebhookAttempt.status, WebhookAttempt.words).order_by(WebhookAttempt.id)
    tries = [(status, words) for status, words in db.session.execute(found)]
    db.session.rollback()
    return tries


def test_what_is_refused_goes_by_the_schedule_and_then_needs_attention(
    endpoint: WebhookEndpoint,
    product: Product,
    register: Register,
    hand_over: HandOver,
    now: datetime,
) -> None:
    product.answer = Answered(500)
    register()
    at = now
    for wait in retrying.SCHEDULE:
        assert len(hand_over(at)) == 1
        due = _next(at)
        assert 0.9 * wait <= due - at <= 1.1 * wait
        assert hand_over(due - SECOND) == []
        at = due
    assert len(hand_over(at)) == 1
    [webhook] = webhooks()
    assert (webhook.state, webhook.attempts, webhook.reason) == ("attention", 10, "answered 500")
    assert set(product.ids()) == {webhook.webhook_id}
    assert _tries() == [(500, "answered 500")] * 10
    assert hand_over(at + 30 * DAY) == []


def test_a_redirect_isnt_followed(
    endpoint: WebhookEndpoint, product: Product, register: Register, hand_over: HandOver
) -> None:
    with products.listening() as elsewhere:
        product.answers.append(Answered(307, {"Location": elsewhere.url}))
        register()
        hand_over()
        assert elsewhere.told == []
    assert [(one.state, one.reason) for one in webhooks()] == [("pending", "answered 307")]


def test_410_disables_the_endpoint_and_all_it_is_owed_waits_for_an_operator(
    endpoint: WebhookEndpoint,
    product: Product,
    register: Register,
    owe: Owe,
    hand_over: HandOver,
    now: datetime,
) -> None:
    product.answer = Answered(410)
    owe(2 * AT_ONCE)
    assert 1 <= len(hand_over()) <= AT_ONCE
    found = standing(endpoint)
    assert found.state == "disabled"
    assert found.why == "answered 410: the endpoint wants no more"
    assert states() == ["attention"] * 2 * AT_ONCE
    register()
    assert states()[-1] == "attention"
    assert hand_over(now + DAY) == []
    assert not leasing.is_due(now=now + DAY)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_product_that_is_busy_is_probed_by_one_webhook_and_then_has_all(
    endpoint: WebhookEndpoint,
    product: Product,
    owe: Owe,
    hand_over: HandOver,
    now: datetime,
    status: int,
) -> None:
    """P16: the endpoint backs off, not each webhook."""
    product.answer = Answered(status)
    owe(AT_ONCE + 4)
    assert 1 <= len(hand_over()) <= AT_ONCE
    assert hand_over(now + PROBE - SECOND) == []
    probes = [hand_over(now + (1 + nth) * (PROBE + SECOND)) for nth in range(4)]
    assert [len(probe) for probe in probes] == [1, 1, 1, 1]
    assert len({probe[0].webhook_id for probe in probes}) == 4, "a probe is another each time"
    product.answer = Answered(200)
    hand_over(now + 6 * (PROBE + SECOND))
    assert states() == ["delivered"] * (AT_ONCE + 4)
    assert standing(endpoint).away_since is None


def test_retry_after_is_waited_for(
    endpoint: WebhookEndpoint,
    product: Product,
    register: Register,
    hand_over: HandOver,
    now: datetime,
) -> None:
    product.answers = [Answered(503, {"Retry-After": "3600"}), Answered(500, {"Retry-After": "60"})]
    register()
    assert len(hand_over()) == 1
    assert not leasing.is_due(now=now + HOUR - SECOND)
    assert hand_over(now + HOUR - SECOND) == []
    assert len(hand_over(now + HOUR)) == 1
    assert _next(now) == now + HOUR + MINUTE
    assert len(hand_over(now + HOUR + MINUTE)) == 1
    assert states() == ["delivered"]


def test_a_product_that_is_away_for_hours_has_all_a_moment_after_it_is_back(
    app: Flask,
    who: Who,
    owe: Owe,
    hand_over: HandOver,
    now: datetime,
    clock: time_machine.Traveller,
) -> None:
    """P16: without a request of each, and however long it was away."""
    with products.listening() as product:
        host, port = "127.0.0.1", int(product.url.split(":")[2].partition("/")[0])
        endpoint = add(product.url, who)
    owe(20)
    for nth in range(12):
        hand_over(now + nth * HOUR)
    assert states() == ["pending"] * 20
    found = standing(endpoint)
    assert found.away_since == now
    assert found.why == "no connection: ConnectionRefusedError"
    assert len(_tries()) <= AT_ONCE, "not a row for each probe"
    with products.listening(host, port) as product:
        hand_over(now + 12 * HOUR)
        assert len(product.told) == len(set(product.ids())) == 20
    assert states() == ["delivered"] * 20


def test_after_three_days_of_being_away_a_webhook_needs_attention(
    endpoint: WebhookEndpoint,
    product: Product,
    register: Register,
    hand_over: HandOver,
    now: datetime,
) -> None:
    product.answer = Answered(503)
    register()
    hand_over(now)
    hand_over(now + 3 * DAY)
    assert states() == ["pending"]
    hand_over(now + 4 * DAY)
    assert [(one.state, one.reason) for one in webhooks()] == [("attention", "answered 503")]


def test_a_product_that_was_broken_has_all_that_waited_once_it_works(
    endpoint: WebhookEndpoint,
    product: Product,
    register: Register,
    owe: Owe,
    hand_over: HandOver,
    now: datetime,
) -> None:
    """500 to everybody: whoever waits for their third try in half an hour goes with the first."""
    product.answer = Answered(500)
    owe(3)
    for at in (now, now + 6 * SECOND, now + 6 * MINUTE):
        hand_over(at)
    assert {webhook.attempts for webhook in webhooks()} == {3}
    product.answer = Answered(200)
    register()
    hand_over(now + 7 * MINUTE)
    assert states() == ["delivered"] * 4


def test_one_registration_that_the_product_chokes_on_holds_up_nobody(
    endpoint: WebhookEndpoint,
    product: Product,
    register: Register,
    owe: Owe,
    hand_over: HandOver,
    now: datetime,
) -> None:
    product.answers.append(Answered(500))
    register()
    hand_over()
    owe(5)
    assert len(hand_over(now + SECOND)) == 5
    assert states() == ["pending", *["delivered"] * 5]


def test_no_answer_is_waited_for_only_so_long_and_counts_as_away(
    endpoint: WebhookEndpoint,
    product: Product,
    register: Register,
    hand_over: HandOver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reaching, "ANSWER_WITHIN", 0.2)
    never = threading.Event()
    product.answers.append(Answered(wait=never))
    register()
    hand_over()
    never.set()
    assert [(one.state, one.reason) for one in webhooks()] == [
        ("pending", "no answer within 0.2 s")
    ]
    assert standing(endpoint).away_since is not None


def test_a_long_body_isnt_read_and_the_status_counts(
    endpoint: WebhookEndpoint, product: Product, register: Register, hand_over: HandOver
) -> None:
    product.answers.append(Answered(200, {"Content-Length": str(2**40)}, b"x" * 100_000))
    register()
    hand_over()
    assert states() == ["delivered"]


def test_a_slow_product_doesnt_hold_up_another(
    app: Flask,
    endpoint: WebhookEndpoint,
    product: Product,
    who: Who,
    register: Register,
    now: datetime,
) -> None:
    """Those who register while it is waited for are told to the other, too."""
    go_on = threading.Event()
    product.answer = Answered(wait=go_on)
    with products.listening() as quick, ThreadPoolExecutor(1) as elsewhere:
        add(quick.url, who)
        register()
        delivering_ = elsewhere.submit(_deliver, app, lambda: now)
        _wait(lambda: len(quick.told) == 1)
        register()
        _wait(lambda: len(quick.told) == 2)
        go_on.set()
        delivering_.result(30)
        assert states() == ["delivered"] * 4


def test_many_go_at_once_but_no_more_than_eight(
    app: Flask, endpoint: WebhookEndpoint, product: Product, owe: Owe, now: datetime
) -> None:
    go_on = threading.Event()
    product.answer = Answered(wait=go_on)
    owe(AT_ONCE + 3)
    with ThreadPoolExecutor(1) as elsewhere:
        delivering_ = elsewhere.submit(_deliver, app, lambda: now)
        _wait(lambda: len(product.told) == AT_ONCE)
        assert sorted(states()) == ["pending"] * 3 + ["sending"] * AT_ONCE
        go_on.set()
        delivering_.result(30)
    assert states() == ["delivered"] * (AT_ONCE + 3)


def test_who_was_stopped_past_their_lease_marks_nothing(
    endpoint: WebhookEndpoint,
    product: Product,
    register: Register,
    hand_over: HandOver,
    now: datetime,
) -> None:
    """The other worker's word counts; the same id went twice at most."""
    register()
    stopped = leasing.turn(endpoint.id, [], most=8, now=now)
    assert hand_over(now + timedelta(seconds=54)) == []
    product.answer = Answered(500)
    assert len(hand_over(now + timedelta(seconds=56))) == 1
    late = Tried(stopped.leased[0], Answer(Verdict.DELIVERED, 200, "answered 200"), now)
    leasing.turn(endpoint.id, [late], most=0, now=now + MINUTE)
    assert [(one.state, one.attempts) for one in webhooks()] == [("pending", 1)]


def test_two_workers_never_send_the_same(
    app: Flask, endpoint: WebhookEndpoint, product: Product, owe: Owe, now: datetime
) -> None:
    owe(30)
    db.session.rollback()
    with ThreadPoolExecutor(3) as workers:
        list(workers.map(lambda _: _deliver(app, lambda: now), range(3)))
    assert len(product.told) == len(set(product.ids())) == 30
    assert states() == ["delivered"] * 30


def test_only_one_worker_probes(
    endpoint: WebhookEndpoint,
    product: Product,
    owe: Owe,
    hand_over: HandOver,
    now: datetime,
) -> None:
    product.answer = Answered(503)
    owe(4)
    hand_over()
    first = leasing.turn(endpoint.id, [], most=8, now=now + MINUTE)
    second = leasing.turn(endpoint.id, [], most=8, now=now + MINUTE)
    assert (len(first.leased), len(second.leased)) == (1, 0)


def test_of_many_workers_at_once_one_probes(
    app: Flask,
    endpoint: WebhookEndpoint,
    product: Product,
    owe: Owe,
    hand_over: HandOver,
    now: datetime,
) -> None:
    product.answer = Answered(503)
    owe(AT_ONCE)
    hand_over()
    probe = partial(leasing.turn, endpoint.id, [], most=AT_ONCE, now=now + MINUTE)
    turns = people.at_once(app, [probe] * 8)
    assert sum(len(turn.leased) for turn in turns) == 1


def test_the_sweep_finds_what_is_due_left_or_to_be_set_aside_and_nothing_else(
    endpoint: WebhookEndpoint, register: Register, hand_over: HandOver, now: datetime
) -> None:
    """P16: from SQL alone, whatever Redis forgot."""
    assert not leasing.is_due(now=now)
    register()
    assert leasing.is_due(now=now)
    leasing.turn(endpoint.id, [], most=8, now=now)
    assert not leasing.is_due(now=now + 54 * SECOND)
    assert leasing.is_due(now=now + 56 * SECOND)
    hand_over(now + 56 * SECOND)
    assert not leasing.is_due(now=now + HOUR)
    register()
    db.session.execute(update(WebhookEndpoint).values(state="disabled"))
    db.session.commit()
    assert leasing.is_due(now=now + HOUR)
    hand_over(now + HOUR)
    assert states() == ["delivered", "attention"]
    assert not leasing.is_due(now=now + HOUR)


def test_the_state_of_a_registration_is_that_of_its_webhooks_together(
    app: Flask, product: Product, who: Who, register: Register, hand_over: HandOver
) -> None:
    nobody_told = register()
    endpoint = add(product.url, who)
    product.answers = [Answered(500)]
    entry = register()
    assert _state_of(nobody_told) == "none"
    assert _state_of(entry) == "pending"
    hand_over()
    assert _state_of(entry) == "pending"
    db.session.execute(update(Webhook).values(state="attention"))
    db.session.commit()
    assert _state_of(entry) == "needs-attention"
    db.session.execute(update(Webhook).values(state="delivered"))
    db.session.commit()
    assert _state_of(entry) == "delivered"
    assert standing(endpoint).failures == 1


def _state_of(entry: Entry) -> str:
    which = select(Registration.id).where(Registration.entry_id == entry.id)
    state = showing.registration_state(db.session.scalars(which).one(), entry.id)
    db.session.rollback()
    return state


def _deliver(app: Flask, clock: Callable[[], datetime]) -> None:
    with app.app_context():
        delivering.deliver(clock, until=FOREVER)


def _wait(for_what: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(500):
        if for_what():
            return
        waiting.wait(0.02)
    raise AssertionError("it didn't come")


def test_a_clock_that_was_ahead_and_stepped_back_leaves_no_webhook_behind(
    endpoint: WebhookEndpoint, register: Register, hand_over: HandOver, now: datetime
) -> None:
    """P16, P18: what it owed is due at its own moment by the right clock."""
    ahead = now + 2 * HOUR
    invitations.beat(now=ahead)
    register(ahead)
    assert hand_over(now + MINUTE) == []
    invitations.beat(now=now)
    assert len(hand_over(now + MINUTE)) == 1
