"""What a mail says, in whose language, and what no name or address can make of it."""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime
from itertools import product

import pytest
from flask import Flask
from sqlalchemy import update

from tests import people
from tests.conftest import Deliver
from tests.people import ALICE
from tests.servers import Received, SmtpSink
from waitlist import links, mailer, outbox
from waitlist.extensions import db
from waitlist.models import Entry
from waitlist.tokens import Purpose

IN_ENGLISH = {
    "confirm": "Confirm your place in the line for Aurora",
    "standing": "Your place in the line for Aurora",
    "invitation": "It’s your turn: your invitation to Aurora",
    "renewal": "Your fresh link to Aurora",
    "lapsed": "Ask for a new invitation to Aurora",
    "apology": "Sorry: your invitation to Aurora came too early",
    "sorry": "Sorry: your registration at Aurora failed because of us",
    "come_back": "Come back to the line for Aurora",
    "left": "You have left the line for Aurora",
    "act": "Your link to leave the line for Aurora",
    "welcome": "Welcome to Aurora",
    "reminder": "Your seat at Aurora is held a little longer",
}
LINKS = {
    "confirm": "/confirm/",
    "standing": "/place/",
    "invitation": "/invite/",
    "renewal": "/invite/",
    "lapsed": "/invite/",
    "apology": "/place/",
    "sorry": "/invite/",
    "come_back": "/undo/",
    "left": "/undo/",
    "act": "/act/",
    "welcome": "/dispute/",
    "reminder": "/invite/",
}


def _part(mail: Received, form: str) -> str:
    body = mail.get_body((form,))
    assert body is not None
    return str(body.get_content())


def _confirm_mail(address: str, locale: str, now: datetime, deliver: Deliver) -> Received:
    people.join(address, locale=locale, now=now)
    (mail,) = deliver(now)
    return mail


def _all_kinds(now: datetime, deliver: Deliver, locale: str) -> dict[str, Received]:
    """One mail of each kind, composed by the mail worker itself."""
    everybody = people.in_every_state(now=now, deliver=deliver)
    db.session.execute(update(Entry).values(locale=locale))
    db.session.commit()
    whose = {
        "confirm": "pending",
        "standing": "waiting",
        "invitation": "invited",
        "renewal": "invited",
        "lapsed": "lapsed",
        "apology": "waiting",
        "sorry": "invited",
        "come_back": "withdrawn",
        "left": "withdrawn",
        "act": "waiting",
        "welcome": "registered",
        "reminder": "invited",
    }
    found = {}
    for kind, who in whose.items():
        entry = everybody[who]
        invitation = [people.invitation_of(entry).id] if who == "invited" else []
        outbox.stage(kind, [entry.id], now=now, invitations=invitation)
        db.session.commit()
        (found[kind],) = deliver(now)
    return found


@pytest.mark.parametrize("locale", ["en", "fr"])
def test_every_kind_of_mail_is_whole_in_every_language(
    app: Flask, now: datetime, deliver: Deliver, locale: str
) -> None:
    mails = _all_kinds(now, deliver, locale)
    for kind, mail in mails.items():
        english = str(mail["Subject"]) == IN_ENGLISH[kind]
        assert english == (locale == "en"), f"{kind}: {mail['Subject']}"
        assert mail["Content-Language"] == locale
        text, html = _part(mail, "plain"), _part(mail, "html")
        assert "Aurora" in text
        assert f'lang="{locale}"' in html
        assert ("Bonjour" in text) == (locale == "fr")
        assert not any(sign in text + str(mail["Subject"]) for sign in ("{{", "{%", "%(", "None"))
        if path := LINKS[kind]:
            link = people.link_in(mail, path)
            assert link in text
            assert html.count(link) >= 2, f"{kind}: the raw link isn't there to copy"


@pytest.mark.parametrize("state", ["waiting", "invited", "registered"])
@pytest.mark.parametrize("locale", ["en", "fr"])
def test_who_joins_again_is_told_by_mail_where_they_stand(
    app: Flask, now: datetime, deliver: Deliver, state: str, locale: str
) -> None:
    entry = people.in_every_state(now=now, deliver=deliver)[state]
    people.make(entry, locale=locale)
    mail = _confirm_mail(entry.address, locale, now, deliver)
    link = {"waiting": "/place/", "invited": "/invite/"}.get(state)
    assert mail["Content-Language"] == locale
    assert "aurora.example.com" in _part(mail, "plain") if link is None else True
    if link:
        assert people.link_in(mail, link) in _part(mail, "html")


@pytest.mark.parametrize(
    "locale,language",
    [("fr", "fr"), ("fr-CA", "fr"), ("FR_ca", "fr"), ("ja", "en"), ("en-GB", "en"), ("fry", "en")],
)
def test_the_language_is_the_persons_or_else_english(
    app: Flask, now: datetime, deliver: Deliver, locale: str, language: str
) -> None:
    mail = _confirm_mail(ALICE, locale, now, deliver)
    assert mail["Content-Language"] == language
    assert ("Confirm your place" in mail["Subject"]) == (language == "en")


def test_the_headers_say_what_the_mail_is(app: Flask, now: datetime, deliver: Deliver) -> None:
    entry = people.join(ALICE, now=now)
    (mail,) = deliver(now)
    message_id = str(mail["Message-ID"])
    assert message_id.endswith("@join.example.com>")
    assert parsedate_to_datetime(str(mail["Date"])) == now
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Feedback-ID"] == "confirm:waitlist"
    assert mail["From"] == "line@join.example.com"
    assert mail["To"] == entry.mail_to
    assert (mail.envelope.mail_from, mail.envelope.rcpt_tos) == ("line@join.example.com", [ALICE])
    parts = [part.get_content_type() for part in mail.walk() if not part.is_multipart()]
    assert parts == ["text/plain", "text/html"]


def test_every_mail_has_a_message_id_of_its_own(app: Flask, now: datetime) -> None:
    found = {mailer.stable_message_id(number) for number in range(1, 1_000)}
    assert len(found) == 999
    assert mailer.stable_message_id(7) == mailer.stable_message_id(7)


def test_each_mail_has_one_recipient(app: Flask, now: datetime, deliver: Deliver) -> None:
    people.crowd(3, now=now)
    for mail in deliver(now):
        assert len(mail.envelope.rcpt_tos) == 1
        assert len(mail.get_all("To", [])) == 1
        assert not any(mail[name] for name in ("Cc", "Bcc"))


@pytest.mark.parametrize(
    "name", ["Eve\r\nBcc: all@example.com", "Eve\nBcc: all@example.com", "Eve\rX: y", "<b>Eve</b>"]
)
def test_a_name_cant_inject_headers_or_markup(
    app: Flask, now: datetime, deliver: Deliver, name: str
) -> None:
    entry = people.join(ALICE, now=now)
    people.make(entry, name=name)
    (mail,) = deliver(now)
    assert mail.envelope.rcpt_tos == [ALICE]
    assert mail["Bcc"] is None
    assert mail["X"] is None
    assert "<b>Eve" not in _part(mail, "html")


@pytest.mark.parametrize("value", ["a@example.org\r\nBcc: b@example.org", "a\nb", "a\rb"])
def test_an_address_with_a_line_break_is_refused_by_the_mailer(app: Flask, value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        mailer.header(value)


def test_a_name_is_greeted(app: Flask, now: datetime, deliver: Deliver) -> None:
    people.make(people.join(ALICE, now=now), name="Zoë O’Neil")
    (mail,) = deliver(now)
    assert "Hello Zoë O’Neil," in _part(mail, "plain")
    assert "Zoë O’Neil" in _part(mail, "html")


@pytest.mark.parametrize(
    "typed,mailed",
    [("Ada@faß.de", "Ada@xn--fa-hia.de"), ("bob@exämple.org", "bob@xn--exmple-cua.org")],
)
def test_an_address_is_mailed_at_its_ascii_domain(
    app: Flask, now: datetime, deliver: Deliver, typed: str, mailed: str
) -> None:
    """IDNA 2008, in envelope and header."""
    mail = _confirm_mail(typed, "en", now, deliver)
    assert mail.envelope.rcpt_tos == [mailed]
    assert mail["To"] == mailed


def test_the_same_row_gives_the_same_bytes(
    app: Flask, now: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    """P8."""
    sink.answers += ["drop", "drop"]
    people.join(ALICE, locale="en", now=now)
    for minutes in (0, 10, 100):
        deliver(now.replace(hour=13 + minutes // 60, minute=minutes % 60))
    first, second, third = sink.messages
    assert first.as_bytes() == second.as_bytes() == third.as_bytes()


def test_a_link_isnt_broken_over_lines(app: Flask, now: datetime, deliver: Deliver) -> None:
    for locale, number in product(("en", "fr"), range(2)):
        mail = _confirm_mail(f"{'l' * 40}{number}{locale}@example.org", locale, now, deliver)
        entry = people.find(str(mail["To"]))
        assert links.entry_of(Purpose.CONFIRM, people.token_in(mail, "/confirm/")) == entry
