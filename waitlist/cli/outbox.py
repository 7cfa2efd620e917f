"""`flask outbox`: the messages that are owed, those that can't go on, and what becomes of them."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from waitlist import leasing, postage, undelivered
from waitlist.cli import terminal, times
from waitlist.extensions import reading
from waitlist.signup import people
from waitlist.undelivered import Count, Owed

LOOKED_AT = ("dead", "sending")  # what is listed unless something is asked for
COLUMNS = ("id", "kind", "state", "address", "tries", "owed since", "due, or ended", "why")


@click.group("outbox")
def group() -> None:
    """The outbox: every mail that is owed, and what became of it."""


@group.command("list")
@click.option("--state", help="Only messages in this state, such as dead, queued or bounced.")
@click.option("--kind", help="Only messages of this kind, such as invitation.")
@click.option("--address", help="Only this person's.")
@click.option("--most", type=click.IntRange(1), default=50, show_default=True, help="So many.")
@terminal.as_json
@terminal.refusing
def list_(
    state: str | None, kind: str | None, address: str | None, most: int, as_json: bool
) -> None:
    """List what can't go on by itself and what is under way; or the messages asked for.

    With how many there are of each kind and state, and the oldest that is due.
    """
    now = datetime.now(UTC)
    with reading():
        entry_id = people.find(address).id if address else None
        states = (state,) if state or kind or address else LOOKED_AT
        found = [
            one
            for state in states
            for one in undelivered.listed(state=state, kind=kind, entry_id=entry_id, most=most)
        ]
        counts = undelivered.counts()
        oldest = leasing.oldest_due(postage.read(now=now).held, now=now)
    if as_json:
        terminal.show_json(
            {
                "counts": [count._asdict() for count in counts],
                "oldest_due_at": oldest.isoformat() if oldest else None,
                "messages": [one.as_json() for one in found],
            }
        )
        return
    _show(counts, found, oldest, now)


@group.command()
@click.argument("ids", nargs=-1, type=int)
@click.option("--all-dead", is_flag=True, help="All that is dead, instead of ids.")
@click.option("--kind", help="Of all that is dead only this kind.")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def retry(
    ids: tuple[int, ...], all_dead: bool, kind: str | None, reason: str, as_json: bool
) -> None:
    """Queue messages again, for now: those of these IDS, or all that is dead."""
    if bool(ids) == all_dead:
        raise click.UsageError("give either ids or --all-dead")
    if kind and not all_dead:
        raise click.UsageError("--kind is for --all-dead")
    now, actor = datetime.now(UTC), terminal.actor()
    if all_dead:
        queued = undelivered.retry_dead(kind=kind, actor=actor, reason=reason, now=now)
    else:
        queued = undelivered.retry(ids, actor=actor, reason=reason, now=now)
    if as_json:
        terminal.show_json({"queued": queued})
    else:
        click.echo(f"{queued:,} queued again. See how they fare: flask outbox list")


@group.command()
@click.argument("ids", nargs=-1, type=int, required=True)
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def drop(ids: tuple[int, ...], reason: str, as_json: bool) -> None:
    """Cancel the messages of these IDS. Who was invited by one is back in line."""
    dropped = undelivered.drop(ids, actor=terminal.actor(), reason=reason, now=datetime.now(UTC))
    if as_json:
        terminal.show_json(dropped._asdict())
        return
    click.echo(f"{dropped.messages:,} dropped.")
    if dropped.back:
        click.echo(
            f"{dropped.back:,} who were invited by them are back in line at their old place: "
            "if the gate is open, its next tick invites them anew."
        )


def _show(counts: list[Count], found: list[Owed], oldest: datetime | None, now: datetime) -> None:
    terminal.show_table(
        ("kind", "state", "messages"), [(*c[:2], f"{c.messages:,}") for c in counts]
    )
    click.echo(
        f"\nThe oldest that is due has been since {times.shown(oldest)} "
        f"({(now - oldest).total_seconds():,.0f} s).\n"
        if oldest
        else "\nNothing is due.\n"
    )
    rows = [
        (
            *(one.id, one.kind, one.state, one.address, one.attempts),
            *(times.shown(one.created_at), times.shown(one.sent_at or one.due_at), one.reason),
        )
        for one in found
    ]
    terminal.show_table(COLUMNS, rows)
