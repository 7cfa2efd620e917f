"""What holds for every page: read-only GETs, headers, and who may post across sites."""

from __future__ import annotations

from collections.abc import Container
from contextlib import ExitStack
from urllib.parse import urlsplit

from flask import Flask, Response, abort, g, request

from waitlist import patience
from waitlist.extensions import reading, settings

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def init_app(app: Flask) -> None:
    """Guard every request, and head every answer."""
    app.before_request(_bound)
    app.teardown_request(_unbind)
    app.before_request(_refuse_cross_site)
    app.after_request(head)


def _bound() -> None:
    """Nobody's thread waits for SQL for long; and GET, HEAD and OPTIONS can't change anything.

    Their transactions are read-only.
    """
    g.bounds = ExitStack()
    g.bounds.enter_context(patience.at_most(answer=patience.PAGE_WAIT))
    if request.method in SAFE_METHODS:
        g.bounds.enter_context(reading())


def _unbind(_error: BaseException | None) -> None:
    if "bounds" in g:
        g.pop("bounds").close()


def _refuse_cross_site() -> None:
    """The API has no cookies to borrow, so other sites' servers may call it."""
    if request.method in SAFE_METHODS or request.path.startswith("/api/"):
        return
    headers = request.headers
    ours = (request.host, host_of(settings().public_url))
    if is_foreign(headers.get("Sec-Fetch-Site"), headers.get("Origin"), ours):
        abort(403)


def is_foreign(fetch_site: str | None, origin: str | None, ours: Container[str]) -> bool:
    """Whether a POST says that it comes from another site.

    Only what says so: old browsers and in-app views send nothing or `null`, and must get
    through.
    """
    if fetch_site == "cross-site":
        return True
    return origin not in (None, "null") and host_of(str(origin)) not in ours


def host_of(url: str) -> str:
    """The host and port of a web address; empty if it has none."""
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def head(response: Response) -> Response:
    """The response with the headers that every answer has."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
