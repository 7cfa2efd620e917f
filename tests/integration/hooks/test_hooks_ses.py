"""`POST /hooks/mail/ses`: Amazon SES tells by SNS what became of a mail."""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests import people, reports
from tests.people import ALICE
from tests.reports import (
    BOUNCED_FOR_GOOD,
    TOPIC,
    Sns,
    kept,
    ses,
    state_of,
    untouched,
)
from waitlist.admission import gate
from waitlist.errors import ReportUnproven
from waitlist.models import Entry, Message
from waitlist.reports import sns as sns_messages
from waitlist.reports.sns import Certificates

Post = Callable[..., TestResponse]


@pytest.mark.parametrize("version", ["1", "2"])
def test_ses_tells_of_a_bounce_by_sns(
    sns: Sns, post: Post, alice: Entry, message: Message, version: str
) -> None:
    """Both versions of the signature; SNS sends JSON as text/plain."""
    sns.version = version
    answer = post("ses", sns.notification(ses("Bounce", message, ALICE, **BOUNCED_FOR_GOOD)))
    assert (answer.status_code, answer.json) == (200, {"outcomes": ["taken"]})
    assert state_of(alice) == "bounced"
    assert people.find(ALICE).suppressed_at is not None
    assert kept() == [("ses", "bounced", "Permanent General 5.1.1")]
    assert gate.verify() == {}


def test_ses_tells_of_deliveries_and_complaints(
    sns: Sns, post: Post, alice: Entry, message: Message
) -> None:
    post("ses", sns.notification(ses("Delivery", message, ALICE)))
    assert state_of(alice) == "delivered"
    complaint = ses("Complaint", message, ALICE, complaintFeedbackType="abuse")
    post("ses", sns.notification(complaint, Subject="Amazon SES Email Event Notification"))
    assert state_of(alice) == "complained"
    assert people.invitation_of(alice).state == "open"


@pytest.mark.parametrize(
    "what, about",
    [
        ("Bounce", {"bounceType": "Transient", "bounceSubType": "MailboxFull"}),
        ("Bounce", {"bounceType": "Undetermined"}),
        ("Complaint", {"complaintFeedbackType": "not-spam"}),
        ("DeliveryDelay", {"delayType": "MailboxFull"}),
    ],
)
def test_what_isnt_for_good_is_only_noted(
    sns: Sns, post: Post, alice: Entry, message: Message, what: str, about: Any
) -> None:
    post("ses", sns.notification(ses(what, message, ALICE, **about)))
    assert state_of(alice) == "sent"
    assert [kind for _, kind, _ in kept()] == ["deferred"]


def test_an_event_of_a_configuration_set_is_as_good_as_a_notification(
    sns: Sns, post: Post, alice: Entry, message: Message
) -> None:
    said = ses("Bounce", message, ALICE, **BOUNCED_FOR_GOOD)
    said["eventType"] = said.pop("notificationType")
    post("ses", sns.notification(said))
    assert state_of(alice) == "bounced"


def test_sns_may_send_the_same_twice(sns: Sns, post: Post, alice: Entry, message: Message) -> None:
    notification = sns.notification(ses("Bounce", message, ALICE, **BOUNCED_FOR_GOOD))
    assert post("ses", notification).json == {"outcomes": ["taken"]}
    answer = post("ses", notification)
    assert (answer.status_code, answer.json) == (200, {"outcomes": ["known already"]})
    assert len(kept()) == 1


@pytest.mark.parametrize("field", ["Message", "MessageId", "Timestamp", "TopicArn", "Type"])
def test_whatever_is_changed_after_signing_isnt_believed(
    sns: Sns, post: Post, message: Message, field: str
) -> None:
    notification = sns.notification(ses("Bounce", message, ALICE, **BOUNCED_FOR_GOOD))
    notification[field] += " "
    answer = post("ses", notification)
    assert answer.status_code == 403
    assert answer.content_type == "application/problem+json"
    assert answer.json is not None
    assert answer.json["type"] == "urn:waitlist:report-unsigned"
    assert untouched()


@pytest.mark.parametrize(
    "changes",
    [
        {"Signature": ""},
        {"Signature": "*"},
        {"Signature": "é"},
        {"SignatureVersion": "3"},
        {"SignatureVersion": "2"},
        {"SigningCertURL": ""},
        {"SigningCertURL": "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem"},
        {"SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0.pem"},
        {"SigningCertURL": "https://evil.example/SimpleNotificationService-0.pem"},
        {"SigningCertURL": "https://sns.eu-west-1.amazonaws.com.evil.example/"},
        {
            "SigningCertURL": "https://me@sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem"
        },
        {"SigningCertURL": "https://sns.eu-west-1.amazonaws.com:8/SimpleNotificationService-0.pem"},
        {
            "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/?x=/SimpleNotificationService-0.pem"
        },
        {"SigningCertURL": "https://["},
    ],
)
def test_a_signature_that_isnt_amazons_isnt_believed(
    sns: Sns, post: Post, message: Message, changes: dict[str, str]
) -> None:
    notification = sns.notification(ses("Bounce", message, ALICE, **BOUNCED_FOR_GOOD))
    assert post("ses", notification | changes).status_code == 403
    assert untouched()


def test_another_topic_isnt_listened_to_though_amazon_signed_it(
    sns: Sns, post: Post, message: Message
) -> None:
    other = Sns(key=sns.key, topic=TOPIC + "2")
    answer = post("ses", other.notification(ses("Bounce", message, ALICE, **BOUNCED_FOR_GOOD)))
    assert answer.status_code == 403
    assert untouched()


def test_another_key_isnt_amazons(sns: Sns, post: Post, message: Message) -> None:
    notification = Sns().notification(ses("Bounce", message, ALICE, **BOUNCED_FOR_GOOD))
    assert post("ses", notification).status_code == 403
    assert untouched()


@pytest.mark.parametrize("body", ["", "null", "[]", "{", "[" * 60_000, "{}", '{"Type": 1}'])
def test_what_isnt_of_sns_at_all_is_refused(sns: Sns, post: Post, body: str) -> None:
    assert post("ses", body).status_code == 403


@pytest.mark.parametrize(
    "message",
    [
        "Successfully validated SNS topic for Amazon SES event publishing.",
        "[]",
        "{",
        {"notificationType": "Received"},
        {"notificationType": "Bounce"},
        {"notificationType": "Bounce", "bounce": [], "mail": 7},
        {"notificationType": "Delivery", "delivery": {"recipients": [1, None]}},
        {"eventType": "Open", "open": {}},
        {"notificationType": "Bounce", "bounce": {"bouncedRecipients": [{"emailAddress": None}]}},
    ],
)
def test_what_is_signed_and_not_understood_is_taken_all_the_same(
    sns: Sns, alice: Entry, post: Post, message: Any
) -> None:
    """Refused it would be sent again and again."""
    assert post("ses", sns.notification(message)).status_code == 200
    assert untouched()


def test_without_the_certificate_amazon_is_asked_to_send_it_again(
    app: Flask, sns: Sns, post: Post, message: Message
) -> None:
    def away(_url: str) -> bytes:
        raise ReportUnproven("away")

    app.extensions["sns_certificates"] = Certificates(away)
    notification = sns.notification(ses("Bounce", message, ALICE, **BOUNCED_FOR_GOOD))
    answer = post("ses", notification)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert untouched()


def test_a_certificate_is_fetched_once_from_amazons_own_host(
    app: Flask, sns: Sns, post: Post, message: Message
) -> None:
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return sns.certificate

    app.extensions["sns_certificates"] = Certificates(fetch)
    for what in ("Delivery", "Complaint"):
        assert post("ses", sns.notification(ses(what, message, ALICE))).status_code == 200
    assert asked == [sns.certificate_url]


def test_a_certificate_that_is_none_is_not_kept(app: Flask) -> None:
    found = iter([b"<html>", Sns().certificate])
    certificates = Certificates(lambda _url: next(found))
    with pytest.raises(ReportUnproven):
        certificates.key("https://x")
    assert certificates.key("https://x") is certificates.key("https://x")


def test_while_one_certificate_is_fetched_no_other_request_waits_for_one(app: Flask) -> None:
    def fetch(url: str) -> bytes:
        certificates.key(url)
        raise AssertionError(url)

    certificates = Certificates(fetch)
    with pytest.raises(ReportUnproven, match="another"):
        certificates.key("https://x")


def test_a_topic_that_we_listen_to_is_confirmed_where_amazon_is_not_where_it_says(
    app: Flask, sns: Sns, post: Post
) -> None:
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return sns.certificate

    app.extensions["sns_certificates"] = Certificates(fetch)
    question = sns.confirmation(SubscribeURL="https://evil.example/?Token=t0ken")
    assert post("ses", question).json == {"outcomes": []}
    assert asked[0] == sns.certificate_url
    assert asked[1].startswith(f"{reports.SNS}/?Action=ConfirmSubscription&TopicArn=arn%3Aaws%3A")
    assert asked[1].endswith("%3Amail&Token=t0ken")
    assert len(asked) == 2


@pytest.mark.parametrize("topic", [TOPIC, TOPIC + "2"])
def test_a_question_that_isnt_signed_or_of_another_topic_isnt_answered(
    app: Flask, sns: Sns, post: Post, topic: str
) -> None:
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return sns.certificate

    app.extensions["sns_certificates"] = Certificates(fetch)
    forged = {"Token": "another"} if topic == TOPIC else {}
    assert post("ses", Sns(key=sns.key, topic=topic).confirmation() | forged).status_code == 403
    assert not any("ConfirmSubscription" in url for url in asked)


def test_a_question_that_amazon_cant_be_answered_now_is_asked_again(
    app: Flask, sns: Sns, post: Post
) -> None:
    def fetch(url: str) -> bytes:
        if "Action" in url:
            raise ReportUnproven("away")
        return sns.certificate

    app.extensions["sns_certificates"] = Certificates(fetch)
    assert post("ses", sns.confirmation()).status_code == 503


class _Elsewhere(BaseHTTPRequestHandler):
    """A web server that answers as its path says."""

    def do_GET(self) -> None:
        status = int(self.path.strip("/"))
        self.send_response(status)
        self.send_header("Location", "/200")
        self.end_headers()
        self.wfile.write(b"found" if status == 200 else b"x" * 99_999)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def test_nothing_is_fetched_from_a_private_address(monkeypatch: pytest.MonkeyPatch) -> None:
    server = HTTPServer(("127.0.0.1", 0), _Elsewhere)
    Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_port}"
    try:
        with pytest.raises(ReportUnproven, match="private"):
            sns_messages.fetch(f"{here}/200")
        monkeypatch.setattr(sns_messages, "_refuse_private", lambda _host: None)
        assert sns_messages.fetch(f"{here}/200") == b"found"
        with pytest.raises(ReportUnproven, match="302"):  # and no redirect is followed
            sns_messages.fetch(f"{here}/302")
        with pytest.raises(ReportUnproven, match="404"):
            sns_messages.fetch(f"{here}/404")
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(ReportUnproven):
        sns_messages.fetch(f"{here}/200")
