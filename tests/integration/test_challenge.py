"""The proof of work: asked of everybody while joining is challenged, else of crowded networks."""

from __future__ import annotations

import itertools
import json
import re
from datetime import timedelta
from html import unescape

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from tests import people, tables
from tests.conftest import MakeApp
from tests.people import ALICE, BOB
from tests.visitors import Browser, Operator
from waitlist.extensions import db
from waitlist.models import Entry
from waitlist.policy import proof

JSON = {"Accept": "application/json"}


@pytest.fixture
def challenged(runner: Operator, clock: time_machine.Traveller) -> time_machine.Traveller:
    """Joining asks for a proof; the clock stands still."""
    runner.json("gate", "joining", "challenge", "--reason", "a flood of machines")
    return clock


def join(client: Browser, address: str, **more: str) -> TestResponse:
    return client.post("/join", data={"address": address, **more}, headers=JSON)


def solved(challenge: str, address: str) -> str:
    numbers = map(str, itertools.count())
    return next(number for number in numbers if proof.solves(challenge, address, number))


def entries() -> int:
    return db.session.scalar(select(func.count()).select_from(Entry)) or 0


def test_who_does_the_sum_joins(client: Browser, challenged: object) -> None:
    refused = join(client, ALICE)
    assert refused.status_code == 403
    asked = json.loads(refused.data)
    assert asked["type"] == "urn:waitlist:proof-needed"
    assert asked["bits"] == proof.BITS
    assert entries() == 0
    number = solved(asked["challenge"], ALICE)
    assert join(client, ALICE, challenge=asked["challenge"], number=number).status_code == 202
    assert people.find(ALICE).state == "pending"


def test_a_sum_is_of_one_address_and_lets_nobody_else_in(
    client: Browser, challenged: object
) -> None:
    challenge = json.loads(join(client, ALICE).data)["challenge"]
    number = solved(challenge, ALICE)
    assert join(client, BOB, challenge=challenge, number=number).status_code == 403
    assert entries() == 0


@pytest.mark.parametrize("number", ["", "-1", "x", "１", "9" * 30])
def test_what_is_no_number_solves_nothing(client: Browser, challenged: object, number: str) -> None:
    challenge = json.loads(join(client, ALICE).data)["challenge"]
    assert join(client, ALICE, challenge=challenge, number=number).status_code == 403


def test_a_challenge_of_our_own_making_counts_for_nothing(
    client: Browser, challenged: object
) -> None:
    number = solved("ours", ALICE)
    assert join(client, ALICE, challenge="ours", number=number).status_code == 403


def test_a_challenge_counts_for_an_hour(
    client: Browser, challenged: time_machine.Traveller
) -> None:
    challenge = json.loads(join(client, ALICE).data)["challenge"]
    number = solved(challenge, ALICE)
    challenged.shift(proof.VALID + timedelta(seconds=1))
    assert join(client, ALICE, challenge=challenge, number=number).status_code == 403
    challenged.shift(-timedelta(seconds=1))
    assert join(client, ALICE, challenge=challenge, number=number).status_code == 202


def test_who_waits_joins_without_a_sum(client: Browser, challenged: time_machine.Traveller) -> None:
    told = json.loads(join(client, ALICE).data)
    assert told["wait_seconds"] == 20
    challenged.shift(19)
    again = json.loads(join(client, ALICE, waiting=told["waiting"]).data)
    assert again["wait_seconds"] == 1
    assert again["waiting"] == told["waiting"]
    challenged.shift(1)
    assert join(client, BOB, waiting=told["waiting"]).status_code == 403
    assert join(client, ALICE, waiting=told["waiting"]).status_code == 202


def test_the_page_that_asks_keeps_what_was_typed_and_told(
    client: Browser, challenged: time_machine.Traveller
) -> None:
    """Without a script, too: whoever waits and presses is in line."""
    form = {"address": ALICE, "lang": "fr", "code": "VIP2027", "platform": "ios"}
    page = client.post("/join", data=form)
    assert page.status_code == 403
    assert 'lang="fr"' in page.text
    hidden = dict(re.findall(r'<input [^>]*name="(\w+)" value="([^"]*)"', page.text))
    hidden |= dict(re.findall(r'name="(address)" value="([^"]*)"', page.text))
    sent = {name: unescape(value) for name, value in hidden.items()}
    assert {name: sent[name] for name in form} == {**form}
    challenged.shift(20)
    assert client.post("/join", data=sent).status_code == 202
    assert people.find(ALICE).attributes == {"code": "VIP2027", "platform": "ios"}
    assert people.find(ALICE).locale == "fr"


def test_the_join_page_brings_the_challenge_along(client: Browser, challenged: object) -> None:
    page = client.get("/").text
    [challenge] = re.findall(r'data-challenge="([^"]+)"', page)
    number = solved(challenge, ALICE)
    assert join(client, ALICE, challenge=challenge, number=number).status_code == 202


def test_known_or_not_everybody_is_asked_alike(client: Browser, runner: Operator) -> None:
    """P21."""
    assert join(client, ALICE).status_code == 202
    runner.json("gate", "joining", "challenge")
    before = tables.everything()
    known, unknown = json.loads(join(client, ALICE).data), json.loads(join(client, BOB).data)
    assert known.keys() == unknown.keys()
    assert tables.everything() == before


def test_a_crowded_network_is_asked_and_far_above_refused(
    make_app: MakeApp, clock: time_machine.Traveller, app: Flask
) -> None:
    client = Browser(make_app(joins_a_minute=2))
    addresses = [f"p{number}@example.org" for number in range(2 * proof.FAR_ABOVE + 1)]
    answers = [join(client, address) for address in addresses]
    statuses = [answer.status_code for answer in answers]
    assert statuses == [202, 202, *[403] * (2 * proof.FAR_ABOVE - 2), 429]
    asked = json.loads(answers[2].data)
    clock.shift(60)
    number = solved(asked["challenge"], addresses[2])
    assert [join(client, address).status_code for address in addresses[3:5]] == [202, 202]
    late = join(client, addresses[2], challenge=asked["challenge"], number=number)
    assert late.status_code == 202
