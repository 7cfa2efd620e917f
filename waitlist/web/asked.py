"""What a request says: when it came, its fields, its language, whether it wants JSON or a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from flask import g, has_request_context, request
from werkzeug.datastructures import LanguageAccept, MIMEAccept
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.http import parse_accept_header

from waitlist.config import LOCALES, Settings
from waitlist.extensions import settings as our_settings
from waitlist.policy import identity
from waitlist.web import security

FORM = "application/x-www-form-urlencoded"
JSON = ("application/json", "application/problem+json")
PAGE = "text/html"
MOST_FIELDS = 50
MOST_BYTES = 4096  # of a plain form


class Asked(NamedTuple):
    """All that the answer to a hot request depends on, however it was read."""

    client: str | None
    language: str
    wants_json: bool
    fields: Mapping[str, Any]
    etags: str = ""
    country: str = ""  # as a proxy says that can be trusted


def this() -> Asked:
    """What the request that Flask is working on says."""
    return Asked(
        client=request.remote_addr,
        language=language(),
        wants_json=wants_json(),
        fields={} if request.method == "GET" else fields(),
        etags=request.headers.get("If-None-Match", ""),
        country=_country(our_settings(), request.headers.get),
    )


def plainly(scope: Mapping[str, Any], body: bytes, settings: Settings) -> Asked | None:
    """What an ASGI request says; None if it says anything that only Flask understands."""
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    kind = headers.get(b"content-type", "")
    sent = _fields(kind, body) if body else {}
    repeated = len(headers) < len(scope["headers"])
    if sent is None or scope["query_string"] or repeated or len(body) > MOST_BYTES:
        return None
    if scope["method"] == "POST" and _is_foreign(headers, settings):
        return None
    return Asked(
        client=_client(scope, headers.get(b"x-forwarded-for"), settings.proxy_hops),
        language=_language((sent.get("lang"),), headers.get(b"accept-language", "")),
        wants_json=_wants_json(headers.get(b"accept", ""), kind == JSON[0]),
        fields=sent,
        etags=headers.get(b"if-none-match", ""),
        country=_country(settings, lambda name: headers.get(name.lower().encode())),
    )


def _is_foreign(headers: Mapping[bytes, str], settings: Settings) -> bool:
    ours = (headers.get(b"host", ""), security.host_of(settings.public_url))
    return security.is_foreign(headers.get(b"sec-fetch-site"), headers.get(b"origin"), ours)


def _client(scope: Mapping[str, Any], forwarded: str | None, hops: int) -> str | None:
    """The client's address, as ProxyFix tells it."""
    if hops and forwarded and forwarded.count(",") >= hops - 1:
        return forwarded.split(",")[-hops].strip()
    peer = scope.get("client")
    return str(peer[0]) if peer else None


def _country(settings: Settings, header: Callable[[str], str | None]) -> str:
    """The client's country, as a proxy tells it that can be trusted."""
    return (settings.country_header and header(settings.country_header)) or ""


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
    programs = request.is_json or request.path.startswith(("/api/", "/hooks/"))
    return _wants_json(request.headers.get("Accept", ""), programs)


def speak_to(locale: str) -> None:
    """Answer in this person's language, unless the request asks for another."""
    g.entry_locale = locale


def language() -> str:
    """The language of the answer: `?lang`, then the form's, the person's, the browser's."""
    if not has_request_context():
        return LOCALES[0]
    wanted = (request.args.get("lang"), _language_of_form(), g.get("entry_locale"))
    return _language(wanted, request.headers.get("Accept-Language", ""))


def _language_of_form() -> str | None:
    try:
        return request.form.get("lang")
    except RequestEntityTooLarge:  # and that answer needs a language too
        return None


def _language(wanted: Iterable[Any], accepted: str) -> str:
    for tag in wanted:
        if isinstance(tag, str) and (found := identity.language(tag, LOCALES)):
            return found
    return _accepted_language(accepted)


@lru_cache(maxsize=1024)
def _accepted_language(header: str) -> str:
    tags = parse_accept_header(header, LanguageAccept).values()
    found = (identity.language(tag, LOCALES) for tag in tags)
    return next((one for one in found if one), LOCALES[0])


@lru_cache(maxsize=1024)
def _wants_json(header: str, programs: bool) -> bool:
    offers = [*JSON, PAGE] if programs else [PAGE, *JSON]
    accepted = parse_accept_header(header or None, MIMEAccept)
    return accepted.best_match(offers, default=offers[0]) != PAGE


def _fields(kind: str, body: bytes) -> Mapping[str, Any] | None:
    try:
        if kind == JSON[0]:
            found = json.loads(body)
            return found if isinstance(found, dict) else {}
        if kind == FORM:
            form = body.decode("ascii")
            pairs = parse_qsl(form, True, errors="strict", max_num_fields=MOST_FIELDS)
            return dict(reversed(pairs))  # of several the first counts, as in Flask
    except (ValueError, RecursionError):
        pass
    return None
