"""What is published of a run: two plots and the table in `docs/performance.md`."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from tests.bench.bars import BARS, UNSTEADY, Row
from tests.bench.scale import Scale
from waitlist.config import ROOT

PAGE = ROOT / "docs" / "performance.md"
FOLDER = ROOT / "docs" / "plots"
BEGIN, END = "<!-- the last run: make bench writes this -->", "<!-- end of the last run -->"
COLOURS = {"join": "#0b5fa5", "place": "#b3470c", "admission": "#3d7a1f", "leaving": "#7b3f98"}


def publish(rows: Mapping[str, Row], scale: Scale, load: float) -> None:
    """Draw both plots, and put the run's table into the page."""
    mpl.use("agg")
    mpl.rcParams.update({"svg.hashsalt": "waitlist", "svg.fonttype": "path", "font.size": 11})
    FOLDER.mkdir(exist_ok=True)
    if "curve" in rows["flat"].more:
        _save(_by_size(rows["flat"].more["curve"]), "by-line-length")
    if "curve" in rows["overload"].more:
        _save(_by_load(rows["overload"].more["curve"]), "overload")
    _write_table(rows, scale, load)


def cells(row: Row) -> tuple[str, str, str, str, str, str, str]:
    """A row as the table shows it."""
    bar = BARS[row.name]
    verdict = "holds" if row.holds else "no"
    spread = row.more.get("ceiling_spread") or 1
    if spread >= UNSTEADY:
        verdict += f" (unsteady: ceilings differ ×{spread:.1f})"
    sign = "≤" if bar.at_most else "≥"
    return (
        row.name,
        f"{row.size:,}" if row.size else "",
        f"{_number(row.figure)} {bar.unit}" if row.figure is not None else "–",
        _number(row.ceiling),
        f"{row.ratio:.2f}" if row.ratio is not None else "",
        f"{sign} {bar.bar:,}",
        f"{verdict}: {row.reason}" if row.reason else verdict,
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def _by_size(curve: Mapping[str, Mapping[int, float]]) -> Figure:
    figure, axes = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    for what, costs in curve.items():
        label = "admission of 1,000" if what == "admission" else what
        axes.plot(list(costs), list(costs.values()), "o-", color=COLOURS[what], label=label)
    axes.set(xscale="log", yscale="log", xlabel="people in line", ylabel="milliseconds, median")
    axes.set_title("What one of each costs, by the length of the line")
    axes.grid(visible=True, which="both", alpha=0.25)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _by_load(curve: list[dict[str, float]]) -> Figure:
    figure, axes = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    at = [point["connections"] for point in curve]
    for what, colour in (("answered", "#0b5fa5"), ("shed", "#b3470c")):
        axes.plot(
            at, [point[what] for point in curve], "o-", color=colour, label=f"{what}, a second"
        )
    late = axes.twinx()
    late.plot(at, [point["p99"] for point in curve], "s--", color="#555555", label="p99, ms")
    late.set(ylabel="milliseconds", ylim=(0, None))
    axes.set(xscale="log", xlabel="connections", ylabel="joins a second", ylim=(0, None))
    axes.set_xticks(at, [f"{round(number)}" for number in at])
    axes.minorticks_off()
    axes.set_title("Joins from half the peak's connections to four times")
    axes.grid(visible=True, alpha=0.25)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _save(figure: Figure, name: str) -> None:
    """As PNG and SVG, on white, the same bytes for the same figures."""
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        figure.savefig(FOLDER / f"{name}.{kind}", dpi=144, facecolor="white", metadata=metadata)
    plt.close(figure)


def _write_table(rows: Mapping[str, Row], scale: Scale, load: float) -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    heads = ("row", "size", "figure", "ceiling", "ratio", "bar", "")
    shown = [heads, ("---",) * len(heads), *(cells(rows[name]) for name in BARS)]
    lines = ["| " + " | ".join(line) + " |" for line in shown]
    when = f"{datetime.now(UTC):%Y-%m-%d}, {scale.name}, {_machine()}, load {load:.1f} before it."
    PAGE.write_text(f"{before}{BEGIN}\n{when}\n\n" + "\n".join(lines) + f"\n{END}{after}")


def _machine() -> str:
    found = Path("/proc/cpuinfo")
    told = found.read_text().splitlines() if found.exists() else []
    models = [line.partition(":")[2].strip() for line in told if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    return f"{os.cpu_count()} cores ({model}), Python {platform.python_version()}"
