"""The line in Redis: a projection of SQL, and the only owner of its keys.

A line answers only if its epoch is the one that SQL names, so a flushed, foreign or
half-filled Redis is noticed, whatever it holds. Knows Redis only; every failure of it,
and a line that isn't valid, is `LineUnavailable`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from redis import Redis
from redis.exceptions import RedisError

from waitlist.errors import LineUnavailable
from waitlist.members import SPELLING, entry_id, member

SCRIPTS = {path.stem: path.read_text() for path in (Path(__file__).parent / "lua").glob("*.lua")}
PAGE = 1_000  # people read at once: larger pages leave the CPU's cache, and were slower
FILLING_TTL = 900  # seconds after which an abandoned filling is gone

Standing = tuple[int, int]  # rank and id of somebody in a line: they compare as they stand


class Change(NamedTuple):
    """What SQL says of one person: the version of it, and the rank (None: not in this line)."""

    entry_id: int
    version: int
    rank: int | None


class Head(NamedTuple):
    """Somebody at the front."""

    entry_id: int
    rank: int


class Place(NamedTuple):
    """A position (people ahead + 1; None: not in the line) and the line's length."""

    position: int | None
    length: int | None


NOWHERE = Place(None, None)


@dataclass(frozen=True)
class Line:
    """One cohort's line, as filled under one epoch."""

    client: Redis
    cohort: str
    epoch: str
    filling: str = ""

    def apply(self, changes: Iterable[Change], *, read_at: int) -> None:
        """Bring these people to what SQL said of them after `read_at`; older news is ignored."""
        triples: list[str] = []
        for entry, version, rank in changes:
            triples += (member(entry), str(version), "" if rank is None else str(rank))
        words = [self._mark, read_at, json.dumps(triples)]
        applied = self._script("apply", ("line", "epoch"), words, ("versions", "applied"))
        if applied < 0:
            raise LineUnavailable("the line has another epoch, or SQL was read too long ago")

    def welcome(self, people: Iterable[Standing], *, read_at: int) -> None:
        """Add people who are new, as SQL said after `read_at`; at most `PAGE`, at least one.

        Whoever Redis knows something newer of is passed over: see the script.
        """
        words: list[Any] = [self._mark, read_at]
        for rank, one in people:
            words += [rank, member(one)]
        if self._script("welcome", ("line", "epoch"), words, ("versions",)) < 0:
            raise LineUnavailable("the line has another epoch, or SQL was read too long ago")

    def heads(self, how_many: int, *, run_id: str) -> list[Head]:
        """Those at the front, front first, from the very server that `run_id` names."""
        flat = self._script("heads", ("line", "epoch"), [self._mark, how_many, run_id])
        if flat is None:
            raise LineUnavailable("the line was lost and isn't rebuilt yet")
        return [Head(entry_id(one), int(rank)) for one, rank in zip(*[iter(flat)] * 2, strict=True)]

    def place(self, whose: int) -> Place:
        """Where this person stands."""
        return self.places([whose])[whose]

    def places(self, people: Sequence[int]) -> dict[int, Place]:
        """Where each of these stands, at one moment."""
        found = self._script("places", ("line", "epoch"), [self._mark, *map(member, people)])
        if found is None:
            raise LineUnavailable("the line isn't rebuilt yet")
        length, *ahead = found
        return {
            whose: Place(before + 1 if before >= 0 else None, length)
            for whose, before in zip(people, ahead, strict=True)
        }

    def at(self, ahead: Sequence[int]) -> dict[int, int]:
        """Who has so many people ahead, for each of these numbers; without those beyond the end."""
        found = self._script("at", ("line", "epoch"), [self._mark, *ahead])
        if found is None:
            raise LineUnavailable("the line isn't rebuilt yet")
        return {before: entry_id(one) for before, one in zip(ahead, found, strict=True) if one}

    def length(self) -> int:
        """How many people are in the line."""
        return self.place(0).length or 0

    def pages(self) -> Iterator[list[Standing]]:
        """Everybody, front first, in pages of `PAGE`."""
        start = 0
        while True:
            with _redis_errors():
                page: Any = self.client.zrange(
                    self._key("line"), start, start + PAGE - 1, withscores=True
                )
            yield [(int(rank), entry_id(one)) for one, rank in page]
            if len(page) < PAGE:
                return
            start += PAGE

    def is_valid(self) -> bool:
        """Whether Redis holds this line under this epoch."""
        with _redis_errors():
            return bool(self.client.get(self._key("epoch")) == self._mark)

    def drop(self) -> None:
        """Free the memory of this line, if Redis still has it; SQL names another epoch."""
        self._script("drop", ("line", "epoch"), [self._mark])

    def fresh(self) -> Line:
        """An empty filling of this line, to be filled and swapped in; gone if abandoned."""
        filling = Line(self.client, self.cohort, self.epoch, f":{secrets.token_hex(8)}")
        with _redis_errors():
            self.client.set(filling._key("epoch"), self._mark, ex=FILLING_TTL)
        return filling

    def fill(self, people: Iterable[Standing]) -> None:
        """Add people, at least one, to a fresh filling."""
        ranks: dict[Any, Any] = {member(one): rank for rank, one in people}
        with _redis_errors():
            pipe = self.client.pipeline(transaction=False)
            pipe.zadd(self._key("line"), ranks)
            pipe.expire(self._key("line"), FILLING_TTL)
            pipe.execute()

    def swap(self) -> None:
        """Put this filling in the place of the line."""
        whole = Line(self.client, self.cohort, self.epoch)
        keys = [self._key("line"), self._key("epoch"), whole._key("line"), whole._key("epoch")]
        with _redis_errors():
            swapped = self.client.register_script(SCRIPTS["swap"])(keys=keys, args=[self._mark])
        if not swapped:
            raise LineUnavailable("the filling was lost; rebuild again")

    @property
    def _mark(self) -> str:
        """What the line's epoch key holds: a line of another spelling isn't this line."""
        return f"{SPELLING}:{self.epoch}"

    def _key(self, name: str) -> str:
        return f"{{waitlist:{self.cohort}}}:{name}{self.filling}"

    def _script(
        self, name: str, own: tuple[str, ...], args: list[Any], shared: tuple[str, ...] = ()
    ) -> Any:
        whole = Line(self.client, self.cohort, self.epoch)
        keys = [self._key(key) for key in own] + [whole._key(key) for key in shared]
        with _redis_errors():
            return self.client.register_script(SCRIPTS[name])(keys=keys, args=args)


def run_id(client: Redis) -> str:
    """Which run of the Redis server this is; a restart, or a failover, has another."""
    with _redis_errors():
        return str(client.info("server")["run_id"])


def clock(client: Redis) -> int:
    """The Redis server's time, in whole unix seconds."""
    with _redis_errors():
        return int(client.time()[0])


@contextmanager
def _redis_errors() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise LineUnavailable("Redis doesn't answer") from error
