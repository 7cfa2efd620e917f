"""What the rows share: copies of the service, hello world, a mail sink, and the peak once found."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import NamedTuple

from tests.bench import ceilings, wrk
from tests.bench.bars import Unmeasured
from tests.bench.scale import Scale
from tests.bench.service import Service, service

TRIAL = 0.6  # seconds for each number of connections that is tried


class Peak(NamedTuple):
    """The number of connections at which most is answered, and how much."""

    connections: int
    rate: float


class Stand:
    """Starts what a row needs when it is first asked for; `stack` ends it all."""

    def __init__(
        self, scale: Scale, stack: contextlib.ExitStack, tell: Callable[[str], None]
    ) -> None:
        self.scale, self.stack, self.tell = scale, stack, tell
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="wl-bench-"))
        self.folder = Path(folder)
        self.handles = count(1)
        self._services: dict[int, Service] = {}
        self._peaks: dict[str, Peak] = {}

    def at(self, people: int) -> Service:
        """A running copy on SQLite with so many people in line."""
        if people not in self._services:
            self.tell(f"filling a line of {people:,}")
            one = self.stack.enter_context(service(people, self.mail_port))
            ceilings.as_the_service(one.engine)
            self._services[people] = one
        return self._services[people]

    @property
    def big(self) -> Service:
        """The copy with the longest line."""
        return self.at(self.scale.people)

    @cached_property
    def mail_port(self) -> int:
        """The port of the mail sink."""
        return self.stack.enter_context(ceilings.mail_sink(self.folder))

    @cached_property
    def hello_url(self) -> str:
        """Where hello world answers."""
        return self.stack.enter_context(ceilings.hello_world(self.folder))

    @cached_property
    def hello_peak(self) -> Peak:
        """How hello world does best."""
        return self._best(lambda connections: self._hello(connections, TRIAL).rate(200))

    def hello(self) -> float:
        """Answers a second of hello world now, at its best."""
        return self._hello(self.hello_peak.connections, self.scale.ceiling_seconds).rate(200)

    def paced_hello(self, connections: int, rate: float) -> wrk.Load:
        """Hello world at a given rate."""
        return self._hello(connections, self.scale.seconds, rate)

    def peak(self, one: Service) -> Peak:
        """The connections at which this copy answers most joins."""
        if one.url not in self._peaks:
            self.tell("looking for the peak of joins")
            wrk.join(one.url, connections=8, seconds=1)  # the first answers pay for caches
            self._peaks[one.url] = self._best(
                lambda connections: wrk.join(one.url, connections=connections, seconds=TRIAL).rate(
                    202
                )
            )
        return self._peaks[one.url]

    def _hello(self, connections: int, seconds: float, rate: float = 0) -> wrk.Load:
        return wrk.get(
            self.hello_url,
            ["/"],
            self.folder,
            connections=connections,
            seconds=seconds,
            rate=rate,
        )

    def _best(self, measure: Callable[[int], float]) -> Peak:
        tried = [Peak(connections, measure(connections)) for connections in self.scale.connections]
        best = max(tried, key=lambda peak: peak.rate)
        if not best.rate:
            raise Unmeasured("nothing was answered")
        return best
