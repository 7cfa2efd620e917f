"""The product behind the gate: whom it serves, how loaded it is, and what it says of itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from waitlist.rehearsal.scenario import Product, Scenario


class Said(NamedTuple):
    """A signal of the product, as it pushes them."""

    healthy: bool
    load: float
    p95_ms: float


class Serving:
    """A product whose load is its active people as a share of its limit.

    Its answers slow as those of a queue with one server do (M/M/1): by 1 / (1 - utilisation).
    """

    def __init__(self, scenario: Scenario, product: Product) -> None:
        self.product = product
        self.limit = product.limit
        self.step = scenario.step
        self.registered = np.zeros(scenario.steps, dtype=np.int64)
        self.busy_steps = max(1, round(product.busy_for / scenario.step))
        self.busy = self.all = 0

    def serve(self, step: int, registered: int) -> None:
        """So many registered in this step."""
        self.registered[step] = registered
        self.all += registered
        self.busy += registered
        if step >= self.busy_steps:
            self.busy -= int(self.registered[step - self.busy_steps])

    @property
    def load(self) -> float:
        """Active people as a share of the limit."""
        residual = self.product.residual
        return (self.busy * (1 - residual) + self.all * residual) / self.limit

    @property
    def p95_ms(self) -> float:
        """How long 95 of a hundred answers take at most."""
        return self.product.p95_ms / (1 - min(self.load / self.product.breaks_at, 0.99))

    def signal(self, step: int, rng: np.random.Generator) -> Said | None:
        """What it says of itself in this step, if it says anything."""
        every = max(1, round(self.product.signal_every / self.step))
        silent = any(one.holds(step * self.step) for one in self.product.silences)
        if step % every or silent:
            return None
        noise = (1 + self.product.noise * rng.standard_normal(2)).tolist()
        healthy = self.load < self.product.breaks_at
        return Said(healthy, max(0.0, self.load * noise[0]), max(0.0, self.p95_ms * noise[1]))
