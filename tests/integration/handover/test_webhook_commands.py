"""`flask webhook`, and what a page and the metrics say of the hand-over."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select, update
from standardwebhooks.webhooks import WebhookVerificationError

from tests.integration.handover.conftest import (
    HandOver,
    Owe,
    Register,
    add,
    standing,
    states,
    webhooks,
)
from tests.products import Answered, Product
from tests.visitors import Browser, Operator
from waitlist import links
from waitlist.extensions import db
from waitlist.handover import endpoints, replaying
from waitlist.handover.endpoints import Who
from waitlist.models import Audit, Entry, Registration, Webhook, WebhookAttempt, WebhookEndpoint

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)

pytestmark = pytest.mark.usefixtures("clock")


def _audit() -> list[tuple[str, str, dict[str, Any], str]]:
    db.session.rollback()
    found = db.session.scalars(select(Audit).where(Audit.action.like("webhook.%")))
    acts = [(act.action, act.subject, act.after, act.reason) for act in found]
    db.session.rollback()
    return acts


def _welcome(entry: Entry) -> str:
    db.session.rollback()
    which = select(Registration).where(Registration.entry_id == entry.id)
    found = db.session.scalars(which).one()
    token = links.welcome_token(found.id, found.nonce)
    db.session.rollback()
    return token


def test_an_endpoint_is_added_and_its_secret_told_only_then(
    runner: Operator, product: Product, register: Register, hand_over: HandOver
) -> None:
    added = runner.json("webhook", "add", product.url, "--reason", "launch")
    assert added["events"] == ["registration.completed", "registration.disputed"]
    secret = added["secret"]
    register()
    [told] = hand_over()
    told.verified(secret)
    for words in (("list",), ("show", "1"), ("log",), ("test", "1")):
        assert "whsec_" not in runner.run("webhook", *words).stdout
        assert secret not in str(runner.json("webhook", *words))
    [(action, subject, after, reason)] = _audit()
    assert (action, subject, reason) == ("webhook.add", "webhook_endpoint:1", "launch")
    assert after["events"] == ["registration.completed", "registration.disputed"]
    assert secret not in str(after)
    assert "/hooks" not in str(after), "a path may be a secret too"


def test_adding_says_the_secret_once_and_how_to_go_on(runner: Operator, product: Product) -> None:
    said = runner.run("webhook", "add", product.url).stdout
    assert said.count("whsec_") == 1
    assert "flask webhook test 1" in said


def test_what_cant_be_done_is_refused_with_a_sentence(runner: Operator, product: Product) -> None:
    runner.json("webhook", "add", product.url)
    for words, why in (
        (("add", "https://10.0.0.1/"), "isn't public"),
        (("add", product.url, "--event", "entry.levitated"), "registration.completed"),
        (("show", "9"), "flask webhook list"),
        (("rotate", "9"), "flask webhook list"),
        (("rotate", "1", "--overlap", "soon"), "a while is"),
        (("log", "9"), "flask webhook list"),
        (("log", "msg_9"), "flask webhook log"),
        (("replay", "msg_9"), "flask webhook log"),
        (("replay", "--endpoint", "9", "--since", "2027-01-01"), "flask webhook list"),
        (("replay", "--endpoint", "1", "--since", "yesterday"), "2027-02-21T15:00"),
    ):
        result = runner.run("webhook", *words)
        assert result.exit_code == 1, words
        assert why in result.stderr, words
        assert result.stdout == ""
    for usage in ("", "--since 2027-01-01", "--state sent", "msg_1 --state attention"):
        assert runner.run("webhook", "replay", *usage.split()).exit_code == 2, usage


def test_a_test_is_signed_and_says_what_the_product_answers(
    runner: Operator, endpoint: WebhookEndpoint, product: Product
) -> None:
    product.answers = [Answered(204), Answered(500)]
    good, bad = (runner.run("webhook", "test", str(endpoint.id)) for _ in range(2))
    assert good.exit_code == 0
    assert "answered 204" in good.stdout
    assert bad.exit_code == 1
    assert "answered 500" in bad.stderr
    first, second = product.told
    assert first.verified(endpoint.secret)["type"] == "webhook.test"
    assert first.webhook_id != second.webhook_id
    assert webhooks() == []


def test_after_a_rotation_both_secrets_verify_until_the_overlap_is_over(
    runner: Operator,
    endpoint: WebhookEndpoint,
    register: Register,
    hand_over: HandOver,
    now: datetime,
) -> None:
    former, newer = endpoint.secret, _rotate(runner, "--overlap", "24h")
    assert former != newer
    register()
    [during] = hand_over(now + 23 * HOUR)
    assert during.headers["webhook-signature"].count("v1,") == 2
    assert during.verified(newer) == during.verified(former)
    register(now + DAY)
    [after] = hand_over(now + DAY)
    assert after.verified(newer)
    with pytest.raises(WebhookVerificationError):
        after.verified(former)
    assert [action for action, *_ in _audit()] == ["webhook.add", "webhook.rotate"]
    assert newer not in str(_audit())


def test_a_second_rotation_within_the_overlap_is_refused_unless_all_former_ones_end(
    runner: Operator, endpoint: WebhookEndpoint, product: Product, register: Register
) -> None:
    """Else it would end the one that the product still verifies by."""
    second = _rotate(runner)
    refused = runner.run("webhook", "rotate", "1")
    assert refused.exit_code == 1
    assert "--overlap 0" in refused.stderr
    third = _rotate(runner, "--overlap", "0")
    runner.run("webhook", "test", "1")
    [told] = product.told
    assert told.verified(third)
    for former in (endpoint.secret, second):
        with pytest.raises(WebhookVerificationError):
            told.verified(former)


def test_disabling_keeps_what_is_owed_and_enabling_says_how_to_send_it(
    runner: Operator, endpoint: WebhookEndpoint, owe: Owe, hand_over: HandOver
) -> None:
    owe(3)
    runner.run("webhook", "disable", "1", "--reason", "moving house")
    assert states() == ["attention"] * 3
    assert runner.json("webhook", "list")[0]["why"] == "disabled by an operator: moving house"
    refused = runner.run("webhook", "replay", "--endpoint", "1", "--state", "attention")
    assert refused.exit_code == 1
    assert "flask webhook enable 1 first" in refused.stderr
    said = runner.run("webhook", "enable", "1").stdout
    assert "3 webhooks wait" in said
    assert "flask webhook replay --endpoint 1 --state attention" in said
    assert hand_over() == []
    assert runner.json("webhook", "replay", "--endpoint", "1", "--state", "attention") == {
        "replayed": 3
    }
    assert len(hand_over()) == 3


def test_a_replay_goes_under_the_id_that_it_had(
    runner: Operator,
    endpoint: WebhookEndpoint,
    register: Register,
    hand_over: HandOver,
    now: datetime,
) -> None:
    register()
    [first] = hand_over()
    assert runner.json("webhook", "replay", first.webhook_id)["replayed"] == 1
    [again] = hand_over(now + SECOND)
    assert (again.webhook_id, again.body) == (first.webhook_id, first.body)
    [told] = runner.json("webhook", "log", first.webhook_id)
    assert [tried["words"] for tried in told["tries"]] == ["answered 200"] * 2


def test_registrations_of_before_the_endpoint_are_told_by_a_replay(
    app: Flask,
    runner: Operator,
    product: Product,
    who: Who,
    register: Register,
    hand_over: HandOver,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replaying, "BATCH", 2)
    register(now - 2 * DAY)
    before = [register(), register()]
    endpoint = add(product.url, who)
    after = register()
    [told] = hand_over()
    since = (now - DAY).isoformat()
    words = ("webhook", "replay", "--endpoint", str(endpoint.id), "--since", since)
    assert runner.json(*words)["replayed"] == 3
    replayed = hand_over()
    entries = {one.verified(endpoint.secret)["data"]["entry_id"] for one in replayed}
    assert entries == {str(entry.id) for entry in (*before, after)}
    assert told.webhook_id in {one.webhook_id for one in replayed}
    assert runner.json(*words)["replayed"] == 3
    assert len(webhooks()) == 3


def test_what_is_under_way_isnt_replayed(
    runner: Operator, endpoint: WebhookEndpoint, register: Register
) -> None:
    register()
    db.session.execute(update(Webhook).values(state="sending", lease=7))
    db.session.commit()
    [webhook] = webhooks()
    assert runner.json("webhook", "replay", webhook.webhook_id)["replayed"] == 0
    assert states() == ["sending"]


def test_removing_takes_the_log_along_and_says_what_never_got_there(
    runner: Operator,
    endpoint: WebhookEndpoint,
    product: Product,
    who: Who,
    owe: Owe,
    hand_over: HandOver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(endpoints, "BATCH", 2)
    owe(5)
    hand_over()
    db.session.execute(update(Webhook).where(Webhook.id > 2).values(state="pending"))
    db.session.commit()
    other = add(product.url, who)
    owe(1)
    assert runner.json("webhook", "remove", "1") == {"removed": 1, "undelivered": 4}
    assert [one.endpoint_id for one in webhooks()] == [other.id]
    assert db.session.scalars(select(WebhookAttempt)).all() == []
    assert [one["id"] for one in runner.json("webhook", "list")] == [other.id]
    assert len(hand_over()) == 1


def test_an_endpoint_that_is_being_removed_is_told_nothing_and_can_be_removed_again(
    runner: Operator, endpoint: WebhookEndpoint, register: Register, hand_over: HandOver
) -> None:
    register()
    db.session.execute(update(WebhookEndpoint).values(state="removing"))
    db.session.commit()
    register()
    assert len(webhooks()) == 1
    assert hand_over() == []
    assert runner.run("webhook", "enable", "1").exit_code == 1
    assert runner.json("webhook", "remove", "1")["undelivered"] == 1


def test_the_log_is_of_an_endpoint_or_a_state_newest_first(
    runner: Operator, endpoint: WebhookEndpoint, product: Product, who: Who, owe: Owe
) -> None:
    other = add(product.url, who)
    owe(2)
    everything = runner.json("webhook", "log")
    assert len(everything) == 4
    of_other = runner.json("webhook", "log", str(other.id))
    assert {one["endpoint"] for one in of_other} == {other.id}
    assert runner.json("webhook", "log", "--most", "1") == everything[:1]
    assert runner.json("webhook", "log", "--state", "attention") == []
    assert len(runner.json("webhook", "log", "--state", "pending")) == 4
    shown = runner.json("webhook", "show", str(other.id))
    assert shown["webhooks"]["pending"] == 2


def test_the_story_of_a_person_tells_of_the_hand_over(
    runner: Operator, endpoint: WebhookEndpoint, register: Register, hand_over: HandOver
) -> None:
    register()
    hand_over()
    story = runner.json("person", "show", "ada1@example.org")["timeline"]
    assert any("endpoint 1" in one["what"] and "delivered" in one["what"] for one in story)


def test_the_welcome_page_and_its_state_tell_how_far_the_hand_over_is(
    client: Browser,
    endpoint: WebhookEndpoint,
    product: Product,
    register: Register,
    hand_over: HandOver,
    now: datetime,
) -> None:
    product.answers = [Answered(410)]
    path = f"/welcome/{_welcome(register())}"
    assert client.get(f"{path}/state").json == {"state": "pending"}
    assert "still being prepared" in client.get(path).text
    assert "encore en préparation" in client.get(f"{path}?lang=fr").text
    hand_over()
    assert client.get(f"{path}/state").json == {"state": "needs-attention"}
    assert "still being prepared" in client.get(path).text
    endpoints.enable(endpoint.id, who=Who("test", "", now))
    replaying.that_need_attention(endpoint_id=None, who=Who("test", "", now))
    hand_over()
    assert client.get(f"{path}/state").json == {"state": "delivered"}
    assert "still being prepared" not in client.get(path).text
    assert client.get(f"{path}x/state").status_code == 404


def test_the_metrics_tell_what_is_owed_and_for_how_long(
    client: Browser,
    endpoint: WebhookEndpoint,
    product: Product,
    owe: Owe,
    hand_over: HandOver,
    now: datetime,
    clock: time_machine.Traveller,
) -> None:
    product.answer = Answered(503)
    owe(2)
    clock.move_to(now + HOUR)
    assert _figures(client) == {
        "webhooks_pending": 2,
        "webhooks_attention": 0,
        "webhooks_oldest_pending_seconds": 3600,
        "webhook_endpoints_away": 0,
    }
    hand_over(now + HOUR)
    assert _figures(client)["webhook_endpoints_away"] == 1
    db.session.execute(update(Webhook).values(state="attention"))
    db.session.commit()
    figures = _figures(client)
    assert (figures["webhooks_pending"], figures["webhooks_attention"]) == (0, 2)
    assert figures["webhooks_oldest_pending_seconds"] == 0


def test_an_endpoint_that_was_away_is_tried_at_once_when_it_is_enabled(
    runner: Operator,
    endpoint: WebhookEndpoint,
    product: Product,
    register: Register,
    hand_over: HandOver,
) -> None:
    product.answers = [Answered(503, {"Retry-After": "86400"})]
    register()
    hand_over()
    assert standing(endpoint).probe_at is not None
    runner.run("webhook", "enable", "1")
    [webhook] = webhooks()
    assert len(hand_over(webhook.due_at)) == 1


def _rotate(runner: Operator, *words: str) -> str:
    return str(runner.json("webhook", "rotate", "1", *words)["secret"])


def _figures(client: Browser) -> dict[str, float]:
    lines = (line.split() for line in client.get("/metrics").text.splitlines())
    return {
        line[0].removeprefix("waitlist_"): float(line[1])
        for line in lines
        if line[0].startswith("waitlist_webhook")
    }
