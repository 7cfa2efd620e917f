"""How much is measured: quickly, as usual, or in full."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

RUNS = 3  # the median of so many, each beside its ceiling


@dataclass(frozen=True)
class Scale:
    """Sizes in people, lengths in seconds."""

    name: str
    sizes: tuple[int, ...]  # of the line, for what must cost the same at each
    seconds: float  # of one run of a row
    ceiling_seconds: float  # of one run of its ceiling
    connections: tuple[int, ...]  # among which the peak is looked for; more only wait longer
    postgres_people: int
    wave: int
    file_rows: int
    pauses: int = RUNS  # of the gate, beside the flood
    runs: int = RUNS

    @property
    def is_drawn(self) -> bool:
        """Whether plots are drawn of it, so that what only they need is measured."""
        return self.name != "quick"

    @property
    def people(self) -> int:
        """How many people wait where nothing else is said."""
        return self.sizes[-1]


QUICK = Scale("quick", (10**4, 10**5), 0.6, 0.6, (64, 512), 10**4, 3_000, 10_000, 1)
DEFAULT = Scale("default", (10**4, 10**5, 10**6), 4, 3, (16, 64, 256, 512), 10**5, 10_000, 200_000)
FULL = Scale("full", (10**4, 10**5, 10**6, 10**7), 6, 4, (16, 64, 256, 512), 10**6, 10_000, 10**6)


def chosen(environ: Mapping[str, str]) -> Scale:
    """The scale that QUICK=1 or FULL=1 asks for; the usual one without."""
    if environ.get("QUICK"):
        return QUICK
    return FULL if environ.get("FULL") else DEFAULT
