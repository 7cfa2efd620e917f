"""`flask rehearse`: what it prints, what it draws, and that it decides as the service does."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import insert

from tests import people
from tests.visitors import Operator
from waitlist import projection
from waitlist.admission import gate, waves
from waitlist.extensions import db
from waitlist.models import Entry
from waitlist.rehearsal import Action, Cohort, Completing, Gate, Joining, Scenario
from waitlist.rehearsal.engine import play

SECOND = timedelta(seconds=1)
SMALL = """
title = "A small one"
duration = "12 h"
step = "10 min"
[gate]
capacity = 500
rate = 30
[[arrivals]]
kind = "steady"
an_hour = 100
[product]
limit = 400
"""


@pytest.fixture
def small(tmp_path: Path) -> str:
    """The file of a scenario that takes no time."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return str(path)


def _is_picture(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


def test_it_tells_what_came_out_as_json(runner: Operator, small: str, tmp_path: Path) -> None:
    found = runner.json("rehearse", small, "--output", str(tmp_path / "small.png"))
    assert found["scenario"] == "small"
    assert found["people"] == pytest.approx(1_200, rel=0.2)
    assert found["seats_over_capacity"] == 0
    assert found["load_peak_over_limit"] == 0
    assert {"estimate_coverage", "capacity_use"} < set(found)
    assert sum(found["limited_hours"].values()) == pytest.approx(12, abs=0.1)
    assert _is_picture(Path(found["picture"]))


def test_it_prints_a_table_and_where_the_picture_is(
    runner: Operator, small: str, tmp_path: Path
) -> None:
    picture = tmp_path / "deep" / "small.png"
    result = runner.run("rehearse", small, "--output", str(picture))
    assert result.exit_code == 0
    assert "still waiting" in result.stdout
    assert str(picture) in result.stdout
    assert _is_picture(picture)


def test_two_stand_beside_each_other(runner: Operator, small: str, tmp_path: Path) -> None:
    other = tmp_path / "faster.toml"
    other.write_text(SMALL.replace("rate = 30", "rate = 60"))
    picture = tmp_path / "both.png"
    result = runner.run("rehearse", small, "--compare", str(other), "--output", str(picture))
    assert "small" in result.stdout
    assert "faster" in result.stdout
    assert _is_picture(picture)
    found = runner.json("rehearse", small, "--compare", str(other), "--no-picture")
    assert found["compared"]["scenario"] == "faster"
    assert found["compared"]["invited"] > found["invited"]


def test_the_same_seed_tells_the_same(runner: Operator, small: str) -> None:
    first, again, other = (
        runner.json("rehearse", small, "--no-picture", "--seed", seed) for seed in ("1", "1", "2")
    )
    assert first == again != other


def test_what_isnt_there_or_isnt_right_is_refused(runner: Operator, tmp_path: Path) -> None:
    unknown = runner.run("rehearse", "calm-bta")
    assert unknown.exit_code == 1
    assert "Did you mean calm-beta?" in unknown.stderr
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(SMALL.replace("rate", "rat"))
    refused = runner.run("rehearse", str(wrong))
    assert refused.exit_code == 1
    assert "gate.rat is unknown" in refused.stderr


def test_a_picture_that_cant_be_written_is_refused(
    runner: Operator, small: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    refused = runner.run("rehearse", small, "--output", str(tmp_path / "file" / "small.png"))
    assert refused.exit_code == 1
    assert "give another --output" in refused.stderr


def _in_line(cohort_id: int, how_many: int, *, first: int, now: datetime) -> None:
    rows: list[dict[str, Any]] = []
    for number in range(first, first + how_many):
        address = f"p{number}@example.org"
        rows.append({"address": address, "address_key": address, "mail_to": address})
        rows[-1] |= {"arrival": number, "rank": number, "cohort_id": cohort_id}
        rows[-1] |= {"state": "waiting", "joined_at": now, "confirmed_at": now}
    db.session.execute(insert(Entry), rows)
    db.session.commit()
    projection.rebuild(cohort_id)


def test_it_lets_in_at_each_second_whom_the_real_gate_lets_in(app: Flask, now: datetime) -> None:
    """Two cohorts by weight and quota; capacity, rate and pause are changed while it runs."""
    scenario = Scenario(
        "real",
        duration=60 * SECOND,
        step=SECOND,
        cohorts=(Cohort("general", imported=80), Cohort("beta", weight=3, quota=50, imported=80)),
        gate=Gate(capacity=60, rate=14_600),
        completing=Completing(share=0.0),
        joining=Joining(leave_a_day=0.0),
        operator=(
            Action(at=20 * SECOND, rate=3_000),
            Action(at=30 * SECOND, do="pause"),
            Action(at=35 * SECOND, do="resume", capacity=100, rate=7_300),
        ),
    )
    beta = people.add_cohort("beta", weight=3, quota=50, now=now)
    _in_line(1, 80, first=1_000, now=now)
    _in_line(beta.id, 80, first=2_000, now=now)
    people.open_gate(60, 14_600, now=now)
    waves.tick(now=now)
    changes: dict[int, dict[str, Any]] = {20: {"rate": 3_000}, 30: {"paused": True}}
    changes[35] = {"paused": False, "capacity": 100, "rate": 7_300}
    real = []
    for second in range(60):
        if second in changes:
            gate.change(actor="test", now=now, **changes[second])
        tick = waves.tick(now=now + SECOND * (second + 1))
        real.append([tick.by_cohort["general"], tick.by_cohort["beta"]])
    assert play(scenario).series["admitted"].T.tolist() == real
    assert [sum(column) for column in zip(*real, strict=True)] == [50, 50]
