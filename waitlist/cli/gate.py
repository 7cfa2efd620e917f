"""`flask gate`: capacity, admission rate, open or paused."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from waitlist.admission import gate
from waitlist.cli import terminal
from waitlist.extensions import reading


@click.group("gate")
def group() -> None:
    """The gate: how many may be in, how fast they come, and whether any come at all."""


@group.command()
@terminal.as_json
@terminal.refusing
def show(as_json: bool) -> None:
    """Show the gate, its counters, and what limits it now."""
    with reading():
        view = gate.show(now=datetime.now(UTC))
    if as_json:
        terminal.show_json(gate.as_json(view))
        return
    state = "paused" if view.paused else "open"
    terminal.show_table(
        ("gate", state),
        [
            ("capacity", f"{view.capacity:,}"),
            ("seats used", f"{view.seats_used:,} ({view.held:,} held, {view.taken:,} taken)"),
            ("seats free", f"{view.seats_free:,}"),
            ("admission rate", f"{view.rate:,} an hour"),
            ("waiting", f"{view.waiting:,} ({view.waiting_open:,} in open cohorts)"),
            ("limited by", f"{view.limit}: {gate.LIMITS[view.limit]}"),
            ("last tick", view.ticked_at),
        ],
    )


@group.command("set")
@click.option("--capacity", type=int, help="Seats in all.")
@click.option("--rate", type=int, help="People an hour.")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def set_(capacity: int | None, rate: int | None, reason: str, as_json: bool) -> None:
    """Set capacity or rate; the next tick goes by it."""
    if capacity is None and rate is None:
        raise click.UsageError("say what to set: --capacity, --rate or both")
    _change(reason, as_json, capacity=capacity, rate=rate)


@group.command()
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def pause(reason: str, as_json: bool) -> None:
    """Admit nobody until resumed. Invitations that are out stay good."""
    _change(reason, as_json, paused=True)


@group.command()
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def resume(reason: str, as_json: bool) -> None:
    """Admit again, at the rate."""
    _change(reason, as_json, paused=False)


@group.command()
@terminal.as_json
@terminal.refusing
def verify(as_json: bool) -> None:
    """Prove the counters equal to the rows behind them."""
    with reading():
        differences = gate.verify()
    if as_json:
        found = {name: {"counter": a, "rows": b} for name, (a, b) in differences.items()}
        terminal.show_json({"agree": not differences, "differences": found})
    for name, (counter, rows) in differences.items():
        click.echo(f"{name}: the counter says {counter}, the rows say {rows}", err=True)
    if differences:
        raise SystemExit(1)
    if not as_json:
        click.echo("The gate's counters agree with the rows behind them.")


def _change(
    reason: str,
    as_json: bool,
    *,
    capacity: int | None = None,
    rate: int | None = None,
    paused: bool | None = None,
) -> None:
    now = datetime.now(UTC)
    gate.change(
        actor=terminal.actor(), now=now, reason=reason, capacity=capacity, rate=rate, paused=paused
    )
    with reading():
        view = gate.show(now=now)
    if as_json:
        terminal.show_json(gate.as_json(view))
        return
    state = "paused" if view.paused else "open"
    click.echo(f"The gate is {state}: capacity {view.capacity:,}, {view.rate:,} people an hour.")
