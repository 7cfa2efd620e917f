"""Alice, whom the tests of the last step have in common; and what a mail server is told."""

from __future__ import annotations

import smtplib
from datetime import datetime

import pytest
import time_machine
from flask import Flask

from tests import people
from tests.conftest import Deliver
from tests.people import ALICE
from waitlist import links
from waitlist.models import Entry


@pytest.fixture
def alice(app: Flask, clock: time_machine.Traveller, now: datetime, deliver: Deliver) -> Entry:
    """Alice, whose invitation was mailed; the clock stands at `now`."""
    entry = people.wait_in_line(ALICE, now=now)
    people.invite(entry, now=now)
    deliver(now)
    return people.find(ALICE)


@pytest.fixture
def token(alice: Entry) -> str:
    """The token of Alice's invitation."""
    return links.invitation_token(people.invitation_of(alice))


@pytest.fixture
def end(alice: Entry) -> datetime:
    """When Alice's invitation expires."""
    expires_at = people.invitation_of(alice).expires_at
    assert expires_at is not None
    return expires_at


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is sent to the server, by the call."""
    said: list[str] = []
    send = smtplib.SMTP.send

    def listen(host: smtplib.SMTP, words: bytes | str) -> None:
        said.append(words.decode() if isinstance(words, bytes) else words)
        send(host, words)

    monkeypatch.setattr(smtplib.SMTP, "send", listen)
    return said
