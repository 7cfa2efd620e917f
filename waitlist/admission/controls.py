"""What an operator can set of the gate while it runs: the names, the bounds, and the changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, TypedDict

from waitlist import letters, postage
from waitlist.config import LOCALES
from waitlist.errors import ValueRefused
from waitlist.models import Gate
from waitlist.policy import routes

NAMES = (
    "capacity",
    "rate",
    "paused",
    "joining",
    "held_mails",
    "referral",
    "notices",
    "health_ignored_until",
    "bounces_since",
    "mail_route",
)
MOST = 2**31 - 1
JOINING = ("open", "challenge", "closed")
NOTICE_LENGTH = 300
IGNORED_FOR = timedelta(hours=24)  # at most

Values = dict[str, Any]


class Wanted(TypedDict, total=False):
    """What is to be different; what isn't named, or is None, stays.

    `hold` and `release` name kinds of mail; a notice of "" takes that language's away; the
    product's health is no longer ignored once the time of `ignore_health_until` is there.
    """

    capacity: int | None
    rate: int | None
    paused: bool | None
    joining: str | None
    referral: bool | None
    hold: Collection[str]
    release: Collection[str]
    notices: Mapping[str, str] | None
    ignore_health_until: datetime | None
    accept_bounces: bool
    mail_route: str | None


def check(wanted: Wanted, *, now: datetime) -> None:
    """`ValueRefused`, with a sentence, for what is out of bounds."""
    for name, number in (("capacity", wanted.get("capacity")), ("rate", wanted.get("rate"))):
        if not 0 <= (number or 0) <= MOST:
            raise ValueRefused(f"{name} is a whole number from 0 to {MOST}, not {number}")
    _check_joining(wanted.get("joining"))
    _check_kinds([*wanted.get("hold", ()), *wanted.get("release", ())])
    for language, text in (wanted.get("notices") or {}).items():
        _check_notice(language, text)
    _check_route(wanted.get("mail_route"))
    until = wanted.get("ignore_health_until")
    if until is not None and until > now + IGNORED_FOR:
        raise ValueRefused(
            "the product's health can be ignored for 24 hours at most; "
            "it can be ignored anew before they are over"
        )


def values(wanted: Wanted, gate: Gate, *, now: datetime) -> Values:
    """What these make of the gate's columns; the caller holds its lock."""
    plain = ("capacity", "rate", "paused", "joining", "referral", "mail_route")
    found: Values = {name: wanted.get(name) for name in plain if wanted.get(name) is not None}
    if (until := wanted.get("ignore_health_until")) is not None:
        found["health_ignored_until"] = until
    if wanted.get("hold") or wanted.get("release"):
        held = {*gate.held_mails, *wanted.get("hold", ())} - {*wanted.get("release", ())}
        found["held_mails"] = sorted(held)
    if (notices := wanted.get("notices")) is not None:
        both = {**gate.notices, **notices}
        found["notices"] = {language: both[language] for language in sorted(both) if both[language]}
    if wanted.get("accept_bounces"):
        found["bounces_since"] = now
    return found


def of(gate: Gate) -> Values:
    """All that can be set, as it is, as JSON."""
    return as_json({name: getattr(gate, name) for name in NAMES})


def as_json(values: Values) -> Values:
    """These values as JSON, times in RFC 3339."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
    }


def _check_joining(word: str | None) -> None:
    if word not in (None, *JOINING):
        raise ValueRefused(f"joining is one of {', '.join(JOINING)}, not {word!r}")


def _check_route(word: str | None) -> None:
    if word not in (None, *routes.WORDS):
        raise ValueRefused(f"mail goes by one of {', '.join(routes.WORDS)}, not {word!r}")
    if word == routes.SECOND and not postage.has_second():
        raise ValueRefused("there is no second route: set MAIL2_SERVER, and restart the workers")


def _check_kinds(kinds: Collection[str]) -> None:
    if unknown := sorted(set(kinds) - letters.KINDS):
        raise ValueRefused(
            f"there is no mail of the kind {unknown[0]!r}; there are: "
            f"{', '.join(sorted(letters.KINDS))}"
        )


def _check_notice(language: str, text: str) -> None:
    if language not in LOCALES:
        raise ValueRefused(f"a notice is in one of {', '.join(LOCALES)}, not in {language!r}")
    if len(text) > NOTICE_LENGTH:
        raise ValueRefused(
            f"a notice is of {NOTICE_LENGTH} characters at most, and this one has {len(text)}"
        )
    if not text.isprintable():
        raise ValueRefused("a notice is a line of plain text")
