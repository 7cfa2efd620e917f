"""Cases in which a promise was broken once: each a way that an attacker found."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from flask import Flask

from tests import people
from tests.conftest import KEY, Deliver, MakeApp
from tests.people import ALICE, BOB, CAROL
from tests.servers import SmtpSink
from tests.visitors import Browser, Operator
from waitlist import cohorts, delivery, links, projection, tokens
from waitlist.admission import gate, waves
from waitlist.errors import FileRefused, LineUnavailable
from waitlist.extensions import db
from waitlist.models import Entry
from waitlist.onboarding import invitations
from waitlist.signup import importing, joining, leaving
from waitlist.signup import people as known
from waitlist.tokens import Purpose, Ref

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FOREVER = datetime.max.replace(tzinfo=UTC)


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, bool], None]:
    """Makes the mail server refuse one address, with or without hanging up at once."""

    def refuse(address: str, answer: str, hang_up: bool) -> None:
        async def rcpt(
            _sink: SmtpSink, server: SMTP, _s: Session, envelope: Envelope, to: str, _o: list[str]
        ) -> str:
            if to != address:
                envelope.rcpt_tos.append(to)
                return "250 OK"
            if hang_up:
                await server.push(answer)
                assert server.transport is not None
                server.transport.close()
            return answer

        monkeypatch.setattr(SmtpSink, "handle_RCPT", rcpt)

    return refuse


def _try_to_send(now: datetime, *, every: timedelta, times: int) -> None:
    """What the mail worker does again and again."""
    for number in range(times):
        at = now + number * every
        delivery.deliver(lambda at=at: at, until=FOREVER)  # type: ignore[misc]


@pytest.mark.parametrize(
    "answer,hang_up",
    [
        ("501 5.1.3 syntax", False),
        ("521 none here", False),
        ("571 blocked", False),
        ("550 5.1.1 unknown", True),
    ],
)
def test_one_refused_recipient_doesnt_stop_the_mail_of_others(
    app: Flask,
    sink: SmtpSink,
    now: datetime,
    deliver: Deliver,
    refuse: Callable[[str, str, bool], None],
    answer: str,
    hang_up: bool,
) -> None:
    """P8, P16."""
    alice, bob = (people.wait_in_line(address, now=now) for address in (ALICE, BOB))
    deliver(now)
    people.invite(alice, bob, now=now)
    sink.messages.clear()
    refuse(ALICE, answer, hang_up)
    _try_to_send(now, every=HOUR, times=5)
    assert [mail.envelope.rcpt_tos for mail in sink.messages] == [[BOB]]
    assert ("invitation", "bounced") in people.mails_owed(alice)


def test_a_mail_that_is_put_off_for_five_days_ends_and_gives_its_seat_back(
    app: Flask, sink: SmtpSink, now: datetime, deliver: Deliver
) -> None:
    """P8."""
    alice = people.wait_in_line(ALICE, now=now)
    deliver(now)
    people.invite(alice, now=now)
    sink.rcpt_answer = "450 later"
    _try_to_send(now, every=HOUR, times=5 * 24 + 2)
    assert ("invitation", "bounced") in people.mails_owed(alice)
    assert gate.show(now=now).seats_used == 0


def test_a_server_that_takes_mail_and_hangs_up_gets_it_three_times_and_no_more(
    app: Flask, sink: SmtpSink, now: datetime, deliver: Deliver
) -> None:
    """P8."""
    alice = people.wait_in_line(ALICE, now=now)
    deliver(now)
    people.invite(alice, now=now)
    sink.messages.clear()
    sink.answers += ["drop"] * 10
    _try_to_send(now, every=2 * HOUR, times=10)
    assert len({mail.as_bytes() for mail in sink.messages}) == 1
    assert len(sink.messages) == 3
    assert people.invitation_of(alice).expires_at is not None


def test_a_bounce_after_a_move_leaves_no_ghost_in_either_line(
    app: Flask, now: datetime, deliver: Deliver, monkeypatch: pytest.MonkeyPatch, sink: SmtpSink
) -> None:
    """P13."""
    people.add_cohort("beta", now=now)
    people.wait_in_line(ALICE, now=now)
    people.wait_in_line(BOB, now=now)

    def move(name: str) -> None:
        if name == "mail.accepted" and known.find(ALICE).cohort.name == "general":
            db.session.rollback()
            known.move([ALICE], source="general", target="beta", actor="test", reason="", now=now)

    monkeypatch.setattr(delivery, "failpoint", move)
    sink.rcpt_answer = "550 unknown"
    deliver(now)
    projection.require_valid()
    assert {name: projection.check(id_) for name, id_ in _lines().items()} == {
        "general": [],
        "beta": [],
    }


def _lines() -> dict[str, int]:
    found = {cohort.name: cohort.id for cohort in cohorts.every()}
    db.session.rollback()
    return found


def test_two_rebuilds_at_once_lose_nobody_who_confirms_meanwhile(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P5, P13."""
    cohort_id = people.wait_in_line(ALICE, now=now).cohort_id
    filled = {number: threading.Event() for number in (1, 2)}
    let_go = {number: threading.Event() for number in (1, 2)}

    def hold(name: str) -> None:
        number = int(threading.current_thread().name) if name == "rebuild.filled" else 0
        if number:
            filled[number].set()
            let_go[number].wait(20)

    def rebuild() -> None:
        with app.app_context(), suppress(LineUnavailable):  # then the next tick rebuilds
            projection.rebuild(cohort_id)

    monkeypatch.setattr(projection, "failpoint", hold)
    threads = {number: threading.Thread(target=rebuild, name=str(number)) for number in (1, 2)}
    for number, thread in threads.items():
        thread.start()
        assert filled[number].wait(20)
    people.wait_in_line(CAROL, now=now)
    for number, thread in threads.items():
        let_go[number].set()
        thread.join(20)
    monkeypatch.undo()
    projection.require_valid()
    assert projection.check(cohort_id) == []


def test_leaving_and_coming_back_isnt_a_fourth_renewal(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    """P6."""
    alice = people.wait_in_line(ALICE, now=now)
    deliver(now)
    people.invite(alice, now=now)
    deliver(now)
    people.make(alice, renewals=3)
    late = now + 80 * HOUR
    invitations.lapse(now=late)
    people.leave(people.find(ALICE), now=late, deliver=deliver)
    bob = people.wait_in_line(BOB, now=late)
    leaving.come_back(links.entry_token(Purpose.UNDO, alice), now=late)
    assert people.find(ALICE).rank > bob.rank


def test_joining_again_and_again_doesnt_keep_an_unconfirmed_place(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    """P5."""
    people.join(ALICE, now=now)
    deliver(now)
    bob = people.wait_in_line(BOB, now=now)
    for number in range(1, 5):
        at = now + number * 40 * HOUR
        people.join(ALICE, now=at)
        deliver(at)
        joining.expire_unconfirmed(now=at)
    assert people.confirm(people.find(ALICE), now=now + 161 * HOUR).rank > bob.rank


def test_strangers_mails_dont_stop_admission(
    make_app: MakeApp, sink: SmtpSink, now: datetime
) -> None:
    """P16, P24."""
    app = make_app(mail_per_minute=2)
    with app.app_context():
        projection.require_valid()
        people.wait_in_line(ALICE, now=now)
        people.open_gate(10, 3600, now=now)
        sink.rcpt_answer = "450 greylisted"
        for number in range(12):
            people.join(f"stranger{number}@example.net", locale="en", now=now)
        waves.tick(now=now)
        assert waves.tick(now=now + timedelta(seconds=2)).admitted == 1


def test_a_rate_of_zero_admits_nobody_even_with_an_allowance_left(
    app: Flask, now: datetime
) -> None:
    people.open_gate(10, 3600, now=now)
    for second in range(5):
        waves.tick(now=now + timedelta(seconds=second))
    gate.change(actor="test", now=now, rate=0)
    people.crowd(3, now=now)
    admitted = [waves.tick(now=now + timedelta(seconds=second)).admitted for second in range(5, 9)]
    assert admitted == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "rows",
    [
        "name,email\nAda,ada@example.org\nBob\n",
        "email,joined_at\nada@example.org,\nbob@example.org,0001-01-01T00:00:00+05:00\n",
    ],
)
def test_an_odd_row_is_rejected_and_the_others_come_in(
    app: Flask, tmp_path: Path, now: datetime, rows: str
) -> None:
    path = tmp_path / "odd.csv"
    path.write_text(rows)
    summary = importing.import_people(path, cohort="general", actor="test", now=now)
    assert (summary.accepted, summary.rejected) == (1, 1)


def test_a_second_import_at_once_is_refused(app: Flask, tmp_path: Path, now: datetime) -> None:
    path = tmp_path / "people.csv"
    path.write_text("email\nada@example.org\n")
    with (tmp_path / "import.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FileRefused, match="another import is running"):
            importing.import_people(path, cohort="general", actor="test", now=now)


def test_a_formula_in_a_header_is_defused_in_the_rejects(
    app: Flask, tmp_path: Path, now: datetime
) -> None:
    path = tmp_path / "people.csv"
    path.write_text("email,=cmd\nnobody,1\n")
    summary = importing.import_people(path, cohort="general", actor="test", now=now)
    assert summary.rejects_file
    assert ",=cmd" not in Path(summary.rejects_file).read_text()


@pytest.mark.parametrize("ref", [Ref(2**70, 1, "a"), Ref(1, 1, "é"), Ref(-1, 1, "")])
@pytest.mark.parametrize("purpose", Purpose)
def test_what_a_leaked_key_signs_is_unknown_all_the_same(
    client: Browser, now: datetime, purpose: Purpose, ref: Ref
) -> None:
    """P22."""
    people.invite(people.wait_in_line(ALICE, now=now), now=now)
    token = tokens.dumps((KEY,), purpose, ref)
    assert client.get(f"/{purpose}/{token}").status_code == 404


def test_nested_json_is_bad_input(client: Browser) -> None:
    body = "[" * 30_000
    answer = client.post("/join", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


def test_an_origin_that_is_no_address_is_foreign(client: Browser) -> None:
    headers = {"Origin": "http://["}
    assert client.post("/join", data={"address": ALICE}, headers=headers).status_code == 403


def test_a_suppressed_person_can_be_put_back_at_the_old_rank(
    runner: Operator, app: Flask, now: datetime
) -> None:
    alice: Entry = people.wait_in_line(ALICE, now=now)
    people.make(alice, suppressed_at=now)
    assert runner.run("person", "unsuppress", ALICE).exit_code == 0
    back = people.find(ALICE)
    assert (back.suppressed_at, back.rank) == (None, alice.rank)
    assert projection.place_of(back).position == 1
