"""A copy of a mail equals the mail that would have been written, byte for byte."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from waitlist import copying, mailer

AT = datetime(2027, 3, 1, 12, 34, 56, tzinfo=UTC)
LONG = f"https://join.example.com/place/{'t' * 64}.x-_="
NAMES = ["", "Ann", "Zoë", "Anne-Marie d'Été Jr.", "Ann & <b>Bob</b>", 'Al "Cap" One', "王小明"]
NAMES += ["N" * 41, "a b " * 40 + "c", "\u202edesrever", "Standinname", "O’Neil", " x", "x\u00a0y"]
CONTEXTS: dict[str, dict[str, Any]] = {
    "confirm": {"link": f"{LONG}c", "within_hours": 48},
    "invitation": {"link": f"{LONG}i", "within_hours": 1},
    "renewal": {"link": f"{LONG}r", "within_hours": 72, "until": None},
    "lapsed": {"link": f"{LONG}l"},
    "sorry": {"link": f"{LONG}s", "within_hours": 72},
    "come_back": {"link": f"{LONG}u", "until": AT + timedelta(days=7), "keeps_place": True},
    "left": {"link": f"{LONG}u", "until": AT, "keeps_place": False},
    "act": {"link": f"{LONG}a", "within_minutes": 30},
    "welcome": {"handle": "zoe_2", "address": "zoe@example.org", "dispute_link": f"{LONG}d"},
    "reminder": {"link": f"{LONG}m", "until": AT},
    "standing": {
        "state": "waiting",
        "position": 1_200,
        "rounded": True,
        "as_of": AT,
        "invite_link": None,
        "expires_at": None,
    },
}


def _both(kind: str, language: str, number: int, to: str, **context: Any) -> tuple[bytes, bytes]:
    said = {"name": "", "place_link": f"{LONG}p", "product_url": None} | CONTEXTS[kind] | context
    common: dict[str, Any] = {"to": to, "message_id": number, "written_at": AT, "context": said}
    copy = copying.copy(kind, locale=language, **common)
    return copy, mailer.compose(kind, language=language, **common)


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("kind", CONTEXTS)
def test_a_copy_is_what_would_have_been_written(app: Flask, kind: str, language: str) -> None:
    for number, name in enumerate(NAMES, start=7):
        address = f"person.{number}@example.org"
        for message_id in (number, 10**number):
            copy, written = _both(kind, language, message_id, address, name=name)
            assert copy == written


@pytest.mark.parametrize(
    "to", ["a@b.de", f"{'l' * 64}@{'d' * 63}.example", "o'neil@example.org", "x@xn--fa-hia.de"]
)
def test_whatever_the_address(app: Flask, to: str) -> None:
    for _ in range(2):
        copy, written = _both("confirm", "en", 7, to)
        assert copy == written


def test_a_short_link_may_move_the_end_of_a_line_and_so_is_written(app: Flask) -> None:
    short = "http://a.b/c"
    copy, written = _both("invitation", "en", 7, "a@b.de", place_link=short, link=short)
    assert copy == written


def test_an_invited_persons_standing_is_copied_too(app: Flask) -> None:
    invited = {"state": "invited", "invite_link": f"{LONG}i", "expires_at": AT}
    for name in ("Ann", "Bob"):
        copy, written = _both("standing", "fr", 8, "a@b.de", name=name, **invited)
        assert copy == written


def test_copies_are_made_of_one(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    _both("confirm", "en", 7, "a@b.de", name="Ann")
    written = []
    monkeypatch.setattr(mailer, "compose", lambda *words, **more: written.append(1))
    for number in range(5):
        said = {"name": "Bob", "place_link": f"{LONG}{number}", "product_url": None}
        copying.copy(
            "confirm",
            to="c@d.ef",
            locale="en",
            message_id=number,
            written_at=AT,
            context=said | CONTEXTS["confirm"],
        )
    assert not written


def test_only_so_many_are_kept(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "MOST_KEPT", 3)
    for hours in range(10):
        _both("confirm", "en", 7, "a@b.de", within_hours=hours)
    assert len(app.extensions["copies"]) <= 3
