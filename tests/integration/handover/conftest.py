"""A product on this machine that is told, and people who register."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select

from tests import people, products
from tests.products import Product, Told
from waitlist.config import Settings
from waitlist.extensions import db
from waitlist.handover import delivering, endpoints, staging
from waitlist.handover.endpoints import Who
from waitlist.handover.events import COMPLETED
from waitlist.models import Entry, Webhook, WebhookEndpoint

FOREVER = datetime.max.replace(tzinfo=UTC)
LOOPBACK = ("127.0.0.0/8",)

HandOver = Callable[..., list[Told]]
Register = Callable[..., Entry]
Owe = Callable[[int], None]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Production's, where this machine may be told."""
    return replace(settings, webhook_allow=LOOPBACK)


@pytest.fixture
def who(now: datetime) -> Who:
    """Who sets things up."""
    return Who("test", "", now)


@pytest.fixture
def product() -> Iterator[Product]:
    """A product that listens and says 200."""
    with products.listening() as product:
        yield product


@pytest.fixture
def endpoint(app: Flask, product: Product, who: Who) -> WebhookEndpoint:
    """The product's endpoint, detached: its `id`, `url` and `secret`."""
    return add(product.url, who)


@pytest.fixture
def register(app: Flask, clock: time_machine.Traveller, now: datetime) -> Register:
    """Has somebody new register, and gives who that is."""
    numbers = count(1)

    def register(at: datetime = now) -> Entry:
        number = next(numbers)
        entry = people.wait_in_line(f"ada{number}@example.org", now=at)
        people.invite(entry, now=at)
        people.register(entry, f"ada{number}", now=at)
        return people.find(entry.address)

    return register


@pytest.fixture
def owe(register: Register, now: datetime) -> Owe:
    """Owes so many webhooks, as many registrations would that cost a hash each."""

    def owe(how_many: int) -> None:
        entry = register()
        for number in range(1, how_many):
            staging.stage(COMPLETED, entry.id, f"another {number}", entry_id=entry.id, now=now)
        db.session.commit()

    return owe


@pytest.fixture
def hand_over(
    app: Flask, product: Product, clock: time_machine.Traveller, now: datetime
) -> HandOver:
    """Sends what is due, at `now` unless told, and gives what the product heard of it."""

    def send(at: datetime = now) -> list[Told]:
        before = len(product.told)
        clock.move_to(at)
        db.session.rollback()
        delivering.deliver(lambda: at, until=FOREVER)
        db.session.rollback()
        return product.told[before:]

    return send


def add(url: str, who: Who) -> WebhookEndpoint:
    """An endpoint at this address; no lock is kept."""
    endpoint = endpoints.add(url, who=who)
    db.session.expunge(endpoint)
    db.session.rollback()
    return endpoint


def webhooks() -> list[Webhook]:
    """All webhooks as they stand now, oldest first; no lock is kept."""
    db.session.rollback()
    db.session.expire_all()
    found = list(db.session.scalars(select(Webhook).order_by(Webhook.id)))
    db.session.expunge_all()
    db.session.rollback()
    return found


def states() -> list[str]:
    """The state of each, oldest first."""
    return [webhook.state for webhook in webhooks()]


def standing(endpoint: WebhookEndpoint) -> WebhookEndpoint:
    """The endpoint as it stands now; no lock is kept."""
    db.session.rollback()
    found = db.session.get_one(WebhookEndpoint, endpoint.id, populate_existing=True)
    db.session.expunge_all()
    db.session.rollback()
    return found
