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
from waitlist.mailer import stable_message_id

MOST_KEPT = 500
LINKS = ("place_link", "link", "invite_link")  # each longer than a line of text
LINE = 72  # signs, after which text wraps
STAND_IN_LINKS = {name: f"https://stand.in/{name}/{'x' * LINE}" for name in LINKS}
EASY_NAME = re.compile(r"[^\W\d_]([\w.'’ -]{0,38}[\w.])?")
EASY_ADDRESS = re.compile(r"[A-Za-z0-9_.+-]{1,30}@[a-z0-9.-]{1,30}")
STAND_IN_ADDRESS = "stand-in@stand.in"
STAND_IN_AT = datetime(2000, 1, 1, tzinfo=UTC)
HTML = b"Content-Type: text/html"


class _Written(NamedTuple):
    """A mail with stand-ins: what comes before its HTML, and the rest."""

    plain: bytes
    html: bytes


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
    stand_in_id = 10 ** (len(str(message_id)) - 1)  # as long
    written = _written(template, language, stand_in_id, {**context, **stand_ins})
    personal = {
        STAND_IN_ADDRESS: to,
        stable_message_id(stand_in_id): stable_message_id(message_id),
        mailer.boundary(stand_in_id): mailer.boundary(message_id),
        _date(STAND_IN_AT): _date(written_at),
        **{stand_in: str(context[name]) for name, stand_in in stand_ins.items()},
    }
    return _filled(written, personal)


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


def _written(template: str, language: str, message_id: int, context: Mapping[str, Any]) -> _Written:
    kept: dict[Any, _Written] = current_app.extensions.setdefault("copies", {})
    key = (template, language, message_id, *sorted(context.items()))
    if key not in kept:
        mail = mailer.compose(
            template,
            to=STAND_IN_ADDRESS,
            language=language,
            message_id=message_id,
            written_at=STAND_IN_AT,
            context=context,
        )
        plain, html, rest = mail.partition(HTML)
        if len(kept) >= MOST_KEPT:
            kept.clear()
        kept[key] = _Written(plain, html + rest)
    return kept[key]


def _filled(written: _Written, personal: Mapping[str, str]) -> bytes:
    plain, html = written
    for stand_in, value in personal.items():
        plain = plain.replace(stand_in.encode(), value.encode())
        html = html.replace(stand_in.encode(), value.encode())
    return plain + html


def _date(at: datetime) -> str:
    return f"Date: {formatdate(at.timestamp(), localtime=True)}"
