"""`flask rehearse`: a launch in accelerated time, before the one that counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from waitlist.cli import terminal
from waitlist.config import ROOT
from waitlist.rehearsal import Played, play
from waitlist.rehearsal.reading import find
from waitlist.rehearsal.summary import summary

PICTURES = ROOT / "build" / "rehearsals"


@click.command("rehearse")
@click.argument("scenario")
@click.option("--compare", "other", metavar="SCENARIO", help="Play this one too, beside it.")
@click.option("--seed", type=click.IntRange(0), help="Another run of chance than the scenario's.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="The picture's file (PNG).")
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
    played = [play(one, seed) for one in scenarios]
    figures = [summary(one) for one in played]
    picture = None if no_picture else _draw(played, output)
    if as_json:
        _show_json(figures, picture)
        return
    _show(figures)
    if picture:
        click.echo(f"The picture: {picture}")


def _draw(played: list[Played], output: Path | None) -> Path:
    from waitlist.rehearsal import plots  # matplotlib takes half a second, and only this wants it

    names = "-and-".join(one.scenario.name for one in played)
    path = output or PICTURES / f"{names}.png"
    plots.draw(played, path)
    return path


def _show_json(figures: list[dict[str, Any]], picture: Path | None) -> None:
    first, *others = figures
    found = {**first, "picture": str(picture) if picture else None}
    terminal.show_json(found | {"compared": others[0]} if others else found)
