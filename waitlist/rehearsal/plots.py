"""A rehearsal as a picture: six panels over time; two rehearsals stand side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from waitlist.rehearsal.arrays import Numbers
from waitlist.rehearsal.curves import by_point, in_days, per_hour, points, runs, step
from waitlist.rehearsal.record import LIMITS, Played

COLOURS = (
    *("#0b5fa5", "#c2500f", "#3d7a1f", "#7b3f98", "#a3123f"),
    *("#00808a", "#8a6d00", "#555555", "#d05fa2", "#5aa02c"),
)
BAND = {
    "nobody": "#e6e6e6",
    "rate": "#9cc3e6",
    "capacity": "#f2b48a",
    "mail": "#c9a6de",
    "paused": "#8c8c8c",
    "health": "#e58fa8",
    "bounces": "#e0cf6a",
    "slowed": "#f3c6d1",
}
WORDS = {"nobody": "nobody waits", "slowed": "by a rate that is slowed"}
OF_ONE_SIZE = 8  # times as large, at most: else the smaller one would be flat
CROWDED = 15  # times as many join as are let in: only a logarithm shows both
BENEATH = (-0.05, 0.04)  # the axis: where a band begins, and its height
STYLE: Any = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "figure.facecolor": "white",
}

Panel = Callable[[Axes, Played], None]


def draw(all_played: Sequence[Played], path: Path) -> None:
    """Save the picture of one rehearsal, or of two beside each other, as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        figure = _single(all_played[0]) if len(all_played) == 1 else _beside(all_played)
        figure.savefig(path, dpi=110)


def _single(played: Played) -> Figure:
    figure = Figure(figsize=(13, 12), layout="constrained")
    figure.suptitle(_title(played), fontsize=15, fontweight="bold", x=0.01, ha="left")
    for panel, axes in zip(PANELS, figure.subplots(3, 2).flat, strict=True):
        panel(axes, played)
        _time(axes, played)
    return figure


def _beside(all_played: Sequence[Played]) -> Figure:
    figure = Figure(figsize=(14, 20), layout="constrained")
    grid = figure.add_gridspec(1, len(all_played))
    columns = [figure.add_subfigure(grid[nth]) for nth in range(len(all_played))]
    for column, played in zip(columns, all_played, strict=True):
        column.suptitle(_title(played), fontsize=13, fontweight="bold", x=0.02, ha="left")
        for panel, axes in zip(PANELS, column.subplots(len(PANELS), 1).flat, strict=True):
            panel(axes, played)
            _time(axes, played)
    _same_scales([column.axes for column in columns])
    return figure


def _same_scales(columns: Sequence[Sequence[Axes]]) -> None:
    """Beside each other the same height is the same number, if they are of one size."""
    for beside in zip(*columns, strict=True):
        tops = [axes.get_ylim()[1] for axes in beside]
        if (top := max(tops)) > OF_ONE_SIZE * min(tops):
            continue
        scale = "log" if any(axes.get_yscale() == "log" for axes in beside) else "linear"
        for axes in beside:
            if scale == "log":
                _logarithmic(axes)
            axes.set_ylim(1 if scale == "log" else 0, top)


def _title(played: Played) -> str:
    return f"{played.scenario.title or played.scenario.name} · seed {played.seed}"


def _line(axes: Axes, played: Played) -> None:
    axes.set_title("People waiting")
    waiting = played.series["waiting"]
    for nth in _shown(waiting):
        _plot(axes, played, waiting[nth], _name(played, nth), COLOURS[nth % len(COLOURS)])
    if len(_shown(waiting)) > 1:
        _plot(axes, played, waiting.sum(axis=0), "everyone", "#222222", linestyle=":")
    _people(axes)


def _wait(axes: Axes, played: Played) -> None:
    axes.set_title("Wait of those let in, since they joined (hours)")
    waits = played.series["wait"] / 3_600
    admitted = played.series["admitted"]
    for nth in _shown(admitted):
        first_time = np.where(np.isnan(waits[nth]), 0, admitted[nth])
        mean = by_point(played, waits[nth], weights=first_time)
        colour = COLOURS[nth % len(COLOURS)]
        axes.plot(points(played), mean, color=colour, label=_name(played, nth))
    axes.set_ylim(bottom=0)
    _legend(axes)


def _admissions(axes: Axes, played: Played) -> None:
    axes.set_title("People an hour")
    for name, label, colour in (
        ("joined", "joined", COLOURS[3]),
        ("confirmed", "confirmed", COLOURS[2]),
        ("admitted", "let in", COLOURS[0]),
        ("registered", "registered", COLOURS[1]),
    ):
        _plot(axes, played, played.total(name) * per_hour(played), label, colour)
    _people(axes)
    if played.total("joined").max() > CROWDED * played.total("admitted").max():
        _logarithmic(axes)


def _seats(axes: Axes, played: Played) -> None:
    axes.set_title("Seats")
    taken, held = played.total("in"), played.total("unmailed") + played.total("invited")
    axes.stackplot(
        points(played),
        by_point(played, taken),
        by_point(played, held),
        labels=("taken: registered", "held: invited"),
        colors=("#0b5fa5", "#9cc3e6"),
    )
    capacity = played.series["capacity"]
    _plot(axes, played, capacity, "capacity", "#222222", linestyle="--")
    _people(axes)


def _load(axes: Axes, played: Played) -> None:
    axes.set_title("The product's load, as a share of its limit")
    if played.scenario.product is None:
        axes.text(0.5, 0.5, "no product is part of this scenario", ha="center", color="#555555")
        axes.set_ylim(0, 1)
        return
    axes.axhline(1, color="#a3123f", linestyle="--", linewidth=1.2, label="where it slows")
    axes.axhline(
        played.scenario.product.target, color="#3d7a1f", linestyle=":", label="what is aimed at"
    )
    _plot(axes, played, played.series["load"], "load", COLOURS[0])
    _plot(axes, played, played.series["factor"], "factor on the rate", "#777777", linewidth=1.0)
    axes.set_ylim(0, max(1.15, played.series["load"].max() * 1.1))
    _legend(axes)


def _refusals(axes: Axes, played: Played) -> None:
    axes.set_title("Refused an hour, and what held admission back")
    bounced = np.diff(played.total("bounced"), prepend=0)
    for values, label, colour in (
        (played.total("refused"), "told to try again later", COLOURS[1]),
        (played.total("expired"), "didn't come in time", COLOURS[3]),
        (bounced, "mails refused for good", COLOURS[4]),
    ):
        if values.any():
            _plot(axes, played, values * per_hour(played), label, colour)
    axes.set_ylim(bottom=0)
    limit, width = played.series["limit"].astype(int), step(played)
    for code in np.unique(limit):
        axes.broken_barh(
            [(begin * width, length * width) for begin, length in runs(limit == code)],
            BENEATH,
            transform=axes.get_xaxis_transform(),
            color=BAND[LIMITS[code]],
            label=WORDS.get(LIMITS[code], f"by {LIMITS[code]}"),
            clip_on=False,
        )
    axes.tick_params(axis="x", pad=12)
    _people(axes, columns=2)


PANELS: tuple[Panel, ...] = (_line, _wait, _admissions, _seats, _load, _refusals)


def _shown(values: Numbers) -> list[int]:
    """The cohorts that have anything to show, the greatest ten of them."""
    greatest = np.nanmax(values, axis=1)
    order = np.argsort(-greatest, kind="stable")[: len(COLOURS)]
    return sorted(int(nth) for nth in order if greatest[nth] > 0)


def _name(played: Played, nth: int) -> str:
    return played.scenario.cohorts[nth].name


def _plot(
    axes: Axes, played: Played, values: Numbers, label: str, colour: str, **style: Any
) -> None:
    means = by_point(played, values)
    axes.plot(points(played), means, color=colour, label=label, **style)


def _time(axes: Axes, played: Played) -> None:
    axes.set_xlim(0, played.scenario.steps * step(played))
    axes.set_xlabel("days" if in_days(played) else "hours")
    axes.tick_params(labelbottom=True)


def _people(axes: Axes, columns: int = 1) -> None:
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    _legend(axes, columns)


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.set_ylim(bottom=1)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _legend(axes: Axes, columns: int = 1) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", ncols=columns)


def _short(people: float) -> str:
    """A number of people as an axis shows it: 1.5 M, 200 k."""
    for size, sign in ((1_000_000, " M"), (1_000, " k")):
        if abs(people) >= size:
            return f"{people / size:g}{sign}"
    return f"{people:g}"
