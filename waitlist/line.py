"""The line in Redis: a projection of SQL, and the only owner of its keys.

A line answers only if its epoch is the one that SQL names, so a flushed, foreign or
half-filled Redis is noticed, whatever it holds. Knows Redis only; every failure of it,
and a line that isn't valid, is `LineUnavailable`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from redis import Redis
from redis.exceptions import RedisError

from waitlist.errors import LineUnavailable

# Members are ids in five signs, base 64, in the order of ASCII: equal scores are ordered as
# text. Valkey keeps one in 76 bytes of memory, and in 89 as ten digits.
DIGITS = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
PAIRS = [first + second for first in DIGITS for second in DIGITS]
VALUES = {text: value for texts in (PAIRS, list(DIGITS)) for value, text in enumerate(texts)}
MOST_ID = 64**5 - 1
ENCODING = "base64x5"  # a line of another encoding has another epoch, and so is rebuilt

SCRIPTS = {path.stem: path.read_text() for path in (Path(__file__).parent / "lua").glob("*.lua")}
PAGE = 5_000
FILLING_TTL = 900  # seconds after which an abandoned filling is gone


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

    @property
    def stamp(self) -> str:
        """What stands beside a line that was filled under this epoch, in this encoding."""
        return f"{ENCODING}.{self.epoch}"

    def apply(self, changes: Iterable[Change], *, read_at: int) -> None:
        """Bring these people to what SQL said of them after `read_at`; older news is ignored."""
        words: list[Any] = [self.stamp, read_at]
        for change in changes:
            rank = "" if change.rank is None else change.rank
            words += [member(change.entry_id), change.version, rank]
        applied = self._script("apply", ("line", "epoch"), words, ("versions", "applied"))
        if applied < 0:
            raise LineUnavailable("the line has another epoch, or SQL was read too long ago")

    def heads(self, how_many: int, *, run_id: str) -> list[Head]:
        """Those at the front, front first, from the very server that `run_id` names."""
        with _redis_errors():
            pipe = self.client.pipeline(transaction=True)
            pipe.info("server")
            self.client.register_script(SCRIPTS["heads"])(
                keys=[self._key("line"), self._key("epoch")],
                args=[self.stamp, how_many],
                client=pipe,
            )
            info, flat = pipe.execute()
        if flat is None or info["run_id"] != run_id:
            raise LineUnavailable("the line was lost and isn't rebuilt yet")
        return [Head(entry_of(i), int(rank)) for i, rank in zip(flat[::2], flat[1::2], strict=True)]

    def place(self, entry_id: int) -> Place:
        """Where this person stands."""
        return self.places([entry_id])[entry_id]

    def places(self, entry_ids: Sequence[int]) -> dict[int, Place]:
        """Where each of these people stands, at one moment."""
        words = [self.stamp, *map(member, entry_ids)]
        found = self._script("places", ("line", "epoch"), words)
        if found is None:
            raise LineUnavailable("the line isn't rebuilt yet")
        length, *ahead = found
        return {
            entry_id: Place(people + 1 if people >= 0 else None, length)
            for entry_id, people in zip(entry_ids, ahead, strict=True)
        }

    def length(self) -> int:
        """How many people are in the line."""
        return self.place(0).length or 0

    def walk(self) -> Iterator[Head]:
        """Everybody, front first, a page at a time."""
        start = 0
        while True:
            with _redis_errors():
                page: Any = self.client.zrange(
                    self._key("line"), start, start + PAGE - 1, withscores=True
                )
            yield from (Head(entry_of(entry), int(rank)) for entry, rank in page)
            if len(page) < PAGE:
                return
            start += PAGE

    def is_valid(self) -> bool:
        """Whether Redis holds this line under this epoch."""
        with _redis_errors():
            return bool(self.client.get(self._key("epoch")) == self.stamp)

    def fresh(self) -> Line:
        """An empty filling of this line, to be filled and swapped in; gone if abandoned."""
        filling = Line(self.client, self.cohort, self.epoch, f":{secrets.token_hex(8)}")
        with _redis_errors():
            self.client.set(filling._key("epoch"), self.stamp, ex=FILLING_TTL)
        return filling

    def fill(self, people_by_rank: Iterable[tuple[int, int]]) -> None:
        """Add people (entry, rank) to a fresh filling."""
        with _redis_errors():
            pipe = self.client.pipeline(transaction=False)
            people: dict[Any, Any] = {member(entry_id): rank for entry_id, rank in people_by_rank}
            if people:
                pipe.zadd(self._key("line"), people)
                pipe.expire(self._key("line"), FILLING_TTL)
                pipe.execute()

    def swap(self) -> None:
        """Put this filling in the place of the line."""
        whole = Line(self.client, self.cohort, self.epoch)
        keys = [self._key("line"), self._key("epoch"), whole._key("line"), whole._key("epoch")]
        with _redis_errors():
            swapped = self.client.register_script(SCRIPTS["swap"])(keys=keys, args=[self.stamp])
        if not swapped:
            raise LineUnavailable("the filling was lost; rebuild again")

    def _key(self, name: str) -> str:
        return f"{{waitlist:{self.cohort}}}:{name}{self.filling}"

    def _script(
        self, name: str, own: tuple[str, ...], args: list[Any], shared: tuple[str, ...] = ()
    ) -> Any:
        whole = Line(self.client, self.cohort, self.epoch)
        keys = [self._key(key) for key in own] + [whole._key(key) for key in shared]
        with _redis_errors():
            return self.client.register_script(SCRIPTS[name])(keys=keys, args=args)


def member(entry_id: int) -> str:
    """The member of the sorted set that stands for this person."""
    if not 0 <= entry_id <= MOST_ID:
        raise OverflowError(f"entry {entry_id} has no place in a line of {MOST_ID} ids")
    return PAIRS[entry_id >> 18] + PAIRS[entry_id >> 6 & 4095] + DIGITS[entry_id & 63]


def entry_of(member: str) -> int:
    """The person for whom this member stands."""
    return VALUES[member[:2]] << 18 | VALUES[member[2:4]] << 6 | VALUES[member[4]]


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
