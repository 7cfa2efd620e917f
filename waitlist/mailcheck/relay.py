"""What a mail server says to us: whether it answers, TLS, signing in, and one real mail."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from waitlist import mailer
from waitlist.config import Relay
from waitlist.extensions import settings
from waitlist.mailcheck import names
from waitlist.mailcheck.findings import FAIL, PASS, WARN, Finding
from waitlist.policy.routes import FIRST
from waitlist.route import ACCEPTED, Envelope, Outcome, post_office

PATIENCE = 5.0  # seconds for each step
SOON = timedelta(days=14)  # within which a certificate should be renewed
SAID = {  # of a mail that didn't go, what to do
    Outcome.LATER: (WARN, "it is refused for now: try again in a few minutes"),
    Outcome.REFUSED: (FAIL, "it is refused for good: is the address right, and may we send?"),
    Outcome.UNKNOWN: (WARN, "the server hung up before it answered: see whether it arrived"),
    Outcome.AWAY: (FAIL, "the server takes no mail of ours: see what it says above"),
}


def check(route: str, relay: Relay, sender: str) -> Iterator[Finding]:
    """Each finding about this server, in the order in which it is talked to."""
    at = f"{relay.server}:{relay.port}"
    settings_of = "MAIL" if route == FIRST else "MAIL2"
    try:
        host = _greeted(relay)
    except (OSError, smtplib.SMTPException) as error:
        why = _words(error)
        yield Finding(
            f"{route} server", FAIL, f"{at} doesn't answer ({why}): check {settings_of}_SERVER"
        )
        return
    yield Finding(f"{route} server", PASS, f"{at} answers")
    try:
        secured = _tls(host, relay, settings_of)
        yield Finding(f"{route} TLS", *secured)
        if secured[0] != FAIL:
            yield Finding(f"{route} sign-in", *_sign_in(host, relay, sender, settings_of))
    finally:
        with suppress(OSError, smtplib.SMTPException):
            host.quit()


def send(route: str, to: str, *, now: datetime) -> Finding:
    """What became of one real mail by this route."""
    of, number = settings(), 1 + (route != FIRST)
    mail = mailer.compose(
        "check",
        to=to,
        language=mailer.mail_language(""),
        message_id=int(now.timestamp()) * 10 + number,  # of no row
        written_at=now,
        context={"number": number},
    )
    with post_office(route, tells=False) as by:
        answer = by.deliver(mail, Envelope(to, of.mail_return or of.mail_from))
    name = f"{route} mail"
    if answer.outcome is Outcome.SENT:
        sentence = "taken: see whether it arrives, and what its Authentication-Results say"
        return Finding(name, PASS, sentence)
    result, words = SAID[answer.outcome]
    return Finding(name, result, f"{words} ({answer.words})")


def _greeted(relay: Relay) -> smtplib.SMTP:
    if not names.addresses(relay.server):
        raise OSError(f"{relay.server} has no address")
    host = smtplib.SMTP(relay.server, relay.port, timeout=PATIENCE)
    host.ehlo_or_helo_if_needed()
    return host


def _tls(host: smtplib.SMTP, relay: Relay, settings_of: str) -> tuple[str, str]:
    offered = host.has_extn("starttls")
    if not relay.use_tls:
        return _without_tls(relay, settings_of, offered=offered)
    if not offered:
        return FAIL, f"it offers no STARTTLS, so no mail goes: check {settings_of}_PORT (often 587)"
    try:
        host.starttls(context=ssl.create_default_context())
        host.ehlo()
    except ssl.SSLCertVerificationError as error:
        return FAIL, (
            f"its certificate isn't good for {relay.server} ({error.verify_message}): name the "
            "server as its certificate does, or have it renewed"
        )
    except (OSError, smtplib.SMTPException) as error:
        return FAIL, f"TLS doesn't begin ({_words(error)}): ask whoever runs the relay"
    return _certificate(host)


def _certificate(host: smtplib.SMTP) -> tuple[str, str]:
    assert isinstance(host.sock, ssl.SSLSocket)
    found = host.sock.getpeercert() or {}
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(found["notAfter"])), UTC)
    sentence = f"{host.sock.version()}, a certificate until {ends:%Y-%m-%d}"
    if ends - datetime.now(UTC) < SOON:
        return WARN, f"{sentence}: have it renewed, or no mail goes from then on"
    return PASS, sentence


def _without_tls(relay: Relay, settings_of: str, *, offered: bool) -> tuple[str, str]:
    if names.is_here(relay.server):
        return PASS, "not needed: the server is on this machine"
    todo = f"set {settings_of}_USE_TLS=true" if offered else "ask whoever runs the relay for TLS"
    if relay.username and relay.password:
        return FAIL, f"our password would go in the clear: {todo}"
    return WARN, f"mail goes in the clear, with the links in it: {todo}"


def _sign_in(host: smtplib.SMTP, relay: Relay, sender: str, settings_of: str) -> tuple[str, str]:
    """Whether it knows us, and takes mail from our sender."""
    signs_in = bool(relay.username and relay.password)
    try:
        if signs_in:
            host.login(relay.username or "", relay.password or "")
        code, _ = host.mail(sender)
        host.rset()
    except (smtplib.SMTPAuthenticationError, smtplib.SMTPServerDisconnected) as error:
        todo = f"check {settings_of}_USERNAME and _PASSWORD"
        return FAIL, f"it refuses who we say we are ({_words(error)}): {todo}"
    except smtplib.SMTPNotSupportedError:
        return FAIL, f"it lets nobody sign in: check {settings_of}_PORT, or take the password away"
    except (OSError, smtplib.SMTPException) as error:
        return FAIL, f"it hung up ({_words(error)}): ask whoever runs the relay"
    if code != ACCEPTED:
        return FAIL, f"it takes no mail from {sender} ({code}): may this account send as it?"
    if not signs_in and (relay.username or relay.password):
        return WARN, f"nobody signs in, as {settings_of}_USERNAME or _PASSWORD is missing"
    return PASS, "it knows us" if signs_in else "it takes our mail though nobody signs in"


def _words(error: Exception) -> str:
    """What went wrong, in a word or two; never the server's, which may hold an address."""
    if isinstance(error, smtplib.SMTPResponseException):
        return str(error.smtp_code)
    return error.strerror if isinstance(error, OSError) and error.strerror else _name(error)


def _name(error: Exception) -> str:
    return str(error) if type(error) is OSError else type(error).__name__
