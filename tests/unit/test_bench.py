"""What the bench says of its figures; the figures themselves nobody can promise."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.bench import ceilings
from tests.bench.__main__ import ROWS
from tests.bench.bars import BARS, Pair, Row, Unmeasured, alone, compared
from tests.bench.plots import cells
from tests.bench.programs import environment, in_procfile


def test_every_bar_has_a_row_and_every_row_a_bar() -> None:
    assert set(ROWS) == set(BARS)


@pytest.mark.parametrize(
    "name,figure,holds",
    [
        ("join-sqlite", 70.0, True),
        ("join-sqlite", 69.9, False),
        ("join-latency", 400.0, True),
        ("join-latency", 400.1, False),
    ],
)
def test_a_row_holds_up_to_its_bar(name: str, figure: float, holds: bool) -> None:
    assert compared(name, [Pair(figure, 100.0)], size=1).holds is holds


def test_the_ratio_is_that_of_the_medians() -> None:
    row = compared("place", [Pair(1, 10), Pair(8, 20), Pair(9, 1000)], size=1)
    assert (row.figure, row.ceiling, row.ratio) == (8, 20, 0.4)


def test_a_row_doesnt_hold_if_anything_else_went_wrong() -> None:
    row = compared("place", [Pair(10, 1)], size=1, unless="one answer was wrong")
    assert not row.holds
    assert "one answer was wrong" in cells(row)[-1]


def test_a_figure_without_ceiling_is_held_against_the_bar_itself() -> None:
    assert alone("memory", 110, size=1).holds
    assert not alone("memory", 111, size=1).holds


def test_what_couldnt_be_measured_says_why() -> None:
    found = Row("place", reason="wrk is missing: apt install wrk").as_json()
    assert (found["figure"], found["holds"]) == (None, False)
    assert found["reason"] == "wrk is missing: apt install wrk"


def test_the_web_server_is_started_as_the_procfile_says() -> None:
    assert "waitlist.asgi:app" in in_procfile("web")[-1]
    with pytest.raises(Unmeasured):
        in_procfile("nothing")


def test_no_setting_of_whoever_runs_it_gets_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://production.example/waitlist")
    assert "DATABASE_URL" not in environment({})


def test_the_sink_takes_mails_that_come_in_one_piece(tmp_path: Path) -> None:
    with (
        ceilings.mail_sink(tmp_path) as port,
        socket.create_connection(("127.0.0.1", port)) as wire,
    ):
        wire.sendall(
            b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n"
        )
        answers = b"".join(iter(lambda: wire.recv(4096), b""))
    assert answers.splitlines()[-2:] == [b"250 taken", b"221 bye"]
    assert (tmp_path / "first.eml").read_bytes() == b"hello"


def test_nothing_is_faster_than_a_part_of_itself() -> None:
    assert not compared("complete", [Pair(11, 10)], size=1).holds
    assert compared("line", [Pair(11, 10)], size=1).holds


def test_ceilings_that_differ_are_told() -> None:
    steady = compared("line", [Pair(11, 10), Pair(11, 14.9)], size=1)
    unsteady = compared("line", [Pair(11, 10), Pair(11, 15)], size=1)
    assert "unsteady" not in cells(steady)[-1]
    assert "unsteady" in cells(unsteady)[-1]


def test_a_ceiling_of_nothing_is_no_measurement() -> None:
    with pytest.raises(Unmeasured):
        compared("overload", [Pair(0, 0)], size=1)
