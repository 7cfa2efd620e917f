"""Mails: from a folder of three templates to a message.

Flask-Mail's message, wrapped: it passes line breaks in extra headers on, and its MIME
boundaries differ each time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from email.mime.base import MIMEBase
from typing import Any

import css_inline
from flask import render_template
from flask_babel import force_locale
from flask_mail import Message as Mail

from waitlist.config import LOCALES
from waitlist.extensions import settings
from waitlist.policy import identity

NAME = re.compile(r"(?<!\d)([1-9]\d{0,18})\.[0-9a-f]{16}(?![0-9a-f])")
POSTMARK = "X-PM-Metadata-message"


def compose(
    template: str,
    *,
    to: str,
    language: str,
    message_id: int,
    written_at: datetime,
    context: Mapping[str, Any],
) -> bytes:
    """The mail of `templates/email/<template>/` in this language.

    The same row gives the same bytes, so that a repeat is the same mail to everyone.
    """
    common = {"launch_name": settings().launch_name, "launch_url": settings().public_url}
    with force_locale(language):
        subject, body, html = (
            render_template(f"email/{template}/{part}", locale=language, **common, **context)
            for part in ("subject.txt", "body.txt", "body.html")
        )
    mail = _SameEachTime(
        subject=" ".join(subject.split()),
        recipients=[header(to)],
        body=body,
        html=css_inline.inline(html, keep_style_tags=True),
        sender=settings().mail_from,
        extra_headers={
            "Content-Language": language,
            "Auto-Submitted": "auto-generated",
            "Feedback-ID": header(f"{template}:waitlist"),
            **_named_to_provider(message_id),
        },
    )
    mail.msgId = stable_message_id(message_id)
    mail.date = written_at.timestamp()
    return mail.as_bytes()


def mail_language(locale: str) -> str:
    """The language we write in to somebody of this locale: theirs, else the first we have."""
    return identity.language(locale, LOCALES) or LOCALES[0]


def stable_message_id(message_id: int) -> str:
    """The Message-ID of an outbox row: the same each time, so that a repeat is recognised."""
    return f"<{name_of(message_id)}@{settings().host}>"


def name_of(message_id: int) -> str:
    """What names an outbox row wherever its mail goes: the left of its Message-ID."""
    digest = hashlib.sha256(f"{settings().host}:{message_id}".encode()).hexdigest()[:16]
    return f"{message_id}.{digest}"


def named_in(text: str) -> int | None:
    """The outbox row that is named in this text, if one of ours is."""
    for found in NAME.finditer(text):
        if found[0] == name_of(int(found[1])):
            return int(found[1])
    return None


def _named_to_provider(message_id: int) -> dict[str, str]:
    """Postmark replaces the Message-ID; it tells this one again, and strips it off the mail."""
    return {POSTMARK: name_of(message_id)} if settings().mail_hook_postmark else {}


def boundary(message_id: int) -> str:
    """What the MIME boundaries of an outbox row's mail have in common."""
    return _digest(stable_message_id(message_id))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class _SameEachTime(Mail):
    """A mail whose MIME boundaries come from its Message-ID instead of chance."""

    def _message(self) -> MIMEBase:
        built = super()._message()
        digest = _digest(self.msgId)
        for number, part in enumerate(part for part in built.walk() if part.is_multipart()):
            part.set_boundary(f"=_{digest}_{number}")
        return built


def header(value: str) -> str:
    """The value, which may stand in a header or in a command to the mail server."""
    if "\r" in value or "\n" in value:
        raise ValueError("a line break in a mail header")
    return value
