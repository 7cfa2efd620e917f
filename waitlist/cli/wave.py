"""`flask wave`: admit people by hand, now or later, and take it back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import chain
from typing import TextIO

import click

from waitlist.admission import named, preview, progress, recall, waves
from waitlist.admission.plans import When
from waitlist.cli import dry_run, terminal, times, waveview
from waitlist.errors import ValueRefused
from waitlist.extensions import reading


def planned(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a wave that may begin later, be spread, or only be foretold."""
    for option in (
        click.option("--dry-run", "only_say", is_flag=True, help="Only say what would happen."),
        click.option("--over", help="Spread it over a while: 30m, 2h, 1d."),
        click.option("--at", "starts_at", help=f"Begin then, {times.FORM}."),
    ):
        command = option(command)
    return command


@click.group("wave")
def group() -> None:
    """Waves: people who are admitted together."""


@group.command()
@click.argument("people", type=int)
@click.option("--cohort", help="Only from this cohort, open or not.")
@planned
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def admit(
    people: int,
    cohort: str | None,
    starts_at: str | None,
    over: str | None,
    only_say: bool,
    reason: str,
    as_json: bool,
) -> None:
    """Admit the next PEOPLE. Seats and the pause bind it; the rate doesn't."""
    now, when = datetime.now(UTC), _when(starts_at, over)
    if only_say:
        waves.check(people, when, now=now)
        dry_run.show(preview.of_next(people, cohort=cohort, now=now, when=when), [], as_json)
        return
    outcome = waves.admit(
        people, cohort=cohort, actor=terminal.actor(), reason=reason, now=now, when=when
    )
    waveview.say_outcome(outcome, [], as_json)


@group.command()
@click.argument("addresses", nargs=-1)
@click.option("--list", "file", type=click.File(encoding="utf-8-sig"), help="A file, one a line.")
@click.option("--skip-unable", is_flag=True, help="Invite the others where some can't be.")
@planned
@click.option("--reason", required=True, help="Why they go before the others; kept.")
@terminal.as_json
@terminal.refusing
def invite(
    addresses: tuple[str, ...],
    file: TextIO | None,
    skip_unable: bool,
    starts_at: str | None,
    over: str | None,
    only_say: bool,
    reason: str,
    as_json: bool,
) -> None:
    """Admit the people named, in this order, wherever they stand in line."""
    now, when = datetime.now(UTC), _when(starts_at, over)
    with reading():
        found = named.find(chain(addresses, _lines(file)))
    if not skip_unable:
        named.require_able(found)
    waves.check(len(found.entry_ids), when, now=now)
    if only_say:
        shown = preview.of_named(found.entry_ids, now=now, when=when)
        dry_run.show(shown, found.unable, as_json)
        return
    outcome = waves.invite(
        found.entry_ids, actor=terminal.actor(), reason=reason, now=now, when=when
    )
    waveview.say_outcome(outcome, found.unable, as_json)


@group.command("list")
@terminal.as_json
@terminal.refusing
def list_(as_json: bool) -> None:
    """List the newest waves by hand."""
    with reading():
        found = progress.listed()
    if as_json:
        terminal.show_json([wave.as_json() for wave in found])
        return
    columns = ("wave", "state", "whom", "asked", "admitted", "from", "over", "who", "note")
    terminal.show_table(columns, map(waveview.row, found))


@group.command()
@click.argument("wave_id", type=int)
@terminal.as_json
@terminal.refusing
def show(wave_id: int, as_json: bool) -> None:
    """Show a wave, and what has become of those it admitted."""
    with reading():
        wave, stands = progress.show(wave_id)
    if as_json:
        terminal.show_json({**wave.as_json(), **vars(stands)})
        return
    waveview.show_wave(wave, stands)


@group.command()
@click.argument("wave_id", type=int)
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def halt(wave_id: int, reason: str, as_json: bool) -> None:
    """Stop a wave that is planned or running, before the next person."""
    wave = recall.halt(wave_id, actor=terminal.actor(), reason=reason, now=datetime.now(UTC))
    if as_json:
        terminal.show_json({"wave": wave.id, "state": wave.state, "admitted": wave.admitted})
        return
    click.echo(f"Wave {wave.id} is halted; {wave.admitted:,} of {wave.asked:,} came in before.")
    if wave.admitted:
        click.echo(f"To take them back: flask wave recall {wave.id}")


@group.command("recall")
@click.argument("wave_id", type=int)
@click.option("--revoke", is_flag=True, help="Take back mailed invitations too, with an apology.")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def recall_command(wave_id: int, revoke: bool, reason: str, as_json: bool) -> None:
    """Put those whose mail hasn't gone back in line; list the rest, or revoke it too."""
    done = recall.recall(
        wave_id, revoke=revoke, actor=terminal.actor(), reason=reason, now=datetime.now(UTC)
    )
    if as_json:
        rest = [one._asdict() for one in done.rest]
        terminal.show_json(
            {"wave": wave_id, "back": done.back, "revoked": len(done.revoked), "rest": rest}
        )
        return
    waveview.say_recalled(wave_id, done)


def _when(starts_at: str | None, over: str | None) -> When:
    at = None if starts_at is None else times.read(starts_at)
    return When(at, None if over is None else times.read_while(over))


def _lines(file: TextIO | None) -> Iterable[str]:
    """The addresses of a file, one a line; blank lines and those that begin with # are none."""
    try:
        lines = [line.strip() for line in file or ()]
    except UnicodeDecodeError as error:
        raise ValueRefused(f"the list isn't a text in UTF-8: {error.reason}") from error
    return [line for line in lines if line and not line.startswith("#")]
