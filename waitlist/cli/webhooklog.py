"""`flask webhook log` and `replay`: what the product was told, and telling it again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from waitlist.cli import terminal, times
from waitlist.extensions import reading
from waitlist.handover import replaying, showing
from waitlist.handover.endpoints import Who

COLUMNS = ("webhook", "endpoint", "event", "about", "state", "refused", "reason")


@click.command()
@click.argument("which", required=False, metavar="[ID]")
@click.option("--state", type=click.Choice(showing.STATES), help="Only those.")
@click.option("--most", default=50, type=click.IntRange(1, 10_000), help="So many at most (50).")
@terminal.as_json
@terminal.refusing
def log(which: str | None, state: str | None, most: int, as_json: bool) -> None:
    """List the newest webhooks, of endpoint ID; or tell all of the one whose webhook-id ID is."""
    with reading():
        if which is not None and not which.isdecimal():
            _show_tries(showing.attempts(which), as_json)
            return
        endpoint_id = int(which) if which else None
        found = showing.log(endpoint_id=endpoint_id, state=state, most=most)
    if as_json:
        terminal.show_json(found)
    else:
        terminal.show_table(COLUMNS, [_cells(one) for one in found])


@click.command()
@click.argument("webhook_ids", nargs=-1, metavar="[ID]...")
@click.option("--endpoint", "endpoint_id", type=int, help="To this endpoint only.")
@click.option("--since", "since", help=f"All registrations since then, a time {times.FORM}.")
@click.option("--state", type=click.Choice(["attention"]), help="All that need attention.")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def replay(
    webhook_ids: tuple[str, ...],
    endpoint_id: int | None,
    since: str | None,
    state: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Send webhooks again: those named, those that need attention, or all since a time.

    Each goes under the id that it had, so a product that minds it does nothing twice.
    """
    if sum(map(bool, (webhook_ids, since, state))) != 1:
        raise click.UsageError("say which: ids, or --state attention, or --endpoint N --since TIME")
    if since and endpoint_id is None:
        raise click.UsageError("--since needs --endpoint N")
    who = Who(terminal.actor(), reason, datetime.now(UTC))
    if since is not None and endpoint_id is not None:
        at = times.read(since, named="--since")
        replayed = replaying.since(at, endpoint_id=endpoint_id, who=who)
    elif state:
        replayed = replaying.that_need_attention(endpoint_id=endpoint_id, who=who)
    else:
        replayed = replaying.these(webhook_ids, endpoint_id=endpoint_id, who=who)
    if as_json:
        terminal.show_json({"replayed": replayed})
    else:
        click.echo(f"{replayed:,} webhooks go again.")


def _show_tries(found: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        terminal.show_json(found)
        return
    terminal.show_table(COLUMNS, [_cells(one) for one in found])
    for one in found:
        click.echo(f"\nTo endpoint {one['endpoint']}:")
        rows = [
            (
                times.shown(datetime.fromisoformat(tried["at"])),
                tried["words"],
                tried["milliseconds"],
            )
            for tried in one["tries"]
        ]
        terminal.show_table(("at", "what", "ms"), rows)


def _cells(found: dict[str, Any]) -> list[Any]:
    return [
        found["webhook_id"],
        found["endpoint"],
        found["event"],
        f"entry {found['entry']}",
        found["state"],
        found["attempts"],
        found["reason"],
    ]
