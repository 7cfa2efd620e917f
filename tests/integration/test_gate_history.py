"""Who set the gate to what, when and why; and that nobody sets it over another's change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import time_machine

from tests.visitors import Operator


def test_of_two_operators_who_saw_the_same_gate_the_second_is_told(runner: Operator) -> None:
    seen = str(runner.json("gate", "show")["version"])
    runner.json("gate", "set", "--capacity", "10", "--if-version", seen)
    result = runner.run("gate", "set", "--capacity", "20", "--if-version", seen)
    assert result.exit_code == 1
    assert "changed meanwhile" in result.stderr
    assert runner.json("gate", "show")["capacity"] == 10


def test_the_gate_can_always_be_paused_whatever_was_seen(runner: Operator) -> None:
    assert runner.json("gate", "pause")["paused"] is True
    assert runner.run("gate", "resume", "--if-version", "1").exit_code == 1


def test_the_history_tells_each_change_with_who_and_why(runner: Operator) -> None:
    runner.run("gate", "set", "--capacity", "10", "--rate", "60", "--reason", "launch")
    runner.run("gate", "resume")
    resumed, launched = runner.json("gate", "history")
    assert (resumed["version"], resumed["before"], resumed["after"]) == (
        3,
        {"paused": True},
        {"paused": False},
    )
    assert (launched["version"], launched["reason"]) == (2, "launch")
    assert launched["actor"].startswith("cli:")
    assert "capacity 0 → 10" in runner.run("gate", "history").stdout


def test_the_history_tells_the_settings_of_any_past_moment(
    runner: Operator, clock: time_machine.Traveller
) -> None:
    moments = []
    for capacity in ("10", "20"):
        runner.run("gate", "set", "--capacity", capacity)
        moments.append(datetime.now(UTC))
        clock.shift(timedelta(hours=1))
    runner.run("gate", "resume")
    usual = {"rate": 0, "paused": True, "joining": "open", "held_mails": [], "referral": False}
    usual |= {"notices": {}, "health_ignored_until": None, "bounces_since": None}
    usual |= {"mail_route": "auto"}
    told = [runner.json("gate", "history", "--at", moment.isoformat()) for moment in moments]
    assert told == [
        {"capacity": 10, **usual},
        {"capacity": 20, **usual},
    ]
    long_ago = runner.json("gate", "history", "--at", "2001-01-01")
    assert long_ago == {"capacity": 0, **usual}
    assert runner.run("gate", "history", "--at", "yesterday").exit_code == 1
