"""One live entry an address, and nothing to tell a stranger whether it is known (P2, P21)."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
import time_machine
from flask import Flask, current_app
from redis import Redis
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from tests import people, tables
from tests.conftest import Deliver
from tests.visitors import Browser
from waitlist.extensions import db
from waitlist.models import Entry, Message
from waitlist.wake import asked_key

STATES = (
    "unknown",
    "pending",
    "unconfirmed",
    "waiting",
    "invited",
    "registered",
    "lapsed",
    "withdrawn",
    "removed",
    "suppressed",
)


def _spellings(how_many: int) -> list[str]:
    """One address in so many ways: its case, and white space around it."""
    letters, found = "adalovelace", []
    for number in range(how_many):
        local = "".join(
            letter.upper() if number >> place & 1 else letter
            for place, letter in enumerate(letters)
        )
        found.append(f"{' ' * (number % 3)}{local}@{('boîte', 'BOÎTE')[number % 2]}.example.org ")
    return found


def test_fifty_spellings_of_one_address_at_once_are_one_entry_and_one_mail(
    app: Flask, deliver: Deliver
) -> None:
    """P2."""
    spellings = _spellings(50)
    assert len(set(spellings)) == 50
    answers = people.at_once(app, [partial(_join, app, spelling) for spelling in spellings])
    assert {answer.status_code for answer in answers} == {202}
    assert db.session.scalar(select(func.count()).select_from(Entry)) == 1
    assert db.session.scalar(select(func.count()).select_from(Message)) == 1


def test_plus_tags_and_dots_are_somebody_elses(app: Flask, now: datetime) -> None:
    ids = {
        people.join(address, now=now).id
        for address in ("a.b@example.org", "ab@example.org", "ab+1@example.org")
    }
    assert len(ids) == 3


@pytest.mark.parametrize("json", [False, True], ids=["form", "json"])
def test_the_answer_and_the_work_are_the_same_whatever_is_known(
    app: Flask,
    client: Browser,
    redis: Redis,
    now: datetime,
    deliver: Deliver,
    clock: time_machine.Traveller,
    json: bool,
) -> None:
    """P21."""
    people.in_every_state(now=now, deliver=deliver)
    client.post("/join", data={"address": "first@example.net"})  # RQ learns its queue's name
    seen = {
        state: _what_a_stranger_sees(client, redis, f"{state}@example.org", json=json)
        for state in STATES
    }
    assert {state: seen[state] for state in STATES} == dict.fromkeys(STATES, seen["unknown"])
    assert seen["unknown"]["status"] == 202
    assert seen["unknown"]["commits"] == 1


def test_a_join_changes_no_public_figure(
    app: Flask, client: Browser, now: datetime, deliver: Deliver, clock: time_machine.Traveller
) -> None:
    """P21."""
    people.in_every_state(now=now, deliver=deliver)
    before = client.get("/line").data, client.get("/").data
    for state in STATES:
        client.post("/join", data={"address": f"{state}@example.org"})
        assert (client.get("/line").data, client.get("/").data) == before


def test_within_the_limits_of_mail_the_work_is_the_same(
    app: Flask,
    client: Browser,
    redis: Redis,
    now: datetime,
    deliver: Deliver,
    clock: time_machine.Traveller,
) -> None:
    """P21: a join that may mail nothing looks like one that does."""
    people.in_every_state(now=now, deliver=deliver)
    client.post("/join", data={"address": "first@example.net"})
    for state in STATES:
        address = f"{state}@example.org"
        first = _what_a_stranger_sees(client, redis, address)
        clock.shift(timedelta(seconds=10))
        assert _what_a_stranger_sees(client, redis, address) == first, state


def _join(app: Flask, address: str) -> TestResponse:
    return Browser(app).post("/join", data={"address": address})


def _what_a_stranger_sees(
    client: Browser, redis: Redis, address: str, *, json: bool = False
) -> dict[str, Any]:
    redis.delete(asked_key("mail"), "rq:queue:mail")  # as if the worker had answered,
    for kept in ("asked", "lately"):  # and as if this process had read nothing for a second
        current_app.extensions.pop(kept, None)
    redis.config_resetstat()
    with tables.counting() as work:
        sent: Any = {"json" if json else "data": {"address": address}}
        answer = client.post("/join", **sent)
    stats: Any = redis.info("commandstats")
    return {
        "status": answer.status_code,
        "headers": [pair for pair in answer.headers if pair[0] != "Date"],
        "body": answer.data,
        "statements": work.statements,
        "commits": work.commits,
        "redis": {name: value["calls"] for name, value in stats.items() if "config" not in name},
    }
