"""Walking through every state that a model can come to, breadth first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

State = TypeVar("State", bound=Hashable)
Moves = Iterable[tuple[str, State]]


@dataclass(frozen=True)
class Found(Generic[State]):
    """How many states there are; or the promise that is broken, and the shortest way to it."""

    states: int
    broken: str = ""
    trace: tuple[str, ...] = ()
    last: State | None = None


def explore(
    start: State,
    moves: Callable[[State], Moves[State]],
    broken: Callable[[State], str],
    *,
    most: int,
) -> Found[State]:
    """Every state that can be reached from here, until one is `broken`; at most so many."""
    came: dict[State, tuple[State, str] | None] = {start: None}
    ahead = deque([start])
    while ahead:
        state = ahead.popleft()
        if why := broken(state):
            return Found(len(came), why, _trace(came, state), state)
        for name, reached in moves(state):
            if reached not in came:
                came[reached] = (state, name)
                ahead.append(reached)
        assert len(came) <= most, f"more than {most:,} states"
    return Found(len(came))


def _trace(came: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    names = []
    while (before := came[state]) is not None:
        state, name = before
        names.append(name)
    return tuple(reversed(names))
