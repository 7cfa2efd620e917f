"""Copies of a mail for many people: written once, then filled in.

Writing one (templates, styles, MIME) takes ten times as long as sending it. So the first of
a kind is written with stand-ins for what is personal, and every other is that one with the
stand-ins replaced. Whatever could change more than itself (a name that might move a line's
end, an address that might fold a header) is left to be written: a copy equals the mail that
would have been written, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any, NamedTuple

from flask import current_app

from waitlist import mailer
from waitlist.mailer import name_of

MOST_KEPT = 500
LINKS = ("place_link", "link", "invite_link", "dispute_link")  # each longer than a line of text
LINE = 72  # signs, after which text wraps
STAND_IN_LINKS = {name: f"https://stand.in/{name}/{'x' * LINE}" for name in LINKS}
EASY_NAME = re.compile(r"[^\W\d_]([\w.'’ -]{0,38}[\w.])?")
EASY_ADDRESS = re.compile(r"[A-Za-z0-9_.+-]{1,30}@[a-z0-9.-]{1,30}")
STAND_IN_ADDRESS = "stand-in@stand.in"
STAND_IN_AT = datetime(2000, 1, 1, tzinfo=UTC)


class _Written(NamedTuple):
    """A mail with stand-ins, cut where they stand: every second piece is the name of a value."""

    pieces: list[Any]

    def filled(self, values: Mapping[str, str]) -> bytes:
        """The mail with these values instead."""
        encoded = {name: value.encode() for name, value in values.items()}
        pieces = self.pieces.copy()
        pieces[1::2] = [encoded[name] for name in pieces[1::2]]
        return b"".join(pieces)


def copy(
    template: str,
    *,
    to: str,
    locale: str,
    message_id: int,
    written_at: datetime,
    context: Mapping[str, Any],
) -> bytes:
    """What `mailer.compose` would write."""
    language = mailer.mail_language(locale)
    stand_ins = _stand_ins(context)
    if stand_ins is None or not EASY_ADDRESS.fullmatch(to):
        return mailer.compose(
            template,
            to=to,
            language=language,
            message_id=message_id,
            written_at=written_at,
            context=context,
        )
    written = _written(template, language, len(str(message_id)), {**context, **stand_ins})
    own = _own(to, message_id, written_at)
    return written.filled(own | {name: str(context[name]) for name in stand_ins})


def _stand_ins(context: Mapping[str, Any]) -> dict[str, str] | None:
    """What stands in for each personal value; None if one of them isn't easy."""
    found = {}
    for key in LINKS:
        link = context.get(key)
        if link is not None:
            if len(link) <= LINE:
                return None
            found[key] = STAND_IN_LINKS[key]
    if name := context.get("name"):
        if not EASY_NAME.fullmatch(name):
            return None
        found["name"] = "Standinname" if name.isascii() else "Ståndinname"
    return found


def _own(to: str, message_id: int, written_at: datetime) -> dict[str, str]:
    """What differs in every mail, whatever it says."""
    return {
        "to": to,
        "name_of": name_of(message_id),
        "boundary": mailer.boundary(message_id),
        "date": f"Date: {formatdate(written_at.timestamp(), localtime=True)}",
    }


def _written(template: str, language: str, digits: int, context: Mapping[str, Any]) -> _Written:
    kept: dict[Any, _Written] = current_app.extensions.setdefault("copies", {})
    key = (template, language, digits, *sorted(context.items()))
    if key not in kept:
        if len(kept) >= MOST_KEPT:
            kept.clear()
        kept[key] = _write(template, language, 10 ** (digits - 1), context)
    return kept[key]


def _write(template: str, language: str, message_id: int, context: Mapping[str, Any]) -> _Written:
    """The mail that a row of this id would have, with stand-ins, cut where they stand."""
    mail = mailer.compose(
        template,
        to=STAND_IN_ADDRESS,
        language=language,
        message_id=message_id,
        written_at=STAND_IN_AT,
        context=context,
    )
    names = {
        stand_in.encode(): name
        for name, stand_in in {
            **_own(STAND_IN_ADDRESS, message_id, STAND_IN_AT),
            **{name: context[name] for name in (*LINKS, "name") if context.get(name)},
        }.items()
    }
    pieces: list[Any] = re.split(b"(%s)" % b"|".join(map(re.escape, names)), mail)
    pieces[1::2] = [names[stand_in] for stand_in in pieces[1::2]]
    return _Written(pieces)
