"""The points of a rehearsal's curves: fewer than its steps, in the unit of the time axis."""

from __future__ import annotations

import numpy as np

from waitlist.rehearsal.arrays import Numbers
from waitlist.rehearsal.record import Played

POINTS = 240  # of a curve, at most


def by_point(played: Played, values: Numbers, weights: Numbers | None = None) -> Numbers:
    """The mean of the steps of each point; weighted, where weights are given."""
    edges = _edges(played)
    if weights is None:
        means: Numbers = np.add.reduceat(values, edges) / np.diff([*edges, len(values)])
        return means
    sums = np.add.reduceat(np.nan_to_num(values) * weights, edges)
    of = np.add.reduceat(weights, edges).astype(float)
    means = np.full(len(edges), np.nan)
    np.divide(sums, of, where=of > 0, out=means)
    return means


def _edges(played: Played) -> Numbers:
    steps = played.scenario.steps
    return np.unique(np.arange(POINTS) * steps // POINTS) if steps > POINTS else np.arange(steps)


def points(played: Played) -> Numbers:
    """Where each point is on the time axis."""
    edges = _edges(played)
    return (edges + np.diff([*edges, played.scenario.steps]) / 2) * step(played)


def runs(holds: Numbers) -> list[tuple[int, int]]:
    """Where true values begin, and how many there are in a row."""
    changes = np.diff(holds.astype(int), prepend=0, append=0)
    begins, ends = np.flatnonzero(changes == 1), np.flatnonzero(changes == -1)
    return list(zip(begins.tolist(), (ends - begins).tolist(), strict=True))


def in_days(played: Played) -> bool:
    """Whether the time axis is told in days rather than hours."""
    return bool(played.hours[-1] > 96)


def step(played: Played) -> float:
    """A step in the unit of the time axis."""
    return float(played.hours[0]) / (24 if in_days(played) else 1)


def per_hour(played: Played) -> float:
    """How many steps an hour has."""
    return 1 / float(played.hours[0])
