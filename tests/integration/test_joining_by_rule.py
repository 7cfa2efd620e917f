"""Newcomers join the cohort of the first rule that fits, and nobody can tell which it was."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from tests import people, tables
from tests.conftest import MakeApp
from tests.integration.test_lane import FORM, ask
from tests.people import ALICE, BOB
from tests.visitors import Browser, Operator
from waitlist import lately, switches
from waitlist.extensions import db
from waitlist.models import Audit, CohortRule, Entry, PlaceChange
from waitlist.policy import rules
from waitlist.signup import choosing, joining
from waitlist.signup.joining import Joining
from waitlist.web.lane import Lane

KNOWN = {"code": "VIP2027"}


@pytest.fixture(autouse=True)
def vip(app: Flask, now: datetime) -> None:
    """A cohort for who brings a code, and one for telephones in France."""
    for name, asks in (
        ("vip", {"code": "VIP2027"}),
        ("phones", {"country": "FR", "platform": "ios"}),
    ):
        people.add_cohort(name, now=now)
        add_rule(name, asks, now=now)


def add_rule(
    name: str, asks: dict[str, str], *, now: datetime, turn: int | None = None
) -> CohortRule:
    return choosing.add(name, rules.told(asks), turn=turn, actor="test", now=now)


def joined(client: FlaskClient, fields: dict[str, Any], **more: Any) -> tuple[str, dict[str, str]]:
    """The cohort of Alice, who joins with these fields, and what is kept of them."""
    assert client.post("/join", data={"address": ALICE, **fields}, **more).status_code == 202
    entry = people.find(ALICE)
    return entry.cohort.name, entry.attributes


@pytest.mark.parametrize(
    "fields,cohort,kept",
    [
        ({}, "general", {}),
        (KNOWN, "vip", KNOWN),
        ({"code": " vip2027 "}, "vip", KNOWN),
        ({"code": "VIP2028"}, "general", {"code": "VIP2028"}),
        ({"country": "fr", "platform": "iOS"}, "phones", {"country": "FR", "platform": "ios"}),
        ({"country": "FR", "platform": "web"}, "general", {"country": "FR", "platform": "web"}),
        ({"country": "Narnia", "code": "x" * 61, "platform": "\0"}, "general", {}),
    ],
)
def test_a_newcomer_joins_the_cohort_of_the_first_rule_that_fits(
    client: Browser, fields: dict[str, str], cohort: str, kept: dict[str, str]
) -> None:
    assert joined(client, fields) == (cohort, kept)


def test_a_newcomer_may_tell_by_json(client: Browser) -> None:
    sent = {"address": ALICE, "country": "FR", "platform": "ios", "code": ["VIP2027"]}
    assert client.post("/join", json=sent).status_code == 202
    assert people.find(ALICE).cohort.name == "phones"


def test_people_who_join_at_once_each_get_their_own_cohort(app: Flask) -> None:
    bodies = [f"address=p{n}@example.org" + "&code=vip2027" * (n % 2) for n in range(20)]
    ask(Lane(app), *(("POST", "/join", FORM, body) for body in bodies))
    found = {entry.address: entry for entry in db.session.scalars(select(Entry))}
    for number in range(20):
        entry = found[f"p{number}@example.org"]
        assert entry.cohort.name == ("vip" if number % 2 else "general")
        assert entry.attributes == (KNOWN if number % 2 else {})


def test_who_joined_by_a_rule_waits_in_that_cohorts_line_and_is_admitted_from_it(
    app: Flask, now: datetime
) -> None:
    people.wait_in_line(BOB, now=now)
    joining.join([Joining(ALICE, "en", told=rules.told(KNOWN))], now=now)
    people.confirm(people.find(ALICE), now=now)
    assert people.place_of(people.find(ALICE), now=now).position == 1
    assert len(tables.line_in_sql()) == 1


def test_joining_again_moves_nobody_and_changes_nothing_that_was_told(
    client: Browser, now: datetime
) -> None:
    before = people.wait_in_line(ALICE, now=now)
    assert joined(client, KNOWN) == ("general", {})
    assert people.find(ALICE).rank == before.rank
    joined(client, {"address": BOB, **KNOWN})
    client.post("/join", data={"address": BOB, "country": "FR", "platform": "ios"})
    assert (people.find(BOB).cohort.name, people.find(BOB).attributes) == ("vip", KNOWN)


def test_a_wrong_code_is_answered_as_a_right_one(client: Browser, app: Flask) -> None:
    """P21: in words, headers, and the work that is done."""
    seen = []
    for address, code in ((ALICE, "VIP2027"), (BOB, "VIP2028"), (ALICE, "VIP2028")):
        app.extensions.pop("lately", None)
        app.extensions.pop("asked", None)
        with tables.counting() as work:
            answer = client.post("/join", data={"address": address, "code": code})
        headers = [pair for pair in answer.headers if pair[0] != "Date"]
        seen.append((answer.status_code, headers, answer.data, work.statements, work.commits))
    assert seen[0] == seen[1] == seen[2]


def test_the_rules_cost_a_group_of_joins_no_statement(app: Flask, now: datetime) -> None:
    counts: list[int] = []
    switches.current()  # which are kept for as long, and read whatever is told
    for told in (rules.NOTHING, rules.told(KNOWN), rules.told(KNOWN)):
        with tables.counting() as work:
            group = [Joining(f"{len(counts)}{n}@example.org", "en", told=told) for n in range(9)]
            assert joining.join(group, now=now) == [None] * 9
        counts.append(work.statements)
    assert counts[1] > counts[0]  # they are read once,
    assert counts[2] == counts[0]  # and kept for a second


def test_the_rule_of_another_process_counts_once_what_was_kept_is_old(
    client: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lately, "KEPT", 0.05)
    assert joined(client, {"code": "NEW"})[0] == "general"
    db.session.execute(
        CohortRule.__table__.update().values(code="NEW", country=None, platform=None)
    )
    db.session.commit()
    time.sleep(0.1)
    client.post("/join", data={"address": BOB, "code": "NEW"})
    assert people.find(BOB).cohort.name == "vip"


def test_of_several_rules_the_one_whose_turn_is_first_counts(
    client: Browser, now: datetime
) -> None:
    add_rule("phones", KNOWN | {"platform": "ios"}, now=now, turn=1)
    assert joined(client, {**KNOWN, "platform": "ios"})[0] == "phones"
    asked = [(rule.turn, rule.cohort.name) for rule in choosing.every()]
    assert asked == [(1, "phones"), (2, "vip"), (3, "phones")]
    assert add_rule("vip", {"platform": "web"}, now=now, turn=99).turn == 4


@pytest.mark.parametrize(
    "header,form,cohort",
    [
        ("FR", {}, "phones"),
        ("fr", {"country": "DE"}, "phones"),
        ("DE", {"country": "FR"}, "general"),
        ("XX", {"country": "FR"}, "phones"),
        ("T1", {}, "general"),
    ],
)
def test_the_country_that_a_trusted_proxy_tells_counts_before_the_forms(
    make_app: MakeApp, app: Flask, header: str, form: dict[str, str], cohort: str
) -> None:
    behind_proxy = make_app(proxy_hops=1, country_header="CF-IPCountry")
    headers = {"CF-IPCountry": header}
    assert joined(Browser(behind_proxy), {**form, "platform": "ios"}, headers=headers)[0] == cohort
    body = "&".join(f"{k}={v}" for k, v in {**form, "platform": "ios", "address": BOB}.items())
    ask(Lane(behind_proxy), ("POST", "/join", FORM | headers, body))
    assert people.find(BOB).cohort.name == cohort


def test_a_country_header_that_nobody_asked_for_counts_for_nothing(client: Browser) -> None:
    headers = {"CF-IPCountry": "FR", "": "FR"}
    assert joined(client, {"platform": "ios"}, headers=headers)[0] == "general"


def test_the_join_page_hands_on_what_its_address_tells(client: Browser) -> None:
    page = client.get('/?code=vip2027&platform=iOS&country=fr&address=x&code2="')
    for name, value in {"code": "VIP2027", "platform": "ios", "country": "FR"}.items():
        assert f'<input type="hidden" name="{name}" value="{value}">' in page.text
    assert "code=VIP2027" in page.text.split("<footer>")[1]  # to the page in French too
    assert "code2" not in page.text
    plain = client.get("/").text
    assert 'name="code"' not in plain
    assert 'href="?lang=fr"' in plain


def test_what_the_address_told_survives_a_typing_error_and_is_escaped(client: Browser) -> None:
    page = client.post("/join", data={"address": "nonsense", "code": '"><script>'})
    assert page.status_code == 422
    assert 'name="code" value="&#34;&gt;&lt;SCRIPT&gt;"' in page.text


def test_rules_are_added_listed_and_removed_and_the_audit_knows(runner: Operator) -> None:
    (added,) = runner.json(
        *("cohort", "rule", "add", "vip", "--country", "de", "--code", "Berlin"),
        *("--turn", "1", "--reason", "fair"),
    )
    asks = {"country": "DE", "platform": None, "code": "BERLIN"}
    assert added == {"id": 3, "turn": 1, "cohort": "vip", **asks}
    assert [rule["id"] for rule in runner.json("cohort", "rule", "list")] == [3, 1, 2]
    assert "BERLIN" in runner.run("cohort", "rule", "list").stdout
    assert runner.json("cohort", "rule", "remove", "3", "--reason", "over") == [added]
    assert [rule["id"] for rule in runner.json("cohort", "rule", "list")] == [1, 2]
    kept = db.session.scalars(select(Audit).order_by(Audit.id.desc()).limit(2)).all()
    assert [(act.action, act.reason, act.subject) for act in kept] == [
        ("cohort.rule-remove", "over", "cohort:2"),
        ("cohort.rule-add", "fair", "cohort:2"),
    ]
    assert (kept[0].before, kept[1].after) == (added, added)
    assert [row["rules"] for row in runner.json("cohort", "list")] == [0, 1, 1]


@pytest.mark.parametrize(
    "words,status,sentence",
    [
        (["add", "vipp", "--country", "FR"], 1, "Did you mean vip?"),
        (["add", "vip"], 1, "--country, --platform or --code"),
        (["add", "vip", "--country", "UK"], 1, "Did you mean GB?"),
        (["add", "vip", "--country", "FR", "--turn", "0"], 1, "--turn"),
        (["add", "phones", "--code", "vip2027"], 1, "rule 1 asks for the same"),
        (["remove", "9"], 1, "no rule 9"),
        (["remove", "x"], 2, "ID"),
        (["add"], 2, "NAME"),
    ],
)
def test_a_wrong_rule_is_refused_with_a_sentence(
    runner: Operator, words: list[str], status: int, sentence: str
) -> None:
    before = tables.everything()
    result = runner.run("cohort", "rule", *words)
    assert (result.exit_code, result.stdout) == (status, "")
    assert sentence in result.stderr
    assert tables.everything() == before


def test_moving_whoever_joined_by_a_rule_is_recorded_as_any_move(
    client: Browser, runner: Operator, now: datetime
) -> None:
    joined(client, KNOWN)
    people.confirm(people.find(ALICE), now=now)
    runner.json("person", "move", ALICE, "--from", "vip", "--to", "general")
    db.session.rollback()
    assert db.session.scalars(select(PlaceChange.reason)).all() == ["moved from vip to general"]
