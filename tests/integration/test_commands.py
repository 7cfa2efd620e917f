"""The commands of operators: what they change, print and refuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import select

from tests import people, tables
from tests.conftest import Deliver
from tests.people import ALICE, BOB, CAROL
from tests.visitors import Operator
from waitlist import members
from waitlist.extensions import db
from waitlist.models import Audit, Cohort, Gate

REAL_NOW = datetime.now(UTC)  # commands go by the real clock


def test_a_fresh_gate_is_paused_with_no_seats(runner: Operator) -> None:
    shown = runner.json("gate", "show")
    assert (shown["paused"], shown["capacity"], shown["rate"]) == (True, 0, 0)
    assert shown["limit"] == "paused"


def test_the_gate_is_set_resumed_and_paused_and_the_audit_knows_who_and_why(
    runner: Operator, app: Flask
) -> None:
    shown = runner.json("gate", "set", "--capacity", "10", "--rate", "3600", "--reason", "launch")
    assert (shown["capacity"], shown["rate"], shown["seats_free"]) == (10, 3600, 10)
    assert runner.json("gate", "resume")["paused"] is False
    assert runner.json("gate", "show")["limit"] == "nobody"
    assert runner.json("gate", "pause")["paused"] is True
    kept = db.session.scalars(select(Audit).order_by(Audit.id)).all()
    assert [act.after for act in kept] == [
        {"capacity": 10, "rate": 3600},
        {"paused": False},
        {"paused": True},
    ]
    assert kept[0].before == {"capacity": 0, "rate": 0}
    assert kept[0].reason == "launch"
    assert kept[0].actor.startswith("cli:")


def test_only_what_is_given_is_set(runner: Operator) -> None:
    runner.run("gate", "set", "--capacity", "10", "--rate", "60")
    shown = runner.json("gate", "set", "--waves-only")
    assert (shown["capacity"], shown["rate"]) == (10, 0)


@pytest.mark.parametrize(
    "words,status",
    [
        (["set", "--capacity", "-1"], 1),
        (["set", "--rate", "-1"], 1),
        (["set", "--capacity", str(2**31)], 1),
        (["set", "--rate", "0"], 1),
        (["set", "--capacity", "many"], 2),
        (["set"], 2),
        (["open"], 2),
    ],
)
def test_the_gate_refuses_what_makes_no_sense(
    runner: Operator, words: list[str], status: int
) -> None:
    before = tables.everything()
    result = runner.run("gate", *words)
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr
    assert tables.everything() == before


def test_the_gate_verifies_its_counters_and_finds_a_planted_difference(
    runner: Operator, app: Flask, now: datetime
) -> None:
    """P4."""
    people.invite(people.wait_in_line(ALICE, now=now), now=now)
    assert runner.json("gate", "verify") == {"agree": True, "differences": {}}
    assert runner.run("gate", "verify").exit_code == 0
    db.session.execute(Gate.__table__.update().values(seats_used=7))
    db.session.execute(Cohort.__table__.update().values(seats_used=0))
    db.session.commit()
    result = runner.run("gate", "verify")
    assert result.exit_code == 1
    assert "gate: the counter says 7, the rows say 1" in result.stderr
    assert "cohort general: the counter says 0, the rows say 1" in result.stderr


def test_a_cohort_is_added_closed_and_opened_later(runner: Operator) -> None:
    (added,) = runner.json("cohort", "add", "beta", "--quota", "5", "--weight", "3")
    assert added["name"] == "beta"
    assert (added["open"], added["opens_at"], added["quota"], added["weight"]) == (
        False,
        None,
        5,
        3,
    )
    (opened,) = runner.json("cohort", "set", "beta", "--opens", "now", "--no-quota")
    assert (opened["open"], opened["quota"], opened["weight"]) == (True, None, 3)
    (dated,) = runner.json("cohort", "set", "beta", "--opens", "2999-02-21T15:00Z")
    assert (dated["open"], dated["opens_at"]) == (False, "2999-02-21T15:00:00+00:00")
    (closed,) = runner.json("cohort", "set", "beta", "--opens", "never")
    assert closed["opens_at"] is None
    assert [row["name"] for row in runner.json("cohort", "list")] == ["general", "beta"]


@pytest.mark.parametrize(
    "words,status,sentence",
    [
        (["add", "general"], 1, "there already"),
        (["add", "Beta"], 1, "a-z"),
        (["add", "../beta"], 1, "a-z"),
        (["add", "b" * 41], 1, "a-z"),
        (["add", "beta", "--weight", "0"], 1, "weight"),
        (["add", "beta", "--quota", "-1"], 1, "quota"),
        (["add", "beta", "--quota", str(2**31)], 1, "quota"),
        (["add", "beta", "--opens", "soon"], 1, "opens"),
        (["add", "beta", "--opens", ""], 1, "opens"),
        (["set", "general", "--weight", "0"], 1, "weight"),
        (["set", "general", "--opens", "soon"], 1, "opens"),
        (["set", "beta", "--weight", "2"], 1, "no cohort 'beta'"),
        (["set", "generals", "--weight", "2"], 1, "Did you mean general?"),
        (["set", "general", "--opens", "2001-02-21"], 1, "is past"),
        (["set", "general"], 2, "say what to set"),
        (["add"], 2, "NAME"),
    ],
)
def test_a_wrong_cohort_is_refused_with_a_sentence(
    runner: Operator, words: list[str], status: int, sentence: str
) -> None:
    before = tables.everything()
    result = runner.run("cohort", *words)
    assert (result.exit_code, result.stdout) == (status, "")
    assert sentence in result.stderr
    assert tables.everything() == before


def test_a_person_is_shown_with_everything_that_happened(
    runner: Operator, app: Flask, now: datetime, deliver: Deliver
) -> None:
    entry = people.wait_in_line(ALICE, now=now)
    deliver(now)
    shown = runner.json("person", "show", f" {ALICE.upper()} ")
    assert (shown["id"], shown["state"], shown["position"]) == (str(entry.id), "waiting", 1)
    told = [happening["what"] for happening in shown["timeline"]]
    assert told[0].startswith("joined")
    assert "confirmed" in told
    assert any("mail" in what for what in told)
    assert "waiting" in runner.run("person", "show", ALICE).stdout


@pytest.mark.parametrize("address", ["nobody@example.org", "nobody"])
def test_a_person_who_isnt_known_is_refused(runner: Operator, address: str) -> None:
    result = runner.run("person", "show", address)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr


def test_people_are_moved_by_address_or_from_the_front_and_keep_their_order(
    runner: Operator, app: Flask, redis: Redis, now: datetime
) -> None:
    """P6."""
    people.add_cohort("beta", now=now)
    people.crowd(5, now=now)
    ranks = dict(tables.line_in_sql())
    move = ("person", "move", "--from", "general", "--to", "beta")
    assert runner.json(*move, "--first", "2", "--reason", "testers") == {"moved": 2}
    assert runner.json(*move, "p3@example.org") == {"moved": 1}
    assert [ranks[entry_id] for entry_id, _ in tables.line_in_sql(2)] == [1, 2, 4]
    assert tables.line_in_redis(redis) == tables.line_in_sql()
    assert tables.line_in_redis(redis, "beta") == tables.line_in_sql(2)
    told = runner.json("person", "show", "p0@example.org")["timeline"]
    assert any("moved from general to beta: testers" in one["what"] for one in told)


@pytest.mark.parametrize(
    "words,status",
    [
        (["--first", "1", "--from", "general", "--to", "vip"], 1),
        (["--first", "1", "--from", "vip", "--to", "general"], 1),
        (["--first", "1", "--from", "general", "--to", "general"], 1),
        (["--first", "0", "--from", "general", "--to", "beta"], 1),
        ([BOB, "--from", "general", "--to", "beta"], 1),
        ([ALICE, "--first", "1", "--from", "general", "--to", "beta"], 2),
        (["--from", "general", "--to", "beta"], 2),
    ],
)
def test_a_move_that_makes_no_sense_is_refused(
    runner: Operator, app: Flask, now: datetime, words: list[str], status: int
) -> None:
    people.add_cohort("beta", now=now)
    people.wait_in_line(ALICE, now=now)
    before = tables.everything()
    result = runner.run("person", "move", *words)
    assert result.exit_code == status
    assert result.stderr
    assert tables.everything() == before


def test_the_line_is_checked_found_wanting_and_rebuilt(
    runner: Operator, app: Flask, redis: Redis, now: datetime
) -> None:
    """P13."""
    ids = people.crowd(3, now=now)
    assert runner.json("line", "check") == {"equal": True, "differences": {"general": []}}
    assert "equal to SQL" in runner.run("line", "check").stdout
    redis.zrem("{waitlist:general}:line", members.member(ids[1]))
    redis.zincrby("{waitlist:general}:line", 9, members.member(ids[0]))
    result = runner.run("line", "check")
    assert result.exit_code == 1
    assert f"general: entry {ids[1]}: SQL 2, Redis None" in result.stderr
    assert runner.json("line", "rebuild") == {"general": 3}
    assert runner.run("line", "check").exit_code == 0


def test_a_lost_line_is_said_to_be_lost(runner: Operator, redis: Redis) -> None:
    """P13."""
    redis.flushall()
    result = runner.run("line", "check")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is lost" in result.stderr


def test_a_wave_is_rehearsed_without_a_change(runner: Operator, app: Flask) -> None:
    people.add_cohort("beta", now=REAL_NOW, opened=False)
    people.crowd(3, now=REAL_NOW)
    people.crowd(2, now=REAL_NOW, cohort="beta", name="b")
    people.open_gate(4, now=REAL_NOW)
    before, keys = tables.everything(), tables.all_keys()
    rehearsed = runner.json("wave", "admit", "9", "--dry-run")
    assert (rehearsed["admitted"], rehearsed["wave"]) == (3, None)
    assert rehearsed["by_cohort"] == {"general": 3}
    assert runner.json("wave", "admit", "9", "--cohort", "beta", "--dry-run")["admitted"] == 2
    assert "would be admitted" in runner.run("wave", "admit", "2", "--dry-run").stdout
    assert tables.everything() == before
    assert tables.all_keys() == keys
    done = runner.json("wave", "admit", "9", "--reason", "friends")
    assert (done["admitted"], done["by_cohort"]) == (3, {"general": 3})
    assert runner.json("wave", "admit", "9", "--cohort", "beta")["limit"] == "capacity"
    assert runner.json("gate", "show")["seats_used"] == 4


@pytest.mark.parametrize(
    "words,status",
    [(["0"], 1), (["1000001"], 1), (["1", "--cohort", "vip"], 1), (["some"], 2), ([], 2)],
)
def test_a_wave_that_makes_no_sense_is_refused(
    runner: Operator, words: list[str], status: int
) -> None:
    for more in ([], ["--dry-run"]):
        result = runner.run("wave", "admit", *words, *more)
        assert (result.exit_code, result.stdout) == (status, "")
        assert result.stderr


def test_a_database_without_tables_is_told_with_what_to_run(runner: Operator, app: Flask) -> None:
    db.session.rollback()
    db.drop_all()
    for words in (["gate", "show"], ["person", "show", CAROL], ["line", "check"]):
        result = runner.run(*words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "flask db upgrade" in result.stderr


def test_an_operators_wave_is_kept_with_its_reason(runner: Operator, app: Flask) -> None:
    people.wait_in_line(ALICE, now=REAL_NOW - timedelta(hours=1))
    people.open_gate(1, now=REAL_NOW)
    done = runner.json("wave", "admit", "1", "--reason", "a friend")
    kept = db.session.scalars(select(Audit).where(Audit.action == "wave.admit")).one()
    assert (kept.subject, kept.reason) == (f"wave:{done['wave']}", "a friend")
