"""The loop through the product's health, as it turns in a rehearsal."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime

from waitlist.policy import health
from waitlist.policy.health import Loop, Marks, Signal
from waitlist.rehearsal.learning import Learned
from waitlist.rehearsal.product import Said
from waitlist.rehearsal.scenario import Product


class Steering:
    """What the gate makes of the product's signals."""

    def __init__(self, product: Product) -> None:
        self.marks = Marks(product.target, product.slow_ms, product.stale)
        self.signal: Signal | None = None
        self.loop: Loop | None = None
        self.arrivals: deque[tuple[datetime, int]] = deque()
        self.ignored_until: datetime | None = None
        self.factor = 1.0
        self.why = "stale"  # the word for why nobody may be let in, if so

    def arrive(self, registered: int, now: datetime) -> None:
        """So many finished by now."""
        self.arrivals.append((now, registered))
        while now - self.arrivals[0][0] >= health.PERIOD:
            self.arrivals.popleft()

    def steer(
        self,
        said: Said | None,
        rate: int,
        learned: Learned,
        open_by_age: Mapping[int, int],
        now: datetime,
    ) -> None:
        """Take a signal, if one came, and set the factor by what was said last."""
        if said is not None:
            self.signal = Signal(said.healthy, said.load, said.p95_ms, now)
        if self.ignored_until is not None and now < self.ignored_until:
            self.factor, self.why = 1.0, ""
            return
        if self.signal is None:
            return
        arrivals = sum(people for _, people in self.arrivals)
        flow = health.flow(rate, arrivals, learned.curve, open_by_age)
        if self.loop is None:
            self.loop = health.begin(self.signal, self.marks, flow, now)
        else:
            self.loop = health.step(self.loop, self.signal, self.marks, flow, now)
        self.factor = health.factor(self.loop, flow)
        self.why = health.holds_ticks(self.loop, self.signal, self.marks, flow, now)
