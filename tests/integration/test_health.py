"""The product's health: what it says, how that holds the gate and steers the rate."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import insert, select, update

from tests import people
from tests.conftest import Deliver, MakeApp
from tests.visitors import Browser, Operator
from waitlist.admission import bounds, gate, health, noshows, waves
from waitlist.admission.health import Said
from waitlist.admission.rounds import Outcome
from waitlist.errors import FieldsInvalid
from waitlist.extensions import db
from waitlist.models import Audit, Cohort, Entry, Gate, Health, Invitation, Wave
from waitlist.onboarding import invitations
from waitlist.policy.health import BEGIN
from waitlist.web import lane

TOKEN = "a-token-that-the-product-sends-with-its-word"
URL = "/api/v1/signals/health"
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
WELL = Said(healthy=True, load=0.3)


@pytest.fixture
def launch(app: Flask, now: datetime) -> datetime:
    """When the gate opened: at 3,600 an hour, wide, and forty people in the line."""
    people.stand_in_line(40, now=now)
    people.open_gate(1_000, 3_600, now=now)
    waves.tick(now=now)
    return now


@pytest.fixture
def token(make_app: MakeApp) -> Iterator[Browser]:
    """The product, which has its token."""
    app = make_app(health_token=TOKEN)
    with app.app_context():
        yield Browser(app)


def _say(what: Said, at: datetime) -> None:
    health.report(what, source="test", now=at)


def _tick(at: datetime) -> Outcome:
    """What the admission job does."""
    health.watch(now=at)
    return waves.tick(now=at)


def _gate() -> Gate:
    db.session.rollback()
    return db.session.scalars(select(Gate)).one()


def _push(product: Browser, fields: object, sent: str | None = TOKEN) -> Any:
    headers = {} if sent is None else {"Authorization": f"Bearer {sent}"}
    return product.post(URL, json=fields, headers=headers)


def _row() -> Health:
    db.session.rollback()
    return db.session.scalars(select(Health).execution_options(populate_existing=True)).one()


# what the product says


def test_what_the_product_pushes_is_taken_as_its_last_word(token: Browser) -> None:
    answer = _push(token, {"healthy": True, "load": 0.4, "p95_ms": 180})
    assert (answer.status_code, answer.data) == (204, b"")
    _push(token, {"healthy": False})
    row = _row()
    assert (row.healthy, row.load, row.p95_ms, row.source) == (False, None, None, "pushed")


def test_without_the_setting_there_is_no_such_address(client: Browser) -> None:
    assert _push(client, {"healthy": True}).status_code == 404


@pytest.mark.parametrize("sent", [None, "", "another", TOKEN + "x", TOKEN[:-1], "ä"])
def test_who_has_not_the_token_is_refused(token: Browser, sent: str | None) -> None:
    answer = _push(token, {"healthy": True}, sent)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].lower().startswith("bearer")
    assert answer.get_json()["type"] == "urn:waitlist:http-401"
    assert _row().reported_at is None


def test_the_token_wants_its_scheme(token: Browser) -> None:
    answer = token.post(URL, json={"healthy": True}, headers={"Authorization": f"Basic {TOKEN}"})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "fields,wrong",
    [
        ({}, ["healthy"]),
        ({"healthy": "yes"}, ["healthy"]),
        ({"healthy": 1}, ["healthy"]),
        ({"healthy": True, "load": -0.1}, ["load"]),
        ({"healthy": True, "load": "high"}, ["load"]),
        ({"healthy": True, "load": True}, ["load"]),
        ({"healthy": True, "p95_ms": 1e300}, ["p95_ms"]),
        ({"load": [], "p95_ms": {}}, ["healthy", "load", "p95_ms"]),
    ],
)
def test_what_cant_be_is_refused_by_its_name(
    token: Browser, fields: dict[str, Any], wrong: list[str]
) -> None:
    answer = _push(token, fields)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.get_json()["errors"]] == wrong
    assert _row().reported_at is None


@pytest.mark.parametrize("body", ['{"healthy": true, "load": NaN}', "[1]", '{"healthy"', ""])
def test_what_isnt_a_signal_at_all_is_refused(token: Browser, body: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = token.post(URL, data=body, content_type="application/json", headers=headers)
    assert answer.status_code in (400, 422)
    assert _row().reported_at is None


def test_a_load_beyond_all_is_taken_as_it_is() -> None:
    assert health.said({"healthy": True, "load": 3, "p95_ms": 0}) == Said(True, 3, 0)
    with pytest.raises(FieldsInvalid):
        health.said({"healthy": True, "load": float("inf")})


# how it holds


def test_a_product_that_never_said_anything_doesnt_bind(launch: datetime) -> None:
    assert _tick(launch + SECOND).admitted == 1
    shown = gate.show(now=launch + SECOND)
    assert (shown.rate_in_force, shown.health.factor, shown.health.held) == (3_600, 1.0, "")


@pytest.mark.parametrize(
    "what,word",
    [
        (Said(False, load=0.1), "unhealthy"),
        (Said(True, load=1.0), "overload"),
        (Said(True, load=7.0), "overload"),
    ],
)
def test_a_product_that_fails_lets_nobody_in_at_once(
    launch: datetime, what: Said, word: str
) -> None:
    _say(WELL, launch)
    _tick(launch + SECOND)
    _say(what, launch + 2 * SECOND)
    tick = _tick(launch + 12 * SECOND)
    assert (tick.admitted, tick.limit) == (0, "health")
    shown = gate.show(now=launch + 12 * SECOND)
    assert (shown.limit, shown.health.held, shown.rate_in_force) == ("health", word, 0)
    assert shown.health.why == health.WHY[word]


def test_a_signal_that_grew_stale_holds_the_gate_until_the_next(launch: datetime) -> None:
    _say(WELL, launch)
    assert bounds.held(_gate(), now=launch + 60 * SECOND) is None
    late = launch + 61 * SECOND
    assert bounds.held(_gate(), now=late) == "stale"
    assert _tick(late).limit == "health"
    _say(WELL, late)
    assert bounds.held(_gate(), now=late) is None
    assert sum(_tick(late + 5 * SECOND * n).admitted for n in range(1, 4)) > 0


def test_a_signal_of_a_clock_that_was_set_back_since_is_stale_too(launch: datetime) -> None:
    """P18."""
    _say(WELL, launch + 2 * HOUR)
    assert bounds.held(_gate(), now=launch) == "stale"


def test_while_it_holds_nothing_is_saved_up(launch: datetime) -> None:
    _say(Said(False), launch)
    for second in range(1, 30):
        assert waves.tick(now=launch + second * SECOND).admitted == 0
    assert _gate().allowance == 0


@pytest.mark.parametrize("setting", [{"health_token": TOKEN}, {"health_url": "http://x.example"}])
def test_a_product_that_should_speak_and_doesnt_holds_the_gate(
    make_app: MakeApp, now: datetime, setting: dict[str, str]
) -> None:
    with make_app(**setting).app_context():
        assert bounds.held(_gate(), now=now) == "silent"
        assert gate.show(now=now).health.why == health.WHY["silent"]


def test_it_can_be_ignored_until_a_time(launch: datetime) -> None:
    _say(Said(False), launch)
    db.session.execute(update(Gate).values(health_ignored_until=launch + HOUR))
    db.session.commit()
    assert _tick(launch + SECOND).admitted == 1
    shown = gate.show(now=launch + SECOND)
    assert (shown.health.held, shown.health.factor) == ("", 1.0)
    assert shown.health_ignored_until == (launch + HOUR).isoformat()
    assert _tick(launch + HOUR).limit == "health"
    assert gate.show(now=launch + HOUR).health_ignored_until is None


def test_a_wave_by_hand_isnt_bound_and_its_answer_tells(runner: Operator, launch: datetime) -> None:
    real = datetime.now(launch.tzinfo)
    _say(Said(False), real)
    wave = runner.json("wave", "admit", "3")
    assert (wave["admitted"], wave["health"]) == (3, "unhealthy")
    assert "unhealthy" in runner.run("wave", "admit", "3").stdout
    assert "health" not in runner.run("wave", "admit", "1", "--dry-run").stderr


def test_a_paused_gate_is_paused_first(launch: datetime) -> None:
    _say(Said(False), launch)
    gate.change(actor="test", now=launch, paused=True)
    assert _tick(launch + SECOND).limit == "paused"


# how it steers


def test_a_product_of_which_nothing_is_known_begins_with_a_tenth_of_the_rate(
    launch: datetime,
) -> None:
    _say(WELL, launch)
    assert gate.show(now=launch).rate_in_force == pytest.approx(BEGIN * 3_600)
    health.watch(now=launch)
    assert gate.show(now=launch).rate_in_force == pytest.approx(BEGIN * 3_600)
    assert _row().factor == pytest.approx(BEGIN)
    _say(WELL, launch + MINUTE)
    admitted = sum(_tick(launch + n * SECOND).admitted for n in range(1, 61))
    assert 5 <= admitted <= 7, "six a minute"


def test_a_greater_rate_is_no_greater_trust(launch: datetime) -> None:
    _say(WELL, launch)
    health.watch(now=launch)
    gate.change(actor="test", now=launch, rate=36_000)
    assert gate.show(now=launch).rate_in_force == pytest.approx(BEGIN * 3_600)


def test_when_it_fails_it_is_trusted_with_half_once_an_hour(launch: datetime) -> None:
    _say(WELL, launch)
    health.watch(now=launch)
    trusted = [_row().state["loop"]["trusted"]]
    for minute in range(1, 130):
        _say(Said(False), launch + minute * MINUTE)
        health.watch(now=launch + minute * MINUTE)
        trusted.append(_row().state["loop"]["trusted"])
    halves = [trusted[0], trusted[0] / 2, trusted[0] / 4, trusted[0] / 8]
    assert sorted(set(trusted), reverse=True) == pytest.approx(halves)
    assert trusted[1] == trusted[60] == trusted[0] / 2


def test_those_who_are_invited_already_may_use_all_that_it_is_trusted_with(
    launch: datetime,
) -> None:
    gate.change(actor="test", now=launch, rate=100)
    _say(WELL, launch)
    health.watch(now=launch)  # a tenth of it: ten an hour
    waves.admit(20, cohort=None, actor="test", now=launch)
    later = launch + MINUTE
    _say(WELL, later)
    tick = _tick(later)
    assert (tick.admitted, tick.limit) == (0, "health")
    assert gate.show(now=later).health.held == "full"
    assert bounds.held(_gate(), now=later) is None, "so that planned waves go on"


def test_two_clocks_step_the_loop_once(app: Flask, launch: datetime) -> None:
    _say(WELL, launch)
    health.watch(now=launch)
    later = launch + MINUTE
    _say(Said(False), later)

    def watch() -> None:
        health.watch(now=later)

    people.at_once(app, [watch] * 4)
    row = _row()
    assert row.stepped_at == later
    assert row.state["loop"]["trusted"] == pytest.approx(BEGIN * 3_600 / 2)


def test_what_two_clocks_learn_at_once_is_stored_once(app: Flask, launch: datetime) -> None:
    def learn() -> bool:
        mine = noshows.learn(now=launch) is not None
        db.session.commit()
        return mine

    assert sorted(people.at_once(app, [learn] * 4)) == [False, False, False, True]


def test_the_loop_looks_once_a_minute_only(launch: datetime) -> None:
    _say(WELL, launch)
    health.watch(now=launch)
    health.watch(now=launch + 59 * SECOND)
    assert _row().stepped_at == launch
    health.watch(now=launch + MINUTE)
    assert _row().stepped_at == launch + MINUTE


def test_a_clock_that_was_set_back_doesnt_stop_the_loop(launch: datetime) -> None:
    """P18."""
    _say(WELL, launch)
    health.watch(now=launch)
    health.watch(now=launch - 2 * HOUR)
    assert _row().stepped_at == launch - 2 * HOUR


# what is learned


def test_what_was_learned_of_no_shows_is_kept_for_those_who_ask(
    launch: datetime, deliver: Deliver
) -> None:
    waves.admit(10, cohort=None, actor="test", now=launch)
    deliver(launch)
    came = [people.find(f"p{n}@example.org") for n in range(4)]
    for entry in came:
        people.register(entry, f"guest_{entry.id}", now=launch + 3 * HOUR)
    later = launch + 5 * HOUR
    health.watch(now=later)
    known, learned = noshows.known(), noshows.learned(now=later)
    assert known.learned_at == later
    assert known.open_by_age == {5: 6}
    assert len(known.curve) == 73
    assert known.curve[4].of == pytest.approx(0.4)
    assert known.expected(24) == pytest.approx(learned.expected_24h, abs=0.01)
    assert gate.show(now=later).health.expected_24h == known.expected(24)


def test_of_very_many_invitations_a_sample_tells(
    launch: datetime, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noshows, "MOST_READ", 10)
    waves.admit(39, cohort=None, actor="test", now=launch)
    deliver(launch)
    health.watch(now=launch + 2 * HOUR)
    assert noshows.known().open_by_age == {2: pytest.approx(39, abs=4)}


def test_an_invitation_whose_mail_hasnt_gone_may_come_at_once(launch: datetime) -> None:
    waves.admit(3, cohort=None, actor="test", now=launch)
    health.watch(now=launch + 10 * HOUR)
    assert noshows.known().open_by_age == {0: 3}


def test_before_anything_was_learned_nothing_is_claimed(app: Flask) -> None:
    known = noshows.known()
    assert (known.learned_at, known.open_by_age, known.expected(24)) == (None, {}, 0)
    assert known.curve[-1].high == 1


def test_seats_that_expired_are_offered_again_in_the_same_tick(launch: datetime) -> None:
    """However many they are: a thousand at a time, all of them before anybody is admitted."""
    over = launch - HOUR
    _ten_thousand_who_never_came(over)
    people.open_gate(10_000, 36_000, now=launch)
    waves.tick(now=launch + SECOND)
    assert gate.show(now=launch).seats_free == 0
    assert invitations.lapse(now=launch + 2 * SECOND) == 10_000
    assert waves.tick(now=launch + 2 * SECOND).admitted > 0
    assert gate.verify() == {}


def _ten_thousand_who_never_came(expired: datetime) -> None:
    first, last = 1_000, 11_000
    rows = [
        {"id": id_, "address": f"n{id_}@example.org", "address_key": f"n{id_}", "cohort_id": 1}
        | {"mail_to": f"n{id_}@example.org", "state": "invited", "arrival": id_, "rank": id_}
        | {"joined_at": expired, "confirmed_at": expired}
        for id_ in range(first, last)
    ]
    wave = Wave(at=expired, actor="test", asked=last - first, admitted=last - first)
    db.session.add(wave)
    db.session.flush()
    db.session.execute(insert(Entry), rows)
    invited = [
        {"entry_id": row["id"], "wave_id": wave.id, "cohort_id": 1, "created_at": expired}
        | {"mailed_at": expired, "expires_at": expired}
        for row in rows
    ]
    db.session.execute(insert(Invitation), invited)
    used = last - first
    db.session.execute(update(Gate).values(seats_used=Gate.seats_used + used))
    db.session.execute(
        update(Cohort).where(Cohort.id == 1).values(seats_used=Cohort.seats_used + used)
    )
    db.session.commit()


# the commands


def test_an_operator_may_say_how_the_product_is_and_the_audit_knows(runner: Operator) -> None:
    told = runner.json(
        "gate", "report-health", "--healthy", "--load", "0.7", "--p95", "300", "--reason", "drill"
    )
    assert told == {"healthy": True, "load": 0.7, "p95_ms": 300}
    shown = runner.json("gate", "show")["health"]
    assert (shown["healthy"], shown["load"], shown["p95_ms"]) == (True, 0.7, 300)
    assert shown["source"].startswith("cli:")
    assert "load 0.70" in runner.run("gate", "show").stdout
    runner.run("gate", "report-health", "--unhealthy")
    assert "unhealthy: it says" in runner.run("gate", "show").stdout
    acts = db.session.scalars(select(Audit).where(Audit.action == "health.report")).all()
    assert [act.reason for act in acts] == ["drill", ""]
    assert acts[1].before == {"healthy": True, "load": 0.7, "p95_ms": 300}
    assert acts[1].after == {"healthy": False, "load": None, "p95_ms": None}


def test_what_was_said_can_be_forgotten(runner: Operator) -> None:
    runner.run("gate", "report-health", "--unhealthy")
    assert runner.json("gate", "show")["health"]["held"] == "unhealthy"
    assert "Forgotten" in runner.run("gate", "report-health", "--forget").stdout
    assert runner.json("gate", "show")["health"]["held"] == ""
    assert "never said anything" in runner.run("gate", "show").stdout


@pytest.mark.parametrize(
    "words,status",
    [([], 2), (["--healthy", "--forget"], 2), (["--healthy", "--load", "-1"], 1)],
)
def test_a_report_that_makes_no_sense_is_refused(
    runner: Operator, words: list[str], status: int
) -> None:
    result = runner.run("gate", "report-health", *words)
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr
    assert _row().reported_at is None


def test_signals_dont_hold_up_those_who_join() -> None:
    assert lane.is_urgent(["api", "v1", "completions"])
    assert not lane.is_urgent(["api", "v1", "signals", "health"])
