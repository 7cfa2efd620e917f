"""Mails: from a folder of three templates to a message, and over SMTP to one of five outcomes.

Flask-Mail, wrapped: it has no time-out, raises when a server drops after taking the mail,
and passes line breaks in extra headers on.
"""

from __future__ import annotations

import hashlib
import smtplib
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.mime.base import MIMEBase
from enum import StrEnum
from typing import Any

import css_inline
from flask import current_app, render_template
from flask_babel import force_locale
from flask_mail import Connection
from flask_mail import Message as Mail

from waitlist import policy
from waitlist.config import LOCALES
from waitlist.extensions import settings

TIMEOUT = 6  # seconds for each of the eight steps of a conversation
LONGEST = timedelta(seconds=8 * TIMEOUT)  # of one mail; less than outbox.LEASE

# reply codes (RFC 5321, section 4.2; RFC 4954): some 5yz speak of us, whoever the mail is for
ACCEPTED, FORWARDED, CLOSING = 250, 251, 421
OF_US = (500, 502, 503, 530, 534, 535, 538)


Reply = tuple[int, bytes]


class Outcome(StrEnum):
    """How the mail server answered."""

    SENT = "sent"
    LATER = "refused for now"
    REFUSED = "refused for good"
    UNKNOWN = "unknown"  # cut off between our last byte and the answer
    AWAY = "away"  # no mail can go now, whichever
    UNSENT = "not sent"  # by us, since it was no longer true


@dataclass(frozen=True)
class Answer:
    """An outcome and the server's own words, with no address in them."""

    outcome: Outcome
    words: str = ""


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
        recipients=[_header(to)],
        body=body,
        html=css_inline.inline(html, keep_style_tags=True),
        sender=settings().mail_from,
        extra_headers={
            "Content-Language": language,
            "Auto-Submitted": "auto-generated",
            "Feedback-ID": _header(f"{template}:waitlist"),
        },
    )
    mail.msgId = stable_message_id(message_id)
    mail.date = written_at.timestamp()
    return mail.as_bytes()


def mail_language(locale: str) -> str:
    """The language we write in to somebody of this locale: theirs, else the first we have."""
    return policy.language(locale, LOCALES) or LOCALES[0]


def stable_message_id(message_id: int) -> str:
    """The Message-ID of an outbox row: the same each time, so that a repeat is recognised."""
    host = settings().host
    digest = hashlib.sha256(f"{host}:{message_id}".encode()).hexdigest()[:16]
    return f"<{message_id}.{digest}@{host}>"


def boundary(message_id: int) -> str:
    """What the MIME boundaries of an outbox row's mail have in common."""
    return _digest(stable_message_id(message_id))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@contextmanager
def post_office() -> Iterator[Route]:
    """A route to the mail server, connected at the first mail and kept until the end."""
    route = Route(current_app.extensions["mail"])
    try:
        yield route
    finally:
        route.close()


class _SameEachTime(Mail):
    """A mail whose MIME boundaries come from its Message-ID instead of chance."""

    def _message(self) -> MIMEBase:
        built = super()._message()
        digest = _digest(self.msgId)
        for number, part in enumerate(part for part in built.walk() if part.is_multipart()):
            part.set_boundary(f"=_{digest}_{number}")
        return built


class Route(Connection):
    """Flask-Mail's connection with time-outs, which answers instead of raising."""

    host: smtplib.SMTP | None = None

    def configure_host(self) -> smtplib.SMTP:
        """Connect, with a time-out for every step."""
        mail = self.mail
        host = smtplib.SMTP(mail.server, mail.port, timeout=TIMEOUT)
        if mail.use_tls:
            host.starttls(context=ssl.create_default_context())
        if mail.username and mail.password:
            host.login(mail.username, mail.password)
        return host

    def deliver(self, mail: bytes, to: str) -> Answer:
        """Hand one mail over and say how the server answered; a lost connection is renewed."""
        was_kept = self.host is not None
        answer = self._hand_over(mail, to)
        if answer.outcome is Outcome.AWAY and was_kept:
            self.close()
            answer = self._hand_over(mail, to)
        return answer

    def _hand_over(self, mail: bytes, to: str) -> Answer:
        try:
            self.host = self.host or self.configure_host()
            envelope = self._envelope(self.host, to)
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            return Answer(Outcome.AWAY, type(error).__name__)
        return envelope or self._content(self.host, mail)

    def close(self) -> None:
        """Say goodbye; whatever goes wrong with that changes nothing any more."""
        host, self.host = self.host, None
        if host is not None:
            with suppress(OSError, smtplib.SMTPException):
                host.quit()

    def _envelope(self, host: smtplib.SMTP, to: str) -> Answer | None:
        """Sender and recipient; an answer only if the server refuses the recipient."""
        host.ehlo_or_helo_if_needed()
        (code, words), recipient = _introduce(host, settings().mail_from, to)
        if code != ACCEPTED:
            raise smtplib.SMTPSenderRefused(code, words, settings().mail_from)
        code, words = recipient or host.rcpt(to)
        if code in (ACCEPTED, FORWARDED):
            return None
        self._reset(host)
        return _refusal(code)

    def _reset(self, host: smtplib.SMTP) -> None:
        try:
            host.rset()
        except (OSError, smtplib.SMTPException):  # some say no and hang up: the no counts
            self.close()

    def _content(self, host: smtplib.SMTP, mail: bytes) -> Answer:
        try:
            code, _words = host.data(mail)
        except smtplib.SMTPDataError as error:
            self.close()
            return _refusal(error.smtp_code)
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            return Answer(Outcome.UNKNOWN, type(error).__name__)
        return Answer(Outcome.SENT) if code == ACCEPTED else _refusal(code)


def _introduce(host: smtplib.SMTP, sender: str, to: str) -> tuple[Reply, Reply | None]:
    """The answers to sender and recipient, in one round trip if the server can (RFC 2920).

    Of one that can't only the first.
    """
    if not host.has_extn("pipelining"):
        return host.mail(sender), None
    names = smtplib.quoteaddr(_header(sender)), smtplib.quoteaddr(_header(to))
    host.send("MAIL FROM:{}\r\nRCPT TO:{}\r\n".format(*names))
    return host.getreply(), host.getreply()


def _refusal(code: int) -> Answer:
    """What a refused recipient or content says: of this mail, or of the server as a whole."""
    if code == CLOSING or code in OF_US:
        return Answer(Outcome.AWAY, str(code))
    return Answer(Outcome.REFUSED if code >= 500 else Outcome.LATER, str(code))


def _header(value: str) -> str:
    if "\r" in value or "\n" in value:
        raise ValueError("a line break in a mail header")
    return value
