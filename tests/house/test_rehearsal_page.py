"""Everything that a scenario can say is on its page, and all that a rehearsal tells."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import timedelta

import pytest

from waitlist.config import ROOT
from waitlist.rehearsal import Scenario, play, scenario
from waitlist.rehearsal.summary import summary

PAGE = (ROOT / "docs" / "rehearsal.md").read_text()
TABLES = (
    *("Cohort", "Rule", "Steady", "Surge", "Recorded", "Gate", "Confirming", "Completing"),
    *("Joining", "Mail", "Silence", "Product", "Action", "Scenario"),
)
FROM_THE_FILE = {"name"}


@pytest.mark.parametrize("table", TABLES)
def test_every_key_of_a_scenario_is_on_its_page(table: str) -> None:
    keys = {field.name for field in fields(getattr(scenario, table))}
    if table == "Scenario":
        keys -= FROM_THE_FILE
    assert not {key for key in keys if not re.search(rf"[`\[.]{key}\b", PAGE)}


def test_every_figure_of_a_rehearsal_is_on_its_page() -> None:
    found = summary(play(Scenario("short", duration=timedelta(minutes=2))))
    assert not {key for key in found if f"`{key}`" not in PAGE and key != "scenario"}
