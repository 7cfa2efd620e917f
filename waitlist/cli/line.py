"""`flask line`: prove the Redis line equal to SQL, or make it so."""

from __future__ import annotations

from typing import Any

import click

from waitlist import cohorts, projection
from waitlist.cli import terminal
from waitlist.extensions import reading

MOST_SHOWN = 20


@click.group("line")
def group() -> None:
    """The line in Redis, a projection of SQL."""


@group.command()
@terminal.as_json
@terminal.refusing
def check(as_json: bool) -> None:
    """Prove every line equal to SQL, member for member and rank for rank."""
    found = {name: projection.check(cohort_id) for name, cohort_id in _cohorts().items()}
    equal = not any(found.values())
    if as_json:
        told = {name: [one._asdict() for one in some] for name, some in found.items()}
        terminal.show_json({"equal": equal, "differences": told})
    elif equal:
        click.echo("Every line is equal to SQL, member for member and rank for rank.")
    for name, differences in found.items():
        _tell(name, differences)
    if not equal:
        click.echo("Mend it with: flask line rebuild", err=True)
        raise SystemExit(1)


@group.command()
@terminal.as_json
@terminal.refusing
def rebuild(as_json: bool) -> None:
    """Fill every line anew from SQL. Safe at any time, while everything runs."""
    built = {name: projection.rebuild(cohort_id) for name, cohort_id in _cohorts().items()}
    if as_json:
        terminal.show_json(built)
    else:
        terminal.show_table(("cohort", "in line"), built.items())


def _cohorts() -> dict[str, int]:
    with reading():
        return {cohort.name: cohort.id for cohort in cohorts.every()}


def _tell(name: str, differences: list[Any]) -> None:
    for entry_id, in_sql, in_redis in differences[:MOST_SHOWN]:
        click.echo(f"{name}: entry {entry_id}: SQL {in_sql}, Redis {in_redis}", err=True)
    if len(differences) > MOST_SHOWN:
        click.echo(f"{name}: … and {len(differences) - MOST_SHOWN} more", err=True)
