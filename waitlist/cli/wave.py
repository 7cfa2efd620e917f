"""`flask wave`: admit people by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from waitlist.admission import gate, waves
from waitlist.admission.gate import LIMITS
from waitlist.admission.health import WHY
from waitlist.cli import terminal
from waitlist.extensions import reading


@click.group("wave")
def group() -> None:
    """Waves: people who are admitted together."""


@group.command()
@click.argument("people", type=int)
@click.option("--cohort", help="Only from this cohort, open or not.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def admit(people: int, cohort: str | None, dry_run: bool, reason: str, as_json: bool) -> None:
    """Admit the next PEOPLE. Seats and the pause bind it; the rate doesn't."""
    now = datetime.now(UTC)
    if dry_run:
        outcome = waves.rehearse(people, cohort=cohort, now=now)
    else:
        outcome = waves.admit(people, cohort=cohort, actor=terminal.actor(), reason=reason, now=now)
    with reading():
        health = gate.held_by_health(now=now)
    if as_json:
        terminal.show_json(
            {
                "dry_run": dry_run,
                "wave": outcome.wave_id,
                "asked": outcome.asked,
                "admitted": outcome.admitted,
                "by_cohort": outcome.by_cohort,
                "limit": outcome.limit,
                "health": health,
            }
        )
        return
    _say(outcome, dry_run)
    if health:
        click.echo(f"The product's health lets nobody in by ticks ({health}): {WHY[health]}.")


def _say(outcome: waves.Outcome, dry_run: bool) -> None:
    verb = "would be admitted" if dry_run else "are admitted"
    of = ", ".join(f"{people:,} of {name}" for name, people in outcome.by_cohort.items())
    click.echo(f"{outcome.admitted:,} people {verb}{': ' + of if of else ''}.")
    if outcome.admitted < (outcome.asked or 0):
        why = LIMITS.get(outcome.limit, "nobody else waits there")
        click.echo(f"Not all {outcome.asked:,}: {why}.")
