"""What holds for every page: read-only GETs, headers, and who may post across sites."""

from __future__ import annotations

from contextlib import ExitStack
from urllib.parse import urlsplit

from flask import Flask, Response, abort, g, request

from waitlist.extensions import reading, settings

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def init_app(app: Flask) -> None:
    """Guard every request, and head every answer."""
    app.before_request(_read_only)
    app.teardown_request(_end_reading)
    app.before_request(_refuse_cross_site)
    app.after_request(_headers)


def _read_only() -> None:
    """GET, HEAD and OPTIONS can't change anything: their transactions are read-only."""
    if request.method in SAFE_METHODS:
        g.reading = ExitStack()
        g.reading.enter_context(reading())


def _end_reading(_error: BaseException | None) -> None:
    if "reading" in g:
        g.pop("reading").close()


def _refuse_cross_site() -> None:
    """Refuse a POST that says it comes from another site.

    Only what says so: old browsers and in-app views send nothing or `null`, and must get
    through. The API has no cookies to borrow, so other sites' servers may call it.
    """
    if request.method in SAFE_METHODS or request.path.startswith("/api/"):
        return
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        abort(403)
    origin = request.headers.get("Origin", "null")
    if origin != "null" and _host(origin) not in (request.host, _host(settings().public_url)):
        abort(403)


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def _headers(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", CSP)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("Cache-Control", "no-store")
    return response
