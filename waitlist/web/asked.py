"""What a request says: when it came, its fields, and whether it wants JSON or a page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flask import g, has_request_context, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from waitlist import policy
from waitlist.config import LOCALES

JSON = ("application/json", "application/problem+json")
PAGE = "text/html"


def now() -> datetime:
    """The moment of this request, by which everything in it is decided."""
    if "now" not in g:
        g.now = datetime.now(UTC)
    moment: datetime = g.now
    return moment


def fields() -> Mapping[str, Any]:
    """The fields of a form or of a JSON object."""
    if request.is_json:
        try:
            sent = request.get_json()
        except RecursionError as error:
            raise BadRequest from error
        return sent if isinstance(sent, dict) else {}
    return request.form


def wants_json() -> bool:
    """Whether whoever asks prefers JSON to a page; who sends JSON gets it, unless they say."""
    programs = request.is_json or request.path.startswith("/api/")
    offers = [*JSON, PAGE] if programs else [PAGE, *JSON]
    return request.accept_mimetypes.best_match(offers, default=offers[0]) != PAGE


def speak_to(locale: str) -> None:
    """Answer in this person's language, unless the request asks for another."""
    g.entry_locale = locale


def language() -> str:
    """The language of the answer: `?lang`, then the form's, the person's, the browser's."""
    if not has_request_context():
        return LOCALES[0]
    wanted = [request.args.get("lang"), _language_of_form(), g.get("entry_locale")]
    tags = [*(tag for tag in wanted if tag), *request.accept_languages.values()]
    found = (policy.language(tag, LOCALES) for tag in tags)
    return next((one for one in found if one), LOCALES[0])


def _language_of_form() -> str | None:
    try:
        return request.form.get("lang")
    except RequestEntityTooLarge:  # and that answer needs a language too
        return None
