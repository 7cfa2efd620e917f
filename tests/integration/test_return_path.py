"""Mails that can come back: each has a return path of its own, and what returns names its mail."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask

from tests import people, servers
from tests.conftest import Deliver, MakeApp
from tests.people import ALICE, BOB
from tests.reports import generic, kept, mail_of
from tests.returned import absence, complaint, dsn
from tests.servers import SmtpSink
from tests.visitors import Operator
from waitlist import links, mailer, outbox, projection, returnpath
from waitlist.admission import gate
from waitlist.extensions import db, settings
from waitlist.models import Entry
from waitlist.reports import generic as generic_reports
from waitlist.reports import taking
from waitlist.reports.taking import Outcome

HOME = "bounces@return.example.com"


@pytest.fixture
def app(make_app: MakeApp) -> Iterator[Flask]:
    """The app, with a place where mail returns to."""
    app = make_app(mail_return=HOME)
    with app.app_context():
        projection.require_valid()
        yield app


def _path(entry: Entry, kind: str = "invitation") -> str:
    message = mail_of(entry, kind)
    return returnpath.address(settings().secret_keys, HOME, message.id, message.nonce)


def _pipe(runner: Operator, tmp_path: Path, *mails: bytes) -> list[str]:
    """What `flask mail bounces` makes of these."""
    files = []
    for number, mail in enumerate(mails):
        files.append(tmp_path / str(number))
        files[-1].write_bytes(mail)
    return [one["outcome"] for one in runner.json("mail", "bounces", *map(str, files))]


@pytest.mark.parametrize("pipelines", [True, False])
def test_each_mail_has_a_return_path_of_its_own(
    app: Flask, now: datetime, deliver: Deliver, sink: SmtpSink, pipelines: bool
) -> None:
    """Told ahead or not, each mail goes under its own."""
    sink.pipelines = pipelines
    entries = [people.wait_in_line(f"p{n}@example.org", now=now) for n in range(5)]
    people.invite(*entries, now=now)
    mails = deliver(now)
    assert len(mails) >= 5
    for mail in mails:
        returned = returnpath.found(mail.envelope.mail_from or "")
        assert returned is not None
        assert returned.id == mailer.named_in(mail["Message-ID"])
        assert mail["From"] == "line@join.example.com"
        assert "Return-Path" not in mail  # the last server writes it
    assert len({mail.envelope.mail_from for mail in mails}) == len(mails)


def test_two_mails_to_one_person_return_apart(
    alice: Entry, now: datetime, deliver: Deliver
) -> None:
    """Whom the next is for isn't enough to know its envelope by."""
    for _ in range(2):
        outbox.stage("act", [alice.id], now=now)
    db.session.commit()
    first, second = deliver(now)
    assert first.envelope.rcpt_tos == second.envelope.rcpt_tos == [ALICE]
    assert first.envelope.mail_from != second.envelope.mail_from
    for mail in (first, second):
        returned = returnpath.found(mail.envelope.mail_from or "")
        assert returned is not None
        assert returned.id == mailer.named_in(mail["Message-ID"])


def test_without_the_setting_mail_returns_to_its_sender(
    make_app: MakeApp, now: datetime, deliver: Deliver
) -> None:
    with make_app().app_context():
        people.join(BOB, now=now)
        [mail] = deliver(now)
        assert mail.envelope.mail_from == "line@join.example.com"


def test_a_mail_that_came_back_is_taken_to_account(
    alice: Entry, now: datetime, runner: Operator, tmp_path: Path
) -> None:
    assert _pipe(runner, tmp_path, dsn(_path(alice)), dsn(_path(alice))) == [
        "taken",
        "known already",
    ]
    assert mail_of(alice, "invitation").state == "bounced"
    assert people.find(ALICE).suppressed_at is not None
    assert people.invitation_of(alice).state == "revoked"
    assert kept() == [("dsn", "bounced", "failed 5.1.1")]
    assert gate.verify() == {}


def test_it_can_be_piped_in(alice: Entry, runner: Operator) -> None:
    """As Postfix does."""
    result = runner.run("mail", "bounces", "-", piped=dsn(_path(alice)))
    assert result.exit_code == 0, result.output
    assert "taken" in result.stdout
    assert mail_of(alice, "invitation").state == "bounced"


def test_a_complaint_of_a_feedback_loop_is_taken_to_account(
    alice: Entry, runner: Operator, tmp_path: Path
) -> None:
    assert _pipe(runner, tmp_path, complaint(_path(alice))) == ["taken"]
    assert mail_of(alice, "invitation").state == "complained"
    assert people.invitation_of(alice).state == "open"


def test_nobody_can_forge_a_bounce(
    alice: Entry, now: datetime, runner: Operator, tmp_path: Path
) -> None:
    """P22: neither by the Message-ID, which all can work out, nor with another's signature."""
    message = mail_of(alice, "invitation")
    keys = settings().secret_keys
    named = mailer.stable_message_id(message.id)
    paths = [
        HOME,
        named.strip("<>"),
        returnpath.address(("another key",), HOME, message.id, message.nonce),
        returnpath.address(keys, HOME, message.id, "0" * 16),
        returnpath.address(keys, HOME, 2**63 - 1, message.nonce),
        returnpath.address(keys, HOME, 2**64 - 1, message.nonce),
        _path(alice, "standing").replace("+", "+a"),
    ]
    forged = [dsn(path, message_id=named) for path in paths] + [absence(_path(alice))]
    assert "taken" not in _pipe(runner, tmp_path, *forged)
    assert people.find(ALICE).suppressed_at is None
    assert kept() == []


def test_a_token_of_a_link_is_no_return_path(
    alice: Entry, runner: Operator, tmp_path: Path
) -> None:
    """P22."""
    token = links.invitation_token(people.invitation_of(alice))
    assert _pipe(runner, tmp_path, dsn(f"bounces+{token}@return.example.com")) == ["not understood"]


def test_it_counts_under_a_key_that_was_replaced(
    app: Flask, make_app: MakeApp, alice: Entry, now: datetime
) -> None:
    path = _path(alice)
    keys = ("a-newer-key-that-signs-from-now-on-for-all", *settings().secret_keys)
    db.session.rollback()
    with make_app(mail_return=HOME, secret_keys=keys).app_context():
        body = b'{"kind": "delivered", "return_path": "%s"}' % path.encode()
        [report] = generic_reports.read(body, webhook_id="1")
        assert taking.take(report, now=now) is Outcome.TAKEN


def test_while_the_database_is_away_the_mail_server_keeps_the_mail(
    alice: Entry,
    runner: Operator,
    tmp_path: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P15: EX_TEMPFAIL of sysexits.h."""
    monkeypatch.setattr("waitlist.extensions.LOCK_WAIT", 0.2)
    file = tmp_path / "mail"
    file.write_bytes(dsn(_path(alice)))
    db.session.rollback()
    with servers.locked(database_url):
        result = runner.run("mail", "bounces", str(file))
    assert result.exit_code == 75
    assert "try again" in result.stderr
    assert kept() == []
    assert runner.run("mail", "bounces", str(file)).exit_code == 0
    assert len(kept()) == 1


def test_without_a_file_it_says_how_it_is_used(runner: Operator) -> None:
    assert runner.run("mail", "bounces").exit_code == 2


def test_a_report_names_a_mail_by_its_return_path_too(alice: Entry, now: datetime) -> None:
    """SES tells it as the source; another program may know nothing else."""
    said = generic("delivered", mail_of(alice, "invitation"), ALICE, return_path=_path(alice))
    del said["message_id"]
    [report] = generic_reports.read(str(said).replace("'", '"').encode(), webhook_id="1")
    assert taking.take(report, now=now + timedelta(hours=1)) is Outcome.TAKEN
    assert mail_of(alice, "invitation").state == "delivered"
