"""`flask rehearse`: a launch in accelerated time, before the one that counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track

from waitlist.cli import terminal
from waitlist.config import ROOT
from waitlist.rehearsal import Played, play
from waitlist.rehearsal.reading import find
from waitlist.rehearsal.summary import summary

HALF_AN_HOUR = 0.5
PNG = click.Path(path_type=Path, dir_okay=False)
PICTURES = ROOT / "build" / "rehearsals"


@click.command("rehearse")
@click.argument("scenario")
@click.option("--compare", "other", metavar="SCENARIO", help="Play this one too, beside it.")
@click.option("--seed", type=click.IntRange(0), help="Another run of chance than the scenario's.")
@click.option("--output", type=PNG, help="The picture's file (PNG).")
@click.option("--no-picture", is_flag=True, help="Draw nothing.")
@terminal.as_json
@terminal.refusing
def command(
    scenario: str,
    other: str | None,
    seed: int | None,
    output: Path | None,
    no_picture: bool,
    as_json: bool,
) -> None:
    """Play a launch: SCENARIO is calm-beta, launch-day, roll-out, or a file.

    Nothing of the service is read or changed. It prints what came out and draws it.
    """
    scenarios = [find(name) for name in (scenario, other) if name is not None]
    played = [play(one, seed, each=partial(_progress, one.name)) for one in scenarios]
    figures = [summary(one) for one in played]
    picture = None if no_picture else _draw(played, output)
    if as_json:
        _show_json(figures, picture)
        return
    _show(figures)
    if picture:
        click.echo(f"The picture: {picture}")


def _progress(name: str, steps: range) -> Iterable[int]:
    """The steps, and how far it is on a terminal's stderr."""
    console = Console(stderr=True)
    return track(
        steps, f"{name} …", console=console, transient=True, disable=not console.is_terminal
    )


def _draw(played: list[Played], output: Path | None) -> Path:
    from waitlist.rehearsal import plots  # matplotlib takes half a second, and only this wants it

    names = "-and-".join(one.scenario.name for one in played)
    path = output or PICTURES / f"{names}.png"
    try:
        plots.draw(played, path)
    except OSError as error:
        terminal.refuse(f"the picture can't be written ({error}): give another --output")
    return path


def _show_json(figures: list[dict[str, Any]], picture: Path | None) -> None:
    first, *others = figures
    found = {**first, "picture": str(picture) if picture else None}
    terminal.show_json(found | {"compared": others[0]} if others else found)


def _show(figures: list[dict[str, Any]]) -> None:
    columns = ("", *(str(one["scenario"]) for one in figures))
    rows = [(label, *(say(one) for one in figures)) for label, say in ROWS]
    terminal.show_table(columns, rows)


def _people(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda found: f"{found[name]:,}"


def _hours(name: str) -> Callable[[dict[str, Any]], str | None]:
    return lambda found: None if found[name] is None else f"{found[name]:,.1f} hours"


def _share(name: str) -> Callable[[dict[str, Any]], str | None]:
    return lambda found: None if found[name] is None else f"{found[name]:.0%}"


def _seats(found: dict[str, Any]) -> str:
    return f"{found['seats_used']:,} of {found['capacity']:,}"


def _limits(found: dict[str, Any]) -> str:
    hours = found["limited_hours"].items()
    return ", ".join(f"{limit} {number:,.0f}" for limit, number in hours if number >= HALF_AN_HOUR)


ROWS: tuple[tuple[str, Callable[[dict[str, Any]], str | None]], ...] = (
    ("people", _people("people")),
    ("of them imported", _people("imported")),
    ("joined", _people("joined")),
    ("told to try again", _people("refused")),
    ("turned away", _people("turned_away")),
    ("confirmed", _people("confirmed")),
    ("invited", _people("invited")),
    ("registered", _people("registered")),
    ("didn't come in time", _people("no_shows")),
    ("longest line", _people("longest_line")),
    ("still waiting", _people("still_waiting")),
    ("half waited at most", _hours("wait_median")),
    ("nine in ten at most", _hours("wait_p90")),
    ("seats used", _seats),
    ("most seats over capacity", _people("seats_over_capacity")),
    ("peak of the load", _share("load_peak")),
    ("use of the capacity", _share("capacity_use")),
    ("waits within the range told", _share("estimate_coverage")),
    ("estimates scored", _people("estimates")),
    ("mails", _people("mails")),
    ("hours limited by", _limits),
)
