"""What is said, below Flask; and what is said alike to all who ask alike, written only once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import werkzeug
from flask import Response, current_app

from waitlist.extensions import settings
from waitlist.web import security


class Said(NamedTuple):
    """An answer: its status, headers and body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def response(self) -> Response:
        """The same as Flask's views give it."""
        headers = [(name.decode(), value.decode("latin-1")) for name, value in self.headers]
        return Response(self.body, self.status, headers)


def of_response(response: werkzeug.Response) -> Said:
    """What a response of Flask's says."""
    headers = [
        (name.lower().encode(), value.encode("latin-1"))
        for name, value in response.headers.to_wsgi_list()
    ]
    return Said(response.status_code, headers, response.get_data())


def alike(write: Callable[[], Response], *, name: str, language: str, wants_json: bool) -> Said:
    """What `write` answers in this language and form; it is asked the first time only."""
    known: dict[tuple[str, str, bool], Said] = current_app.extensions.setdefault("said", {})
    key = (name, language, wants_json)
    if key not in known:
        asks = {"Accept": "application/json" if wants_json else "text/html"}
        with current_app.test_request_context(
            base_url=settings().public_url, headers={**asks, "Accept-Language": language}
        ):
            known[key] = of_response(security.head(write()))
    return known[key]
