"""`flask cohort`: the lines there are, when they open, and at which hours they admit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import click

from waitlist import cohorts
from waitlist.cli import rule, terminal, times
from waitlist.errors import LineUnavailable
from waitlist.extensions import reading
from waitlist.models import Cohort
from waitlist.projection import of_cohort
from waitlist.signup import choosing

SETTINGS = (
    click.option("--opens", help=f"now, never, or a time {times.FORM}."),
    click.option("--quota", type=int, help="Seats that this cohort may use at most."),
    click.option("--no-quota", is_flag=True, help="Take the quota away."),
    click.option("--weight", type=int, help="Its share beside the other open cohorts."),
    click.option("--timezone", help="The zone whose clocks its hours go by, such as Europe/Paris."),
    click.option("--hours", help="Ticks admit at these hours only, such as 09:00-21:00."),
    click.option("--any-hour", is_flag=True, help="Ticks admit at all hours."),
)


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each setting of a cohort."""
    for option in reversed(SETTINGS):
        command = option(command)
    return command


@click.group("cohort")
def group() -> None:
    """Cohorts: people who wait in one line."""


group.add_command(rule.group)


@group.command()
@click.argument("name")
@with_settings
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def add(name: str, reason: str, as_json: bool, **given: Any) -> None:
    """Add a cohort; it opens never unless told otherwise."""
    now = datetime.now(UTC)
    unless_told = {"opens_at": None, "quota": None, "weight": 1, "timezone": times.zone()}
    values: dict[str, Any] = unless_told | _values(given, now=now)
    cohort = cohorts.add(name, **values, actor=terminal.actor(), now=now, reason=reason)
    _show([cohort], as_json, now=now)


@group.command("set")
@click.argument("name")
@with_settings
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def set_(name: str, reason: str, as_json: bool, **given: Any) -> None:
    """Change when a cohort opens, its quota, its weight or its hours."""
    now = datetime.now(UTC)
    values = _values(given, now=now)
    if not values:
        raise click.UsageError("say what to set, such as --opens, --quota, --weight or --hours")
    cohort = cohorts.change(name, **values, actor=terminal.actor(), now=now, reason=reason)
    _show([cohort], as_json, now=now)


@group.command("list")
@terminal.as_json
@terminal.refusing
def list_(as_json: bool) -> None:
    """List the cohorts."""
    with reading():
        _show(cohorts.every(), as_json, now=datetime.now(UTC))


def _values(given: dict[str, Any], *, now: datetime) -> dict[str, Any]:
    """What is to be set, as `cohorts` takes it."""
    kept = ("quota", "weight", "timezone", "hours")
    values = {name: given[name] for name in kept if given[name] is not None}
    for flag, name in (("no_quota", "quota"), ("any_hour", "hours")):
        if given[flag]:
            if name in values:
                raise click.UsageError(f"--{name} or --{flag.replace('_', '-')}, not both")
            values[name] = None
    if given["opens"] is not None:
        values["opens_at"] = _opening(given["opens"], now=now)
    return values


def _opening(words: str, *, now: datetime) -> datetime | None:
    if words in ("now", "never"):
        return now if words == "now" else None
    return times.read_coming(words, now=now, named="what --opens takes, beside now and never,")


def _show(found: Iterable[Cohort], as_json: bool, *, now: datetime) -> None:
    counts = Counter(rule.cohort_id for rule in choosing.every())
    rows = [_row(cohort, counts[cohort.id], now=now) for cohort in found]
    if as_json:
        terminal.show_json(rows)
        return
    columns = ("name", "opens", "hours", "weight", "quota", "seats used", "waiting", "rules")
    terminal.show_table(columns, [_cells(cohort) for cohort in rows])


def _row(cohort: Cohort, rules: int, *, now: datetime) -> dict[str, Any]:
    row = {
        "name": cohort.name,
        "open": cohort.is_open(now),
        "within_hours": cohort.is_within_hours(now),
        **cohorts.settings_of(cohort),
        "rules": rules,
        "seats_used": cohort.seats_used,
    }
    try:
        return {**row, "waiting": of_cohort(cohort.id).length()}
    except LineUnavailable:
        return {**row, "waiting": None}


def _cells(row: dict[str, Any]) -> list[Any]:
    """A row as people read it: its opening in the operators' zone, its hours in its own."""
    opens = row["opens_at"] and times.shown(datetime.fromisoformat(row["opens_at"]))
    state = "" if row["opens_at"] is None else " (open)" if row["open"] else " (to come)"
    hours = row["hours"] and f"{row['hours']} {row['timezone']}"
    rest = "" if row["within_hours"] else " (not now)"
    return [
        row["name"],
        f"{opens or 'never'}{state}",
        f"{hours or 'any'}{rest}",
        *(row[name] for name in ("weight", "quota", "seats_used", "waiting", "rules")),
    ]
