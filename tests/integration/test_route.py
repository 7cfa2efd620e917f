"""Several mails on one connection, to a server that takes several commands at once (RFC 2920)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import cast

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from flask import Flask

from tests import people
from tests.servers import SmtpSink, picky_server
from waitlist import delivery
from waitlist import route as routes
from waitlist.route import Outcome, Route, post_office

ANN, BOB, CAT = "ann@example.org", "bob@example.org", "cat@example.org"
US = "line@join.example.com"


@pytest.fixture
def route(app: Flask) -> Iterator[Route]:
    """A route to the sink."""
    with post_office() as route:
        yield route


def _to(address: str) -> routes.Envelope:
    return routes.Envelope(address, US)


def _mail(to: str) -> bytes:
    return f"To: {to}\r\n\r\n.Hello {to}\r\n".encode()


def _deliver(route: Route, *people: str) -> list[Outcome]:
    """Mail each of these; whom the next is for is known from the start."""
    following = [*map(_to, people[1:]), None]
    return [
        route.deliver(_mail(to), _to(to), then=then).outcome
        for to, then in zip(people, following, strict=True)
    ]


def _got(sink: SmtpSink) -> list[tuple[str, str]]:
    """For whom each mail was, and what it said."""
    return [(*mail.envelope.rcpt_tos, mail.get_content().strip()) for mail in sink.messages]


def test_whom_the_next_mail_is_for_goes_with_the_mail_before(
    route: Route, sink: SmtpSink, said: list[str]
) -> None:
    """One round trip a mail."""
    assert _deliver(route, ANN, BOB, CAT) == [Outcome.SENT] * 3
    assert _got(sink) == [(to, f".Hello {to}") for to in (ANN, BOB, CAT)]
    assert len(said) == 1 + 1 + 3  # EHLO, the first envelope, three mails


def test_a_server_that_takes_one_command_at_a_time_gets_one(
    route: Route, sink: SmtpSink, said: list[str]
) -> None:
    sink.pipelines = False
    assert _deliver(route, ANN, BOB) == [Outcome.SENT] * 2
    assert _got(sink) == [(to, f".Hello {to}") for to in (ANN, BOB)]
    assert all(words.count("\r\n") == 1 for words in said if "Hello" not in words)
    assert "MAIL" not in said[4]


def test_who_was_told_of_and_isnt_mailed_after_all_gets_nothing(
    route: Route, sink: SmtpSink, said: list[str]
) -> None:
    """P9: and the server takes no goodbye, nor another's mail, for it."""
    route.deliver(_mail(ANN), _to(ANN), then=_to(BOB))
    assert route.deliver(_mail(CAT), _to(CAT)).outcome is Outcome.SENT
    assert _got(sink) == [(ANN, f".Hello {ANN}"), (CAT, f".Hello {CAT}")]
    route.deliver(_mail(ANN), _to(ANN), then=_to(BOB))
    route.close()
    assert not any("quit" in words.lower() for words in said)


def test_another_mail_to_the_same_person_isnt_taken_for_the_one_that_was_told(
    route: Route, sink: SmtpSink
) -> None:
    """It would come back as the other."""
    told, other = routes.Envelope(BOB, "told@us.example"), routes.Envelope(BOB, "other@us.example")
    route.deliver(_mail(ANN), _to(ANN), then=told)
    assert route.deliver(_mail(BOB), other).outcome is Outcome.SENT
    senders = [(mail.envelope.mail_from, mail.envelope.rcpt_tos) for mail in sink.messages]
    assert senders == [(US, [ANN]), ("other@us.example", [BOB])]


@pytest.mark.parametrize("awaits", [False, True], ids=["then-none", "awaits-it-nevertheless"])
def test_the_others_mails_go_on_after_a_recipient_who_was_refused(
    route: Route, sink: SmtpSink, monkeypatch: pytest.MonkeyPatch, awaits: bool
) -> None:
    """P8: some servers say yes to `DATA` though they took no recipient."""

    async def refuse_bob(
        _self: SmtpSink, _server: SMTP, _session: Session, envelope: Envelope, to: str, _: object
    ) -> str:
        if to != BOB or awaits:
            envelope.rcpt_tos.append(to)
        return "550 No such person" if to == BOB else "250 OK"

    monkeypatch.setattr(SmtpSink, "handle_RCPT", refuse_bob)
    assert _deliver(route, ANN, BOB, CAT) == [Outcome.SENT, Outcome.REFUSED, Outcome.SENT]
    assert _got(sink) == [(to, f".Hello {to}") for to in (ANN, CAT)]


@pytest.mark.parametrize(
    "answer,outcome",
    [("450 Later", Outcome.LATER), ("550 No", Outcome.REFUSED), ("drop", Outcome.UNKNOWN)],
)
def test_an_answer_is_about_the_mail_that_it_follows(
    route: Route, sink: SmtpSink, answer: str, outcome: Outcome
) -> None:
    """P8: a refusal is asked for once more, without what was told with the mail."""
    sink.answers += ["250 OK", answer, *([answer] if answer != "drop" else [])]
    assert _deliver(route, ANN, BOB, CAT) == [Outcome.SENT, outcome, Outcome.SENT]
    assert _got(sink)[-1] == (CAT, f".Hello {CAT}")


def test_a_server_that_doesnt_answer_ahead_isnt_told_ahead_again(
    route: Route, sink: SmtpSink, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """P16: it costs a connection, and no mail."""
    _hang_up_on_a_second_mail(monkeypatch)
    assert _deliver(route, ANN, BOB, CAT) == [Outcome.SENT] * 3
    assert [to for to, _ in _got(sink)] == [ANN, BOB, CAT]
    ahead = [words for words in said if "Hello" in words and "MAIL" in words]
    assert len(ahead) == 1


def _hang_up_on_a_second_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sink takes one mail a connection."""
    mail, served = SMTP.smtp_MAIL, set()

    async def once(server: SMTP, words: str) -> None:
        if server in served:
            cast(asyncio.Transport, server.transport).close()
            return
        served.add(server)
        await mail(server, words)

    monkeypatch.setattr(SMTP, "smtp_MAIL", once)


@pytest.mark.parametrize(
    "how,first",
    [
        ("554 I can't take both", Outcome.SENT),
        ("503 Out of order", Outcome.SENT),
        ("", Outcome.UNKNOWN),
    ],
    ids=["refuses", "says-bad-sequence", "hangs-up"],
)
def test_a_server_that_dislikes_what_follows_a_mail_gets_one_at_a_time(
    app: Flask, how: str, first: Outcome
) -> None:
    """P8, P16: what it says of that isn't taken for its word on the mail."""
    with picky_server(how) as (port, taken), _mail_port(app, port), post_office() as route:
        assert _deliver(route, ANN, BOB, CAT) == [first, Outcome.SENT, Outcome.SENT]
        assert not route.tells
    assert taken == [to for to in (ANN, BOB, CAT) if to != ANN or first is Outcome.SENT]


def test_it_is_remembered_that_a_server_gets_one_at_a_time(app: Flask, now: datetime) -> None:
    with picky_server("") as (port, taken), _mail_port(app, port):
        for turn, names in enumerate((("ann", "bob"), ("cat", "dan"))):
            at = now + turn * timedelta(minutes=5)  # then the first, cut off, is due again
            for name in names:
                people.join(f"{name}@example.org", now=at)
            delivery.deliver(lambda at=at: at, until=at + timedelta(seconds=10))  # type: ignore[misc]
    assert sorted(taken) == [f"{name}@example.org" for name in ("ann", "bob", "cat", "dan")]


@contextmanager
def _mail_port(app: Flask, port: int) -> Iterator[None]:
    mail = app.extensions["mail"]
    usual, mail.port = mail.port, port
    try:
        yield
    finally:
        mail.port = usual
