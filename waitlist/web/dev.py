"""The development mailbox as pages, `/dev/mail`: registered in development only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from itertools import islice
from mailbox import Maildir
from pathlib import Path

from flask import Blueprint, Response, abort, current_app, render_template, request, url_for
from markupsafe import Markup, escape

NEWEST = 100  # mails on the page
ARRIVAL = re.compile(r"(\d+)\.M(\d+)P\d+Q(\d+)")  # seconds, microseconds, count in a Maildir key
LINK = re.compile(r"(https?://[^\s<>\"']*[^\s<>\"'.,;:!?)])")
SANDBOX = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; "
    "style-src 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'self'"
)

FRAMING = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-src 'self'"
)

bp = Blueprint("dev", __name__, url_prefix="/dev")


@bp.after_request
def let_mails_be_framed(response: Response) -> Response:
    """The mailbox shows a mail's HTML part in a frame, which no other page may do."""
    response.headers.setdefault("Content-Security-Policy", FRAMING)
    return response


@dataclass(frozen=True)
class Mail:
    """One stored mail, as the pages show it."""

    key: str
    message: EmailMessage

    @property
    def to(self) -> str:
        """Whom it was delivered to."""
        return ", ".join(self.message.get_all("Delivered-To") or self.message.get_all("To") or [])

    @property
    def subject(self) -> str:
        """The decoded subject."""
        return str(self.message["Subject"] or "")

    @property
    def date(self) -> datetime | None:
        """When it was written; None without a Date that can be read."""
        return getattr(self.message["Date"], "datetime", None)

    @property
    def language(self) -> str:
        """The language that it says it is in, or nothing."""
        return str(self.message["Content-Language"] or "")

    @property
    def message_id(self) -> str:
        """The Message-ID, the same for the same mail sent again."""
        return str(self.message["Message-ID"] or "").strip()

    @property
    def headers(self) -> list[tuple[str, str]]:
        """All headers, decoded, in their order."""
        return [(name, str(value)) for name, value in self.message.items()]

    @property
    def html_url(self) -> str | None:
        """Where the HTML form is shown, if there is one."""
        return url_for("dev.mail_html", key=self.key) if self.body("html") is not None else None

    @property
    def text_html(self) -> Markup:
        """The text form, escaped, its links clickable."""
        return linked(self.body("plain") or "")

    def body(self, form: str) -> str | None:
        """The `plain` or `html` form of the mail; None if it has none."""
        part = self.message.get_body((form,))
        return None if part is None else str(part.get_content())


@bp.get("/mail")
def mailbox() -> str:
    """The newest mails; `?to=` keeps those whose recipient contains it."""
    wanted = request.args.get("to", "").strip().casefold()
    mails = list(islice(_newest_to(wanted), NEWEST))
    return render_template("dev/mailbox.html", mails=mails, to=wanted)


@bp.get("/mail/<key>")
def mail(key: str) -> str:
    """One mail: its headers, its text, and the way to its HTML."""
    return render_template("dev/mail.html", mail=_stored(key))


@bp.get("/mail/<key>/html")
def mail_html(key: str) -> Response:
    """The HTML form alone, for a frame: no scripts, and links open beside it."""
    html = _stored(key).body("html")
    if html is None:
        abort(404)
    response = Response(html.replace("<head>", '<head><base target="_blank">', 1))
    response.headers["Content-Security-Policy"] = SANDBOX
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    return response


def linked(text: str) -> Markup:
    """Escaped text in which every web address is a link."""
    pieces = LINK.split(text)  # text and addresses take turns
    return Markup("").join(
        Markup('<a href="{0}">{0}</a>').format(piece) if turn % 2 else escape(piece)
        for turn, piece in enumerate(pieces)
    )


def _maildir() -> Maildir:
    folder = Path(current_app.config["SETTINGS"].instance) / "mail"
    return Maildir(folder, create=True)


def _newest_to(wanted: str) -> Iterator[Mail]:
    """Mails by arrival, the latest first, without their bodies."""
    maildir = _maildir()
    for key in sorted(maildir.keys(), key=_arrival, reverse=True):
        head = maildir.get_bytes(key).partition(b"\n\n")[0]
        if wanted.encode() in head.lower():  # cheaper than to read all headers of all mails
            mail = Mail(key, message_from_bytes(head, policy=default))
            if wanted in mail.to.casefold():
                yield mail


def _stored(key: str) -> Mail:
    try:
        content = _maildir().get_bytes(key)
    except KeyError:
        abort(404)
    return Mail(key, message_from_bytes(content, policy=default))


def _arrival(key: str) -> tuple[int, ...]:
    found = ARRIVAL.match(key)
    return tuple(map(int, found.groups())) if found else (0, 0, 0)
