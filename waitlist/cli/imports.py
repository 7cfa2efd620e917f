"""`flask import` and `flask import-undo`: files of people."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from waitlist.cli import terminal
from waitlist.signup import importing


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--cohort", required=True, help="The cohort to import them into.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@terminal.as_json
@terminal.refusing
def import_command(file: Path, cohort: str, dry_run: bool, as_json: bool) -> None:
    """Import the people of a CSV file, in the order they joined."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} rows"), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("import", total=None)
        summary = importing.import_people(
            file,
            cohort=cohort,
            actor=terminal.actor(),
            now=datetime.now(UTC),
            dry_run=dry_run,
            progress=lambda done: bar.update(task, completed=done),
        )
    if as_json:
        terminal.show_json({"dry_run": dry_run, **summary.as_json()})
        return
    rejected = f"{summary.rejected:,} rejected"
    if summary.rejects_file:
        rejected += f" (see {summary.rejects_file})"
    duplicate = f"{summary.duplicate:,} duplicate"
    if summary.upgraded:
        duplicate += f" ({summary.upgraded:,} of them upgraded from unconfirmed)"
    head = "Dry run: " if dry_run else f"Import {summary.import_id}: "
    click.echo(
        f"{head}{summary.rows:,} rows, {summary.accepted:,} accepted, {duplicate}, {rejected}."
    )


@click.command("import-undo")
@click.argument("import_id", type=int)
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def undo_command(import_id: int, reason: str, as_json: bool) -> None:
    """Take back those people of an import who still wait."""
    taken = importing.undo(import_id, actor=terminal.actor(), reason=reason, now=datetime.now(UTC))
    if as_json:
        terminal.show_json({"taken_back": taken})
    else:
        click.echo(f"{taken:,} people of import {import_id} are taken back.")
