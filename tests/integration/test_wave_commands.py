"""The commands of waves: what they print, keep and refuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from tests import people, tables
from tests.conftest import MakeApp
from tests.people import ALICE, BOB
from tests.visitors import Operator
from waitlist import projection
from waitlist.admission import plans
from waitlist.extensions import db
from waitlist.models import Audit, Gate, Wave, WavePerson

REAL_NOW = datetime.now(UTC)  # commands go by the real clock
TOMORROW = (REAL_NOW + timedelta(days=1)).isoformat()


@pytest.fixture
def line(app: Flask) -> list[int]:
    """Five who wait, and ten seats."""
    ids = people.crowd(5, now=REAL_NOW)
    people.open_gate(10, now=REAL_NOW)
    return ids


def test_a_wave_says_how_it_is_taken_back(make_app: MakeApp) -> None:
    app = make_app(wave_undo=timedelta(seconds=60))
    with app.app_context():
        projection.require_valid()
        people.crowd(3, now=REAL_NOW)
        people.open_gate(10, now=REAL_NOW)
        runner = Operator(app)
        said = runner.run("wave", "admit", "2").stdout
        assert "2 people are admitted: 2 of general." in said
        assert "To take it back within 60 s: flask wave recall 1" in said
        recalled = runner.json("wave", "recall", "1", "--reason", "oops")
        assert recalled == {"wave": 1, "back": 2, "revoked": 0, "rest": []}
        assert runner.json("wave", "show", "1")["state"] == "recalled"


def test_a_wave_is_planned_shown_listed_and_halted(runner: Operator, line: list[int]) -> None:
    planned = runner.json("wave", "admit", "3", "--at", TOMORROW, "--over", "2h", "--reason", "x")
    assert (planned["state"], planned["admitted"], planned["over_seconds"]) == ("planned", 0, 7200)
    assert datetime.fromisoformat(planned["starts_at"]) == datetime.fromisoformat(TOMORROW)
    (listed,) = runner.json("wave", "list")
    assert (listed["id"], listed["asked"], listed["reason"]) == (planned["wave"], 3, "x")
    assert "2h" in runner.run("wave", "list").stdout
    halted = runner.json("wave", "halt", str(planned["wave"]), "--reason", "too soon")
    assert halted == {"wave": planned["wave"], "state": "halted", "admitted": 0}
    shown = runner.json("wave", "show", str(planned["wave"]))
    assert (shown["state"], shown["note"], shown["to_mail"]) == ("halted", "too soon", 0)
    assert "halted" in runner.run("wave", "show", str(planned["wave"])).stdout
    act = db.session.scalars(select(Audit).where(Audit.action == "wave.halt")).one()
    assert (act.before, act.after, act.reason) == (
        {"state": "planned", "admitted": 0},
        {"state": "halted"},
        "too soon",
    )


def test_a_plan_is_told_in_words(runner: Operator, line: list[int]) -> None:
    said = runner.run("wave", "admit", "3", "--over", "30m").stdout
    assert "Wave 1 is planned: 3 people (all open cohorts)" in said
    assert "spread over 30m" in said
    assert "flask wave halt 1" in said


def test_named_people_are_admitted_from_the_command_line_and_a_file(
    runner: Operator, line: list[int], tmp_path: Path
) -> None:
    file = tmp_path / "friends.txt"
    file.write_text("\ufeff# our friends\np3@example.org\n\n  P1@example.org \np4@example.org\n")
    words = ("wave", "invite", "p4@example.org", "--list", str(file), "--reason", "friends")
    rehearsed = runner.json(*words, "--dry-run")
    assert [one["entry_id"] for one in rehearsed["people"]] == [line[4], line[3], line[1]]
    assert [one["position"] for one in rehearsed["people"]] == [5, 4, 2]
    done = runner.json(*words)
    assert (done["admitted"], done["state"]) == (3, "done")
    named = db.session.scalars(select(WavePerson.entry_id).order_by(WavePerson.nth)).all()
    assert named == [line[4], line[3], line[1]]
    assert db.session.scalars(select(Wave.reason)).all() == ["friends"]


def test_a_list_with_somebody_who_cant_be_invited_is_refused_whole(
    runner: Operator, line: list[int]
) -> None:
    before = tables.everything()
    words = ("wave", "invite", "p1@example.org", ALICE, "nobody", "--reason", "friends")
    for more in ([], ["--dry-run"]):
        result = runner.run(*words, *more)
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"{ALICE}: isn't known" in result.stderr
        assert "nobody: isn't a mail address" in result.stderr
        assert "--skip-unable" in result.stderr
    assert tables.everything() == before
    done = runner.json(*words, "--skip-unable")
    assert done["admitted"] == 1
    assert {one["address"] for one in done["unable"]} == {ALICE, "nobody"}
    assert (
        f"Not invited: {ALICE} isn't known."
        in runner.run(
            "wave", "invite", "p2@example.org", ALICE, "--reason", "friends", "--skip-unable"
        ).stderr
    )


@pytest.mark.parametrize(
    "words,status,sentence",
    [
        (["admit", "1", "--at", "2001-01-01"], 1, "past"),
        (["admit", "1", "--at", "soon"], 1, "such as"),
        (["admit", "1", "--over", "2"], 1, "30m, 2h or 1d"),
        (["admit", "1", "--over", "0h"], 1, "30m, 2h or 1d"),
        (["admit", "1", "--over", "31d"], 1, "30 days"),
        (["admit", "1", "--cohort", "vip", "--at", TOMORROW], 1, "no cohort 'vip'"),
        (["invite", ALICE], 2, "--reason"),
        (["invite", "--reason", "x"], 1, "1 to 1000000"),
        (["invite", ALICE, "--reason", ""], 1, "isn't known"),
        (["invite", "--list", "/nowhere", "--reason", "x"], 2, "/nowhere"),
        (["show", "7"], 1, "flask wave list"),
        (["halt", "7"], 1, "flask wave list"),
        (["recall", "7"], 1, "flask wave list"),
        (["halt", "one"], 2, "one"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(
    runner: Operator, app: Flask, words: list[str], status: int, sentence: str
) -> None:
    before = tables.everything()
    result = runner.run("wave", *words)
    assert (result.exit_code, result.stdout) == (status, "")
    assert sentence in result.stderr
    assert tables.everything() == before


def test_a_dry_run_tells_whom_it_takes_whom_it_passes_over_and_what_it_leaves(
    runner: Operator, app: Flask
) -> None:
    before_them = people.join("early@example.org", now=REAL_NOW)
    ids = people.crowd(30, now=REAL_NOW)
    people.make(people.find("p3@example.org"), suppressed_at=REAL_NOW)
    people.make(people.find("p4@example.org"), state="removed")
    people.make(people.find("p29@example.org"), state="removed")
    people.add_cohort("beta", now=REAL_NOW, opened=False, quota=5)
    people.open_gate(100, now=REAL_NOW)
    before, keys = tables.everything(), tables.all_keys()
    told = runner.json("wave", "admit", "25", "--dry-run")
    assert (tables.everything(), tables.all_keys()) == (before, keys)
    wanted = [one for one in ids[:27] if one not in ids[3:5]]
    assert [one["entry_id"] for one in told["people"]] == [*wanted[:10], *wanted[-10:]]
    assert [one["nth"] for one in told["people"]] == [*range(1, 11), *range(16, 26)]
    assert told["people"][0]["address"] == "p0@example.org"
    assert told["passed_over"]["by_reason"] == {"removed": 1, "suppressed": 1, "unconfirmed": 1}
    assert [(one["entry_id"], one["why"]) for one in told["passed_over"]["first"]] == [
        (before_them.id, "unconfirmed"),
        (ids[3], "suppressed"),
        (ids[4], "removed"),
    ]
    assert told["seats"] == {
        "gate": {"before": 0, "after": 25, "most": 100},
        "cohort general": {"before": 0, "after": 25, "most": None},
        "cohort beta": {"before": 0, "after": 0, "most": 5},
    }
    assert told["mail_budget"]["before"] - told["mail_budget"]["after"] == 25
    shown = runner.run("wave", "admit", "25", "--dry-run").stdout
    assert "25 people would be admitted: 25 of general." in shown
    assert "Passed over before the last of them: 1 removed, 1 suppressed, 1 unconfirmed." in shown
    assert "… 16" in shown
    assert runner.json("wave", "admit", "25")["admitted"] == 25
    assert db.session.scalar(select(Gate.seats_used)) == 25


def test_the_clock_carries_on_a_wave_that_a_command_planned(
    runner: Operator, line: list[int]
) -> None:
    runner.json("wave", "admit", "3", "--at", TOMORROW)
    plans.carry_on_due(now=REAL_NOW + timedelta(days=1, seconds=1))
    shown = runner.json("wave", "show", "1")
    assert (shown["state"], shown["admitted"], shown["to_mail"]) == ("done", 3, 3)


def test_the_progress_of_a_wave_is_told(runner: Operator, app: Flask) -> None:
    alice, bob = (people.wait_in_line(one, now=REAL_NOW) for one in (ALICE, BOB))
    people.invite(alice, bob, now=REAL_NOW)
    people.register(alice, "ada", now=REAL_NOW)
    shown = runner.json("wave", "show", "1")
    assert (shown["asked"], shown["admitted"], shown["completed"]) == (2, 2, 1)
    assert (shown["to_mail"], shown["mailed"], shown["bounced"]) == (2, 0, 0)
