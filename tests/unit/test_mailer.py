"""What a mail server's refusal means, and what makes a repeated mail recognisable."""

from __future__ import annotations

import pytest
from flask import Flask

from waitlist import mailer, route
from waitlist.route import Outcome


@pytest.mark.parametrize(
    "code,outcome",
    [
        (421, Outcome.AWAY),
        (450, Outcome.LATER),
        (451, Outcome.LATER),
        (452, Outcome.LATER),
        (500, Outcome.AWAY),
        (503, Outcome.AWAY),
        (530, Outcome.AWAY),
        (535, Outcome.AWAY),
        (550, Outcome.REFUSED),
        (552, Outcome.REFUSED),
        (554, Outcome.REFUSED),
        (559, Outcome.REFUSED),
        (501, Outcome.REFUSED),
        (521, Outcome.REFUSED),
        (571, Outcome.REFUSED),
    ],
)
def test_a_refusal_speaks_of_a_person_or_of_the_server(code: int, outcome: Outcome) -> None:
    assert route._refusal(code).outcome is outcome


def test_a_refusal_keeps_the_code_and_none_of_the_servers_words() -> None:
    assert route._refusal(550).words == "550"


def test_a_mail_has_the_same_message_id_each_time(app: Flask) -> None:
    """P8."""
    assert mailer.stable_message_id(7) == mailer.stable_message_id(7)
    assert mailer.stable_message_id(7) != mailer.stable_message_id(8)
    assert mailer.stable_message_id(7).endswith("@join.example.com>")


@pytest.mark.parametrize(
    "locale,language",
    [("en", "en"), ("fr", "fr"), ("fr-CA", "fr"), ("FR_be", "fr"), ("de", "en"), ("", "en")],
)
def test_a_mail_is_in_the_readers_language_or_the_first_we_have(locale: str, language: str) -> None:
    assert mailer.mail_language(locale) == language


@pytest.mark.parametrize("value", ["a\r\nBcc: eve@example.org", "a\nb", "a\rb"])
def test_a_line_break_never_gets_into_a_header(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        mailer.header(value)
