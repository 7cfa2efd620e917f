"""The route to the mail server: a mail over SMTP to one of five outcomes.

Flask-Mail's connection, wrapped: it has no time-out, and raises when a server drops after
taking the mail. A server that takes several commands at once (RFC 2920) hears whom the next
mail is for together with the content of this one, so a mail costs one round trip instead of
four; the next one's content goes only when its own turn comes.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from flask_mail import Connection, Mail

from waitlist.extensions import mail_server, settings
from waitlist.mailer import header
from waitlist.policy.routes import FIRST

TIMEOUT = 6  # seconds for each of the eight steps of a conversation
LONGEST = timedelta(seconds=8 * TIMEOUT)  # of one mail; less than outbox.LEASE

# reply codes (RFC 5321, section 4.2; RFC 4954): some 5yz speak of us, whoever the mail is for
ACCEPTED, FORWARDED, GO_ON, CLOSING = 250, 251, 354, 421
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
    UNWRITTEN = "can't be written"  # by us, as something is wrong with it


@dataclass(frozen=True)
class Answer:
    """An outcome and the server's own words, with no address in them."""

    outcome: Outcome
    words: str = ""


class Envelope(NamedTuple):
    """Whom a mail is for, and whom it goes back to: bare addresses."""

    to: str
    sender: str


@contextmanager
def post_office(name: str = FIRST, *, tells: bool = True) -> Iterator[Route]:
    """The route of that name, connected at the first mail and kept until the end.

    `tells`: whether the server may hear of the next mail ahead, if it says that it can.
    """
    route = Route(mail_server(name), tells=tells)
    try:
        yield route
    finally:
        route.close()


class Route(Connection):
    """Flask-Mail's connection with time-outs; renewed when it is lost, closed without fear."""

    host: smtplib.SMTP | None = None

    def __init__(self, mail: Mail, *, tells: bool) -> None:
        super().__init__(mail)
        self.tells = tells
        self._told: Envelope | None = None  # of the mail that the server awaits already
        self._told_with_content = False

    def configure_host(self) -> smtplib.SMTP:
        """Connect and introduce ourselves, with a time-out for every step."""
        mail = self.mail
        host = smtplib.SMTP(mail.server, mail.port, timeout=TIMEOUT)
        if mail.use_tls:
            host.starttls(context=ssl.create_default_context())
        if mail.username and mail.password:
            host.login(mail.username, mail.password)
        host.ehlo_or_helo_if_needed()
        return host

    def deliver(self, mail: bytes, to: Envelope, *, then: Envelope | None = None) -> Answer:
        """Hand one mail over and say how the server answered; a lost connection is renewed.

        `then` is the next mail's envelope, if that is known. A server that says that it
        takes several commands at once, and then doesn't, isn't told ahead again (`tells`).
        """
        was_kept, was_told = self.host is not None, self._told is not None
        answer = self._hand_over(mail, to, then)
        if self._told_with_content and answer.outcome is not Outcome.SENT:
            return self._doubted(answer, mail, to)
        if answer.outcome is Outcome.AWAY and was_kept:
            self.close()
            self.tells = self.tells and not was_told
            answer = self._hand_over(mail, to, then)
        return answer

    def why_not(self) -> str:
        """Why the server would take no mail from us now, in a word; "" if it would."""
        try:
            self.host = self.host or self.configure_host()
            of = settings()
            code, _words = self.host.mail(of.mail_return or of.mail_from)
            self.host.rset()
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            return type(error).__name__
        return "" if code == ACCEPTED else str(code)

    def _doubted(self, answer: Answer, mail: bytes, to: Envelope) -> Answer:
        """The answer to a mail alone, where it may have been about what was told with it."""
        if answer.outcome is Outcome.UNKNOWN:  # it may have been taken: not a second time now
            self.tells = False
            return answer
        self.close()
        alone = self._hand_over(mail, to, None)
        self.tells = alone.outcome is not Outcome.SENT
        return alone

    def close(self) -> None:
        """Say goodbye; whatever goes wrong with that changes nothing any more.

        A server that awaits a mail would take the goodbye for its content, so it gets none.
        """
        host, self.host = self.host, None
        told, self._told = self._told, None
        if host is None:
            return
        if told is not None:
            host.close()
            return
        with suppress(OSError, smtplib.SMTPException):
            host.quit()

    def _hand_over(self, mail: bytes, to: Envelope, then: Envelope | None) -> Answer:
        self._told_with_content = False
        try:
            if self._told not in (None, to):
                self.close()
            self.host = self.host or self.configure_host()
            refused = self._envelope(self.host, to)
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            return Answer(Outcome.AWAY, type(error).__name__)
        return refused or self._content(self.host, mail, then)

    def _envelope(self, host: smtplib.SMTP, to: Envelope) -> Answer | None:
        """Whom the mail is from and for; an answer only if the server doesn't want it."""
        replies = self._replies(host, to)
        code, words = next(replies)
        if code != ACCEPTED:
            raise smtplib.SMTPSenderRefused(code, words, to.sender)
        for wanted in ((ACCEPTED, FORWARDED), (GO_ON,)):
            code, _words = next(replies)
            if code not in wanted:
                self._start_over(host, replies)
                return _refusal(code)
        return None

    def _replies(self, host: smtplib.SMTP, to: Envelope) -> Iterator[Reply]:
        """The answers to `MAIL`, `RCPT` and `DATA`, which are said first unless they were already.

        To a server that takes one at a time, each only when its answer is asked for.
        """
        if not host.has_extn("pipelining"):
            for command in self._commands(to):
                host.send(command)
                yield host.getreply()
            return
        if self._told is None:
            host.send("".join(self._commands(to)))
        self._told = to
        for _command in ("MAIL", "RCPT", "DATA"):
            yield host.getreply()

    def _start_over(self, host: smtplib.SMTP, others: Iterator[Reply]) -> None:
        """Be ready for the next mail after a refusal; some servers hang up: the refusal counts."""
        try:
            if self._told is not None and any(code == GO_ON for code, _ in others):
                self.close()  # it awaits a mail for nobody
                return
            self._told = None
            host.rset()
        except (OSError, smtplib.SMTPException):
            self.close()

    def _content(self, host: smtplib.SMTP, mail: bytes, then: Envelope | None) -> Answer:
        if not (self.tells and host.has_extn("pipelining")):
            then = None
        self._told_with_content = then is not None
        ahead = "".join(self._commands(then)).encode() if then else b""
        self._told = then
        try:
            host.send(mail.replace(b"\n.", b"\n..") + b".\r\n" + ahead)
            code, _words = host.getreply()
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            return Answer(Outcome.UNKNOWN, type(error).__name__)
        return Answer(Outcome.SENT) if code == ACCEPTED else _refusal(code)

    def _commands(self, to: Envelope) -> tuple[str, ...]:
        sender, recipient = map(header, (to.sender, to.to))
        return f"MAIL FROM:<{sender}>\r\n", f"RCPT TO:<{recipient}>\r\n", "DATA\r\n"


def _refusal(code: int) -> Answer:
    """What a refused recipient or content says: of this mail, or of the server as a whole."""
    if code == CLOSING or code in OF_US:
        return Answer(Outcome.AWAY, str(code))
    return Answer(Outcome.REFUSED if code >= 500 else Outcome.LATER, str(code))
