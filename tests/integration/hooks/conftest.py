"""The app with every provider set up, and Amazon SNS beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.conftest import MakeApp
from tests.reports import (
    OTHER_SECRET,
    POSTMARK,
    SECRET,
    TOPIC,
    Sns,
    mail_of,
)
from tests.visitors import Browser
from waitlist import projection
from waitlist.models import Entry, Message
from waitlist.reports.sns import Certificates

Post = Callable[..., TestResponse]


@pytest.fixture
def app(make_app: MakeApp) -> Any:
    """The app with every provider set up."""
    app = make_app(
        mail_hook_ses_topic=TOPIC,
        mail_hook_postmark=POSTMARK,
        mail_hook_secrets=(SECRET, OTHER_SECRET),
    )
    with app.app_context():
        projection.require_valid()
        yield app


@pytest.fixture(scope="session")
def amazon() -> Sns:
    """Amazon SNS, with a key of its own."""
    return Sns()


@pytest.fixture
def sns(app: Flask, amazon: Sns) -> Sns:
    """The same, whose certificate can be had."""
    app.extensions["sns_certificates"] = Certificates(lambda _url: amazon.certificate)
    amazon.version = "1"
    return amazon


@pytest.fixture
def post(app: Flask) -> Post:
    """Posts JSON as the provider does."""

    def send(provider: str, said: Any, headers: Any = None, **more: Any) -> TestResponse:
        body = said if isinstance(said, str | bytes) else json.dumps(said)
        kind = {"ses": "text/plain; charset=UTF-8"}.get(provider, "application/json")
        headers = {"Content-Type": kind, **(headers or {})}
        return Browser(app).post(f"/hooks/mail/{provider}", data=body, headers=headers, **more)

    return send


@pytest.fixture
def message(alice: Entry) -> Message:
    """The mail of Alice's invitation."""
    return mail_of(alice, "invitation")
