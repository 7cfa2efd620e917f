"""`flask gate`: capacity, admission rate, open or paused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from waitlist.admission import gate
from waitlist.admission import history as past
from waitlist.admission.controls import Wanted
from waitlist.cli import gateview, terminal, times
from waitlist.errors import ValueRefused
from waitlist.extensions import reading

INVITATIONS = ("invitation",)

if_version = click.option(
    "--if-version", "version", type=int, help="Only if the gate is still of this version."
)


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
    terminal.show_table(("gate", _state(view)), gateview.rows(view))


@group.command("set")
@click.option("--capacity", type=int, help="Seats in all.")
@click.option("--rate", type=int, help="People an hour.")
@click.option("--waves-only", is_flag=True, help="A rate of 0: only waves by hand admit.")
@if_version
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def set_(
    capacity: int | None,
    rate: int | None,
    waves_only: bool,
    version: int | None,
    reason: str,
    as_json: bool,
) -> None:
    """Set capacity or rate; the next tick goes by it."""
    if rate == 0:
        raise ValueRefused(
            "a rate of 0 doesn't stop waves by hand. So that nobody is admitted: flask gate pause. "
            "So that only waves admit: flask gate set --waves-only"
        )
    rate = 0 if waves_only else rate
    if capacity is None and rate is None:
        raise click.UsageError("say what to set: --capacity, --rate, --waves-only")
    change(Wanted(capacity=capacity, rate=rate), reason, as_json, version)


@group.command()
@click.option("--at", "moment", help=f"Only tell what was set at this time, {times.FORM}.")
@terminal.as_json
@terminal.refusing
def history(moment: str | None, as_json: bool) -> None:
    """Show every change, the newest first; or the settings of any past moment."""
    with reading():
        if moment is not None:
            _show_settings(past.settings_at(times.read(moment)), as_json)
            return
        changes = past.changes()
    if as_json:
        terminal.show_json([change.as_json() for change in changes])
        return
    rows = [(c.version, times.shown(c.at), c.actor, _said(c), c.reason) for c in changes]
    terminal.show_table(("version", "at", "who", "what", "why"), rows)


@group.command()
@click.option("--hold-mail", is_flag=True, help="Hold the invitations back that aren't mailed yet.")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def pause(hold_mail: bool, reason: str, as_json: bool) -> None:
    """Admit nobody until resumed. Invitations that are out stay good."""
    change(Wanted(paused=True, hold=INVITATIONS if hold_mail else ()), reason, as_json, None)


@group.command()
@click.option("--release-mail", is_flag=True, help="Let the invitations go that were held back.")
@if_version
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def resume(release_mail: bool, version: int | None, reason: str, as_json: bool) -> None:
    """Admit again, at the rate."""
    wanted = Wanted(paused=False, release=INVITATIONS if release_mail else ())
    change(wanted, reason, as_json, version)


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


def _show_settings(settings: dict[str, Any], as_json: bool) -> None:
    if as_json:
        terminal.show_json(settings)
        return
    terminal.show_table(("setting", "value"), list(settings.items()))


def _said(change: past.GateChange) -> str:
    """What a change changed, from which value to which."""
    return ", ".join(
        f"{name} {change.before.get(name)} → {value}" for name, value in change.after.items()
    )


def change(
    wanted: Wanted,
    reason: str,
    as_json: bool,
    version: int | None,
    now: datetime | None = None,
) -> None:
    """Change the gate so, and say how it stands then."""
    now = now or datetime.now(UTC)
    gate.change(actor=terminal.actor(), now=now, reason=reason, if_version=version, **wanted)
    with reading():
        view = gate.show(now=now)
    if as_json:
        terminal.show_json(gate.as_json(view))
        return
    click.echo(
        f"The gate is {_state(view)}: capacity {view.capacity:,}, {view.rate:,} people an hour."
    )
    for sentence in gateview.unusual(view):
        click.echo(sentence)


def _state(view: gate.GateView) -> str:
    return "paused" if view.paused else "open"
