"""The two answers that everyone wants at once, for many who ask at once.

Flask's views and the lane before Flask both call these, so that the protections and the
use case stand once. In turn for each who asks: what is said, or the refusal to be worded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from flask import Response, jsonify, make_response, render_template
from flask_babel import gettext

from waitlist import switches
from waitlist.errors import JoiningClosed
from waitlist.policy import identity, rules
from waitlist.policy.proof import Proof
from waitlist.policy.rules import Told
from waitlist.signup import joining, place
from waitlist.signup.joining import Joining
from waitlist.signup.place import ShownPlace
from waitlist.switches import Notice
from waitlist.web import security
from waitlist.web.asked import Asked
from waitlist.web.said import Said, alike

LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})?")  # of RFC 5646, the usual ones
HONEYPOT = "website"  # a field that people don't see and machines fill in
EVERY = [(name.lower().encode(), value.encode()) for name, value in security.HEADERS.items()]
AS_JSON = (b"content-type", b"application/json")


def join(many: Sequence[Asked]) -> list[Said | Exception]:
    """Take these addresses in: 202 and the same words whatever is known of them.

    A machine that fills in what people don't see hears the same, and isn't taken in. While
    joining is closed everybody hears that, and nothing is looked at.
    """
    if switches.current().joining_is_closed:
        return [JoiningClosed("joining is closed")] * len(many)
    people = [asked for asked in many if not asked.fields.get(HONEYPOT)]
    refusals = iter(joining.join([_joining(asked) for asked in people], now=datetime.now(UTC)))
    taken_in = {id(asked): next(refusals) for asked in people}
    return [taken_in.get(id(asked)) or _joined(asked) for asked in many]


def place_of(many: Sequence[tuple[str, Asked]]) -> list[Said | Exception]:
    """Where the person of each token stands, as JSON; 304 to who has that already."""
    shown = place.by_tokens([token for token, _ in many], now=datetime.now(UTC))
    turned = switches.current()
    return [
        one if isinstance(one, Exception) else _place(one, turned.notice(asked.language), asked)
        for one, (_, asked) in zip(shown, many, strict=True)
    ]


def _joining(asked: Asked) -> Joining:
    address = asked.fields.get("address")
    return Joining(
        address if isinstance(address, str) else "",
        _locale(asked.fields) or asked.language,
        identity.network(asked.client),
        _told(asked),
        _proof(asked.fields),
    )


def _proof(fields: Mapping[str, Any]) -> Proof:
    """What was sent to prove that nobody joins a thousand times."""
    sent = (fields.get(name) for name in Proof._fields)
    return Proof(*(value if isinstance(value, str) else "" for value in sent))


def _told(asked: Asked) -> Told:
    """What is told of whoever asks. What a proxy says of their country, they can't choose."""
    told = rules.told(asked.fields)
    country = rules.country(asked.country) if asked.country else None
    return told._replace(country=country) if country else told


def _joined(asked: Asked) -> Said:
    write = _joined_json if asked.wants_json else _joined_page
    return alike(write, name="joined", language=asked.language, wants_json=asked.wants_json)


def _joined_json() -> Response:
    said = gettext("You’re in line once you confirm. Check your mail.")
    return make_response(jsonify(message=said), 202)


def _joined_page() -> Response:
    return make_response(render_template("public/check_mail.html"), 202)


def _place(shown: ShownPlace, notice: Notice | None, asked: Asked) -> Said:
    body = json.dumps({**shown.as_json(), "notice": notice and notice.text}).encode()
    etag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    tagged = [(b"etag", etag.encode()), *EVERY]
    if etag in asked.etags:
        return Said(304, tagged, b"")
    length = (b"content-length", str(len(body)).encode())
    return Said(200, [AS_JSON, length, *tagged], body)


def _locale(fields: Mapping[str, Any]) -> str | None:
    wanted = fields.get("lang") or fields.get("locale")
    return wanted if isinstance(wanted, str) and LANGUAGE_TAG.fullmatch(wanted) else None
