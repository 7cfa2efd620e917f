"""`flask cohort`: the lines there are, and when they open."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from waitlist import cohorts
from waitlist.cli import terminal
from waitlist.errors import LineUnavailable
from waitlist.extensions import reading
from waitlist.models import Cohort
from waitlist.projection import of_cohort

opens = click.option("--opens", help="now, never or a date such as 2027-02-21T15:00Z (UTC).")
quota = click.option("--quota", type=int, help="Seats that this cohort may use at most.")
weight = click.option("--weight", type=int, help="Its share beside the other open cohorts.")


@click.group("cohort")
def group() -> None:
    """Cohorts: people who wait in one line."""


@group.command()
@click.argument("name")
@opens
@quota
@weight
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def add(
    name: str, opens: str | None, quota: int | None, weight: int | None, reason: str, as_json: bool
) -> None:
    """Add a cohort; it opens never unless told otherwise."""
    now = datetime.now(UTC)
    cohort = cohorts.add(
        name,
        opens_at=cohorts.opening("never" if opens is None else opens, now=now),
        quota=quota,
        weight=1 if weight is None else weight,
        actor=terminal.actor(),
        now=now,
        reason=reason,
    )
    _show([cohort], as_json, now=now)


@group.command("set")
@click.argument("name")
@opens
@quota
@click.option("--no-quota", is_flag=True, help="Take the quota away.")
@weight
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def set_(
    name: str,
    opens: str | None,
    quota: int | None,
    no_quota: bool,
    weight: int | None,
    reason: str,
    as_json: bool,
) -> None:
    """Change when a cohort opens, its quota or its weight."""
    now = datetime.now(UTC)
    values: dict[str, Any] = {"quota": quota, "weight": weight}
    values = {key: value for key, value in values.items() if value is not None}
    if opens is not None:
        values["opens_at"] = cohorts.opening(opens, now=now)
    if no_quota:
        values["quota"] = None
    if not values:
        raise click.UsageError("say what to set: --opens, --quota, --no-quota or --weight")
    cohort = cohorts.change(name, actor=terminal.actor(), now=now, reason=reason, **values)
    _show([cohort], as_json, now=now)


@group.command("list")
@terminal.as_json
@terminal.refusing
def list_(as_json: bool) -> None:
    """List the cohorts."""
    with reading():
        _show(cohorts.every(), as_json, now=datetime.now(UTC))


def _show(found: Any, as_json: bool, *, now: datetime) -> None:
    rows = [_row(cohort, now=now) for cohort in found]
    if as_json:
        terminal.show_json(rows)
    else:
        terminal.show_table(list(rows[0]), [list(row.values()) for row in rows])


def _row(cohort: Cohort, *, now: datetime) -> dict[str, Any]:
    row = {
        "name": cohort.name,
        "open": cohort.is_open(now),
        **cohorts.settings_of(cohort),
        "seats_used": cohort.seats_used,
    }
    try:
        return {**row, "waiting": of_cohort(cohort.id).length()}
    except LineUnavailable:
        return {**row, "waiting": None}
