"""`POST /hooks/mail/postmark`: Postmark tells what became of a mail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests import people
from tests.conftest import Deliver, MakeApp
from tests.people import ALICE
from tests.reports import (
    POSTMARK,
    basic,
    kept,
    postmark,
    state_of,
    untouched,
)
from waitlist.models import Entry, Message

Post = Callable[..., TestResponse]


@pytest.mark.parametrize(
    "record, more, state",
    [
        ("Delivery", {"DeliveredAt": "2027-03-01T12:00:05Z"}, "delivered"),
        ("Bounce", {"ID": 7, "Type": "HardBounce", "TypeCode": 1, "Inactive": True}, "bounced"),
        ("Bounce", {"ID": 7, "Type": "BadEmailAddress"}, "bounced"),
        ("Bounce", {"ID": 7, "Type": "Blocked", "Inactive": True}, "bounced"),
        ("Bounce", {"ID": 7, "Type": "SpamComplaint", "Inactive": True}, "complained"),
        ("Bounce", {"ID": 7, "Type": "Unsubscribe"}, "complained"),
        ("Bounce", {"ID": 7, "Type": "Transient", "Inactive": False}, "sent"),
        ("Bounce", {"ID": 7, "Type": "SoftBounce"}, "sent"),
        ("Bounce", {"ID": 7, "Type": "AutoResponder"}, "sent"),
        ("SpamComplaint", {"ID": 7, "Type": "SpamComplaint"}, "complained"),
        (
            "SubscriptionChange",
            {"SuppressSending": True, "SuppressionReason": "HardBounce", "Origin": "Recipient"},
            "bounced",
        ),
        (
            "SubscriptionChange",
            {"SuppressSending": True, "SuppressionReason": "ManualSuppression"},
            "complained",
        ),
        ("SubscriptionChange", {"SuppressSending": False, "SuppressionReason": None}, "sent"),
        ("Open", {"FirstOpen": True}, "sent"),
    ],
)
def test_postmark_tells_what_became_of_a_mail(
    post: Post, alice: Entry, message: Message, record: str, more: Any, state: str
) -> None:
    answer = post("postmark", postmark(record, message, ALICE, **more), basic())
    assert answer.status_code == 200
    assert state_of(alice) == state
    assert post("postmark", postmark(record, message, ALICE, **more), basic()).status_code == 200
    assert len(kept()) <= 1
    assert ALICE not in str(kept())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("postmark:wrong"),
        basic(POSTMARK + "x"),
        basic(":"),
        {"Authorization": "Bearer x"},
        {"Authorization": "Basic *"},
        {"Authorization": "Basic é"},
    ],
)
def test_whoever_doesnt_know_the_password_isnt_postmark(
    post: Post, message: Message, headers: dict[str, str]
) -> None:
    """401, at which Postmark tries again; at 403 it would give up."""
    answer = post("postmark", postmark("Bounce", message, ALICE, Type="HardBounce"), headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].lower().startswith("basic")
    assert answer.content_type == "application/problem+json"
    assert untouched()


def test_postmark_without_our_name_for_the_mail_tells_of_an_address_only(
    post: Post, alice: Entry, message: Message
) -> None:
    said = postmark("SubscriptionChange", message, ALICE, SuppressSending=True)
    said |= {"Metadata": {}, "MessageID": None, "SuppressionReason": "ManualSuppression"}
    assert post("postmark", said, basic()).json == {"outcomes": ["taken"]}
    assert state_of(alice) == "sent"
    assert people.find(ALICE).suppressed_at is not None


@pytest.mark.parametrize(
    "said", ["", "[]", "{", {"RecordType": 7}, {"RecordType": "Bounce", "Type": [], "ID": {}}, "7"]
)
def test_what_postmark_may_say_one_day_is_taken(post: Post, alice: Entry, said: Any) -> None:
    assert post("postmark", said, basic()).status_code == 200
    assert people.find(ALICE).suppressed_at is None


def test_mails_name_themselves_to_postmark_and_to_nobody_else(
    app: Flask, make_app: MakeApp, now: datetime, deliver: Deliver
) -> None:
    people.join(ALICE, now=now)
    [mail] = deliver(now)
    assert mail["X-PM-Metadata-message"] == mail["Message-ID"].strip("<>").partition("@")[0]
    with make_app().app_context():
        people.join("bob@example.org", now=now)
        [mail] = deliver(now)
    assert "X-PM-Metadata-message" not in mail
