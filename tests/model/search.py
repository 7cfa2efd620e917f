"""What the model finds."""

from __future__ import annotations

from tests.model.explorer import Found, explore
from tests.model.guards import ALL
from tests.model.last_step import World, broken
from tests.model.service import Service


def search(without: str = "", promise: str = "P", *, most: int = 250_000) -> Found[World]:
    """How a promise is broken without these guards, or that none is in any state."""

    def breaks(world: World) -> str:
        why = broken(world)
        return why if why.startswith(promise) else ""

    guards = ALL - frozenset(without.split())
    return explore(World(), Service(guards).moves, breaks, most=most)
