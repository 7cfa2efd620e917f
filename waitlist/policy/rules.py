"""Which cohort a newcomer joins: ordered rules about what is told of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

from babel import Locale

from waitlist.errors import ValueRefused

PLATFORM_LENGTH = 20
CODE_LENGTH = 60
NO_COUNTRIES = frozenset(  # which Unicode's list of territories has beside those of ISO 3166
    "AC CP CQ DG EA EU EZ IC QO TA UN XA XB XK ZZ".split()  # noqa: SIM905
)


class Told(NamedTuple):
    """What is told of a newcomer, or what a rule asks for; None: nothing."""

    country: str | None = None  # ISO 3166 alpha-2
    platform: str | None = None  # in small letters
    code: str | None = None  # in capitals

    def attributes(self) -> dict[str, str]:
        """What is told, as it is kept with a person."""
        return {name: value for name, value in self._asdict().items() if value is not None}


NOTHING = Told()


class Rule(NamedTuple):
    """Whom everything fits that is asked for joins this cohort."""

    cohort_id: int
    asks: Told

    def fits(self, told: Told) -> bool:
        """Whether all that the rule asks for is told."""
        return all(asked in (None, said) for asked, said in zip(self.asks, told, strict=True))


def cohort_of(told: Told, rules: Iterable[Rule]) -> int | None:
    """The cohort of the first rule that fits; None if none does."""
    return next((rule.cohort_id for rule in rules if rule.fits(told)), None)


def told(fields: Mapping[str, object]) -> Told:
    """What these fields tell. Whatever can't be right is as if it wasn't told."""
    found = {name: _plain(fields.get(name)) for name in Told._fields}
    if not any(found.values()):
        return NOTHING
    return Told(
        country=country(found["country"]),
        platform=_short(found["platform"].lower(), PLATFORM_LENGTH),
        code=_short(found["code"].upper(), CODE_LENGTH),
    )


def country(words: str) -> str | None:
    """The code of a country, in capitals, or None for what isn't one (ISO 3166 alpha-2)."""
    code = words.upper()
    return code if code in _countries() else None


def asking(*, country: str | None, platform: str | None, code: str | None) -> Told:
    """What a rule of an operator asks for; `ValueRefused` for what nobody could tell."""
    given = {"country": country, "platform": platform, "code": code}
    found = told(given)
    if country is not None and found.country is None:
        raise ValueRefused(f"a country is two letters such as FR, not {country!r}{_meant(country)}")
    if platform is not None and found.platform is None:
        raise ValueRefused(f"a platform is 1 to {PLATFORM_LENGTH} signs such as ios")
    if code is not None and found.code is None:
        raise ValueRefused(f"a code is 1 to {CODE_LENGTH} signs such as VIP2027")
    if found == NOTHING:
        raise ValueRefused("a rule asks for something: say --country, --platform or --code")
    return found


def _plain(value: object) -> str:
    """Text that can be stored and shown; empty for all else."""
    return value.strip() if isinstance(value, str) and value.strip().isprintable() else ""


def _short(words: str, most: int) -> str | None:
    return words if 0 < len(words) <= most else None


def _meant(words: str) -> str:
    names = {name.lower(): code for code, name in _countries().items()} | {"uk": "GB"}
    nearest = difflib.get_close_matches(words.strip().lower(), names, n=1)
    return f". Did you mean {names[nearest[0]]}?" if nearest else ""


@cache
def _countries() -> Mapping[str, str]:
    """The English name of each country, by its code."""
    territories = Locale("en").territories
    return {
        code: name
        for code, name in territories.items()
        if len(code) == 2 and code not in NO_COUNTRIES
    }
