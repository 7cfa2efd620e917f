"""`flask person`: one person's whole story, and moving people between cohorts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from waitlist.cli import terminal, times
from waitlist.extensions import reading
from waitlist.onboarding import by_hand
from waitlist.signup import erasing, people, removing, resending


@click.group("person")
def group() -> None:
    """People."""


@group.command()
@click.argument("address")
@terminal.as_json
@terminal.refusing
def show(address: str, as_json: bool) -> None:
    """Show a person and everything that happened to them."""
    with reading():
        entry = people.find(address)
        summary, timeline = people.summary(entry), people.timeline(entry)
    if as_json:
        story = [{"at": one.at.isoformat(), "what": one.what} for one in timeline]
        terminal.show_json({**summary, "timeline": story})
        return
    terminal.show_table(("person", summary["id"]), list(summary.items())[1:])
    click.echo()
    terminal.show_table(("at", "what"), [(times.shown(one.at), one.what) for one in timeline])


@group.command()
@click.argument("address")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def unsuppress(address: str, reason: str, as_json: bool) -> None:
    """Mail an address again after it was refused; its owner is back in place."""
    freed = people.unsuppress(address, actor=terminal.actor(), reason=reason, now=datetime.now(UTC))
    if as_json:
        terminal.show_json({"unsuppressed": freed})
    else:
        click.echo("It is mailed again." if freed else "It wasn't suppressed.")


@group.command()
@click.argument("address")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def remove(address: str, reason: str, as_json: bool) -> None:
    """Put a person out of the line for good. They stay known: joining again does nothing."""
    done = removing.remove(address, actor=terminal.actor(), reason=reason, now=datetime.now(UTC))
    if as_json:
        terminal.show_json(done._asdict())
        return
    was = "They were removed before." if done.was == "removed" else f"Removed; was {done.was}."
    click.echo(f"{was} {_freed(done.seats, done.cancelled)}")
    _tell_under_way(done.under_way)


@group.command()
@click.argument("address")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def erase(address: str, reason: str, as_json: bool) -> None:
    """Delete all that is known of a person. Nobody can undo it.

    A keyed hash of the address stays, so that joining again is mailed once in 30 days at most.
    """
    done = erasing.erase(address, actor=terminal.actor(), reason=reason, now=datetime.now(UTC))
    if as_json:
        terminal.show_json(done._asdict())
        return
    who = f"entry {done.entry_id}, {done.was}" if done.entry_id else "only rows of an import"
    click.echo(f"Erased: {who}. {_freed(done.seats, done.cancelled)}")
    _tell_under_way(done.under_way)
    if done.was == "registered":
        click.echo("What your product knows of them is yours to delete there.")
    if not done.is_gone_for_good:
        click.echo("The database's log holds traces while somebody reads in it; it passes.")


def _freed(seats: int, cancelled: int) -> str:
    return f"{seats} seats freed, {cancelled} queued mails cancelled."


def _tell_under_way(kinds: Sequence[str]) -> None:
    if kinds:
        click.echo(f"Already under way, and can't be called back: {', '.join(kinds)}.")


@group.command()
@click.argument("address")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def resend(address: str, reason: str, as_json: bool) -> None:
    """Mail a person what fits how they stand: to confirm, their place, their invitation, …"""
    now, actor = datetime.now(UTC), terminal.actor()
    with reading():
        entry = people.find(address)
        entry_id, is_invited = entry.id, entry.state == "invited"
    if is_invited:
        by_hand.resend([entry_id], actor=actor, reason=reason, now=now)
        kind = "renewal"
    else:
        kind = resending.resend(entry_id, actor=actor, reason=reason, now=now)
    if as_json:
        terminal.show_json({"mail": kind})
    else:
        click.echo(f"A mail is on its way: {kind}.")


@group.command()
@click.argument("addresses", nargs=-1)
@click.option("--first", type=int, help="Those at the front, instead of addresses.")
@click.option("--from", "source", required=True, help="The cohort they wait in.")
@click.option("--to", "target", required=True, help="The cohort to move them to.")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def move(
    addresses: tuple[str, ...],
    first: int | None,
    source: str,
    target: str,
    reason: str,
    as_json: bool,
) -> None:
    """Move people who wait to another cohort. They keep their arrival order."""
    if bool(addresses) == (first is not None):
        raise click.UsageError("give either addresses or --first N")
    now, actor = datetime.now(UTC), terminal.actor()
    if first is not None:
        moved = people.move_first(
            first, source=source, target=target, actor=actor, reason=reason, now=now
        )
    else:
        moved = people.move(
            addresses, source=source, target=target, actor=actor, reason=reason, now=now
        )
    if as_json:
        terminal.show_json({"moved": moved})
    else:
        click.echo(f"{moved:,} people moved from {source} to {target}.")
