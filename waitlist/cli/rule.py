"""`flask cohort rule`: who joins which cohort."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from waitlist.cli import terminal
from waitlist.extensions import reading
from waitlist.models import CohortRule
from waitlist.policy import rules
from waitlist.signup import choosing

COLUMNS = ("id", "turn", "cohort", "country", "platform", "code")


@click.group("rule")
def group() -> None:
    """Rules for newcomers: the first that fits says which cohort they join, else general."""


@group.command()
@click.argument("name")
@click.option("--country", help="Who comes from there, such as FR (ISO 3166).")
@click.option("--platform", help="Who uses that, such as ios.")
@click.option("--code", help="Who brings that invite code, such as VIP2027, in any case.")
@click.option("--turn", type=int, help="Before the rule that has this turn now; else the last.")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def add(
    name: str,
    country: str | None,
    platform: str | None,
    code: str | None,
    turn: int | None,
    reason: str,
    as_json: bool,
) -> None:
    """Have newcomers join the cohort NAME whom all that is said here fits."""
    asks = rules.asking(country=country, platform=platform, code=code)
    now = datetime.now(UTC)
    rule = choosing.add(name, asks, turn=turn, actor=terminal.actor(), now=now, reason=reason)
    _show([rule], as_json)


@group.command("list")
@terminal.as_json
@terminal.refusing
def list_(as_json: bool) -> None:
    """List the rules, in the order in which they are asked."""
    with reading():
        _show(choosing.every(), as_json)


@group.command()
@click.argument("rule_id", type=int, metavar="ID")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def remove(rule_id: int, reason: str, as_json: bool) -> None:
    """Take a rule away. Whoever joined by it stays where they are."""
    now = datetime.now(UTC)
    removed = choosing.remove(rule_id, actor=terminal.actor(), now=now, reason=reason)
    _show([removed], as_json)


def _show(found: Sequence[CohortRule], as_json: bool) -> None:
    rows = [choosing.as_json(rule) for rule in found]
    if as_json:
        terminal.show_json(rows)
    else:
        terminal.show_table(COLUMNS, [[row[column] for column in COLUMNS] for row in rows])
