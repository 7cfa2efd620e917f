"""Scenarios from TOML, strictly: what is unknown or impossible is refused by its key's name.

What a key may be is told by the annotation of its field in `scenario`.
"""

from __future__ import annotations

import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from waitlist.errors import ScenarioInvalid
from waitlist.rehearsal import checks, records
from waitlist.rehearsal.scenario import Duration, Kind, Recorded, Scenario, Steady, Surge

SHIPPED = Path(__file__).parent / "scenarios"
UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}
PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h|d)\b")
ARRIVALS = {"steady": Steady, "surge": Surge, "recorded": Recorded}
T = TypeVar("T")


def find(name: str) -> Scenario:
    """The shipped scenario of that name, or the one in that file; `ScenarioInvalid` else."""
    shipped = {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}
    path = shipped.get(name, Path(name))
    if not path.is_file():
        raise ScenarioInvalid(
            f"there is no scenario {name!r}, nor a file of that name; "
            f"there are: {', '.join(shipped)}{checks.nearest(name, shipped)}"
        )
    return read(path.read_bytes(), path.stem, folder=path.parent)


def read(toml: bytes, name: str, *, folder: Path = Path()) -> Scenario:
    """The scenario that this TOML tells; files that it names are looked for in `folder`."""
    try:
        table = tomllib.loads(toml.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioInvalid(f"{name} is no TOML: {error}") from error
    records.put_in(table, folder)
    return checks.checked(_table(Scenario, {"name": name} | table, ""))


def _table(kind: type[T], table: object, where: str) -> T:
    """What a table says, as one of `kind`."""
    if not isinstance(table, Mapping):
        raise ScenarioInvalid(f"{where or 'a scenario'} must be a table, not {table!r}")
    hints = typing.get_type_hints(kind, include_extras=True)
    if unknown := [key for key in table if key not in hints]:
        raise ScenarioInvalid(
            f"{_key(where, unknown[0])} is unknown; there are: {', '.join(hints)}"
            f"{checks.nearest(unknown[0], hints)}"
        )
    for field in fields(kind):  # type: ignore[arg-type]
        needed = field.default is MISSING and field.default_factory is MISSING
        if needed and field.name not in table:
            wanted = _words(hints[field.name])
            raise ScenarioInvalid(f"{_key(where, field.name)} is missing: it is {wanted}")
    return kind(**{key: _value(hints[key], one, _key(where, key)) for key, one in table.items()})


def _value(hint: Any, value: object, where: str) -> Any:
    """A value as its annotation wants it; `ScenarioInvalid` if it can't be that."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint == Steady | Surge | Recorded:
        return _arrivals(value, where)
    if origin in (types.UnionType, typing.Union):
        if value == "never" and Duration in inner:
            return None
        return _value(next(one for one in inner if one is not types.NoneType), value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise ScenarioInvalid(f"{where} is a list: write [[{where}]], or [1, 2, 3] of numbers")
        return tuple(_value(inner[0], one, f"{where}[{nth}]") for nth, one in enumerate(value, 1))
    if is_dataclass(hint):
        return _table(typing.cast("type[Any]", hint), value, where)
    found = _plain(hint, value)
    if found is None:
        raise ScenarioInvalid(f"{where} is {_words(hint)}, not {value!r}")
    return found


def _plain(hint: Any, value: object) -> Any:
    """A single value, or None if it isn't what is wanted."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        return value if value in typing.get_args(hint) else None
    if origin is not typing.Annotated:
        return _exactly(hint, value)
    base, kind = typing.get_args(hint)
    found = _duration(value) if base is timedelta else _number(base, value)
    size = found.total_seconds() if isinstance(found, timedelta) else found
    return found if size is not None and kind.least <= size <= kind.most else None


def _exactly(hint: type, value: object) -> Any:
    if hint is datetime and isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return value if type(value) is hint else None


def _number(base: type, value: object) -> float | None:
    if type(value) is base or (base is float and type(value) is int):
        return typing.cast("float", value)
    return None


def _duration(value: object) -> timedelta | None:
    if not isinstance(value, str):
        return None
    parts = PART.findall(value)
    if not parts or PART.sub("", value).strip():
        return None
    try:
        return sum((timedelta(**{UNITS[unit]: float(n)}) for n, unit in parts), timedelta())
    except OverflowError:
        return None


def _words(hint: Any) -> str:
    """What a value must be, in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated and isinstance(inner[1], Kind):
        return str(inner[1].words)
    if origin in (types.UnionType, typing.Union):
        return _words(inner[0])
    if origin is Literal:
        return " or ".join(inner)
    return {bool: "true or false", str: "a text", datetime: "a date with its time"}.get(
        hint, "a table"
    )


def _arrivals(value: object, where: str) -> Any:
    """Arrivals of the kind that they name."""
    if not isinstance(value, Mapping) or value.get("kind") not in ARRIVALS:
        said = value.get("kind") if isinstance(value, Mapping) else value
        words = f"{where}.kind is {' or '.join(ARRIVALS)}, not {said!r}"
        raise ScenarioInvalid(f"{words}{checks.nearest(str(said), ARRIVALS)}")
    rest = {key: one for key, one in value.items() if key != "kind"}
    return _table(ARRIVALS[value["kind"]], rest, where)


def _key(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
