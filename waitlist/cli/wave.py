"""`flask wave`: admit people by hand, now or later, and take it back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, TextIO

import click

from waitlist.admission import gate, named, plans, preview, progress, recall, waves
from waitlist.admission.health import WHY
from waitlist.admission.named import Unable
from waitlist.admission.plans import When
from waitlist.admission.progress import WaveView
from waitlist.admission.rounds import Outcome
from waitlist.cli import dry_run, terminal, times
from waitlist.errors import ValueRefused
from waitlist.extensions import reading, settings

WHILE = re.compile(r"(\d{1,6})([mhd])")
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
MOST_SHOWN = 50  # people of a recalled wave, unless as JSON


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
    _say(outcome, [], as_json)


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
    _say(outcome, found.unable, as_json)


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
    terminal.show_table(columns, map(_row, found))


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
    rows = [(key.replace("_", " "), value) for key, value in wave.as_json().items()]
    rows += [(key.replace("_", " "), value) for key, value in vars(stands).items()]
    terminal.show_table(
        ("wave", rows[0][1]), [(key, value) for key, value in rows[1:] if value != ""]
    )


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
    click.echo(f"{done.back:,} people are back at their old place; no mail goes to them.")
    if done.revoked:
        click.echo(f"{len(done.revoked):,} mailed invitations are revoked, with an apology.")
    if done.rest:
        click.echo(f"{len(done.rest):,} had their mail already, or have it under way:")
        rows = [(one.entry_id, one.address, one.state) for one in done.rest[:MOST_SHOWN]]
        terminal.show_table(("entry", "address", "now"), rows)
        if len(done.rest) > MOST_SHOWN:
            click.echo(f"… and {len(done.rest) - MOST_SHOWN:,} more: --json lists them all")
    if any(one.state in recall.STILL_OPEN for one in done.rest):
        click.echo(f"To revoke what is still open: flask wave recall {wave_id} --revoke")


def _when(starts_at: str | None, over: str | None) -> When:
    at = None if starts_at is None else times.read(starts_at)
    return When(at, None if over is None else _while(over))


def _while(words: str) -> timedelta:
    found = WHILE.fullmatch(words.strip())
    if not found or not int(found[1]):
        raise ValueRefused(f"a while is such as 30m, 2h or 1d, not {words!r}")
    return int(found[1]) * UNITS[found[2]]


def _lines(file: TextIO | None) -> Iterable[str]:
    """The addresses of a file, one a line; blank lines and those that begin with # are none."""
    try:
        lines = [line.strip() for line in file or ()]
    except UnicodeDecodeError as error:
        raise ValueRefused(f"the list isn't a text in UTF-8: {error.reason}") from error
    return [line for line in lines if line and not line.startswith("#")]


def _say(outcome: Outcome, unable: list[Unable], as_json: bool) -> None:
    assert outcome.wave_id is not None
    with reading():
        wave, _ = progress.show(outcome.wave_id)
        health = gate.held_by_health(now=datetime.now(UTC))
    if as_json:
        terminal.show_json({**_as_json(outcome, wave, unable), "health": health})
        return
    for one in unable:
        click.echo(f"Not invited: {one.address} {one.why}.", err=True)
    if outcome.limit == "plan" and not outcome.admitted:
        _say_plan(wave)
        return
    of = ", ".join(f"{people:,} of {name}" for name, people in outcome.by_cohort.items())
    click.echo(f"{outcome.admitted:,} people are admitted{': ' + of if of else ''}.")
    if outcome.admitted < wave.asked:
        click.echo(f"Not all {wave.asked:,}: {wave.note or plans.WHY.get(outcome.limit, '')}.")
    if wave.mails_from is not None:
        click.echo(f"Wave {wave.id}: its mails go from {times.shown(wave.mails_from)} on.")
        seconds = int(settings().wave_undo.total_seconds())
        click.echo(f"To take it back within {seconds} s: flask wave recall {wave.id}")
    if health:
        click.echo(f"The product's health lets nobody in by ticks ({health}): {WHY[health]}.")


def _say_plan(wave: WaveView) -> None:
    over = f", spread over {_words(wave.over_seconds)}" if wave.over_seconds else ""
    click.echo(
        f"Wave {wave.id} is planned: {wave.asked:,} people ({_whom(wave)}) "
        f"from {times.shown(wave.starts_at)} on{over}."
    )
    click.echo(f"See it: flask wave show {wave.id}. Stop it: flask wave halt {wave.id}")


def _as_json(outcome: Outcome, wave: WaveView, unable: list[Unable]) -> dict[str, Any]:
    shown = wave.as_json()
    return {
        "dry_run": False,
        "wave": wave.id,
        "state": wave.state,
        "asked": wave.asked,
        "admitted": outcome.admitted,
        "by_cohort": outcome.by_cohort,
        "limit": outcome.limit,
        "note": wave.note,
        "starts_at": shown["starts_at"],
        "over_seconds": wave.over_seconds,
        "mails_from": shown["mails_from"],
        "recall_within_seconds": int(settings().wave_undo.total_seconds()),
        "unable": [one._asdict() for one in unable],
    }


def _row(wave: WaveView) -> tuple[Any, ...]:
    over = _words(wave.over_seconds) if wave.over_seconds else None
    asked, admitted = f"{wave.asked:,}", f"{wave.admitted:,}"
    start = times.shown(wave.starts_at)
    return (wave.id, wave.state, _whom(wave), asked, admitted, start, over, wave.actor, wave.note)


def _whom(wave: WaveView) -> str:
    return "a list" if wave.by_list else wave.cohort or "all open cohorts"


def _words(seconds: int) -> str:
    """A while in words, such as 2h."""
    for unit, length in reversed(UNITS.items()):
        if timedelta(seconds=seconds) % length == timedelta(0):
            return f"{timedelta(seconds=seconds) // length}{unit}"
    return f"{seconds}s"
