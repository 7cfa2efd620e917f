"""Halting a wave, and taking it back: whoever's mail hasn't gone is back in place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import func, select, update

from tests import people, tables
from tests.conftest import Deliver, MakeApp
from waitlist import delivery, leasing, links, outbox, projection
from waitlist.admission import gate, plans, recall, rounds, waves
from waitlist.admission.plans import When
from waitlist.admission.recall import Recalled
from waitlist.errors import InvitationClosed, ValueRefused, WaveUnknown
from waitlist.extensions import db
from waitlist.models import Audit, Entry, Gate, Invitation, Message, Wave
from waitlist.onboarding import completion, view

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
UNDO = timedelta(seconds=60)


@pytest.fixture
def app(make_app: MakeApp) -> Iterator[Flask]:
    """The app, where a wave by hand waits a minute before its first mail."""
    app = make_app(wave_undo=UNDO)
    with app.app_context():
        projection.require_valid()
        yield app


def _wave(asked: int, now: datetime) -> int:
    wave_id = waves.admit(asked, cohort=None, actor="test", now=now).wave_id
    assert wave_id is not None
    return wave_id


def _recall(wave_id: int, now: datetime, *, revoke: bool = False) -> Recalled:
    done = recall.recall(wave_id, revoke=revoke, actor="ines", reason="too many", now=now)
    assert gate.verify() == {}
    db.session.rollback()
    return done


def _count(model: type, *which: object) -> int:
    found = db.session.scalar(select(func.count()).select_from(model).where(*which))  # type: ignore[arg-type]
    db.session.rollback()
    return found or 0


def _states() -> set[str]:
    found = set(db.session.scalars(select(Entry.state)))
    db.session.rollback()
    return found


def test_no_mail_of_a_wave_goes_before_its_minute_is_over(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    people.crowd(3, now=now)
    deliver(now)
    people.open_gate(10, now=now)
    _wave(3, now)
    assert deliver(now + UNDO - SECOND) == []
    assert len(deliver(now + UNDO)) == 3


def test_within_the_minute_everybody_is_back_at_their_old_place_and_nobody_has_a_mail(
    app: Flask, redis: Redis, now: datetime, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3, P4, P5, P6, P13: in as many batches as it takes."""
    monkeypatch.setattr(recall, "BATCH", 2)
    people.crowd(7, now=now)
    deliver(now)
    people.open_gate(10, now=now)
    before = tables.line_in_sql()
    wave_id = _wave(5, now)
    done = _recall(wave_id, now + 59 * SECOND)
    assert (done.back, done.revoked, done.rest) == (5, [], [])
    assert tables.line_in_sql() == before == tables.line_in_redis(redis)
    assert db.session.scalar(select(Gate.seats_used)) == 0
    db.session.rollback()
    assert deliver(now + HOUR) == []
    reasons = set(db.session.scalars(select(Message.reason).where(Message.kind == "invitation")))
    assert reasons == {"the wave was recalled"}
    assert db.session.get_one(Wave, wave_id).state == "recalled"
    db.session.rollback()
    again = waves.admit(5, cohort=None, actor="test", now=now + HOUR)
    assert again.admitted == 5
    assert _count(Invitation, Invitation.state == "open") == 5


def test_whoever_has_their_mail_stays_invited_and_is_listed(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    ids = people.crowd(4, now=now)
    people.open_gate(10, now=now)
    wave_id = _wave(4, now)
    _send(2, now + UNDO)
    people.register(db.session.get_one(Entry, ids[0]), "ada", now=now + UNDO)
    done = _recall(wave_id, now + UNDO)
    assert done.back == 2
    assert [(one.entry_id, one.address, one.state) for one in done.rest] == [
        (ids[0], "p0@example.org", "registered"),
        (ids[1], "p1@example.org", "mailed"),
    ]
    assert _states() == {"registered", "invited", "waiting"}
    links_to = {mail["To"] for mail in deliver(now + HOUR) if "/invite/" in people.words_of(mail)}
    assert links_to == {"p1@example.org"}  # who was told where they stand


def test_nobody_learns_of_an_invitation_before_its_own_mail_went(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    """Though they ask within the minute where they stand."""
    people.wait_in_line("alice@example.org", now=now)
    deliver(now)
    people.open_gate(10, now=now)
    wave_id = _wave(1, now)
    later = now + timedelta(minutes=20)
    people.join("alice@example.org", now=later)
    db.session.execute(update(Message).where(Message.state == "queued").values(due_at=later))
    db.session.execute(
        update(Message).where(Message.kind == "invitation").values(due_at=later + UNDO)
    )
    db.session.commit()
    assert deliver(later) == []
    _recall(wave_id, later)
    (mail,) = deliver(later + UNDO)
    assert "/invite/" not in people.words_of(mail)
    assert "You are number 1" in people.words_of(mail)


def test_a_mail_that_is_under_way_counts_as_gone(app: Flask, now: datetime) -> None:
    """P9."""
    ids = people.crowd(3, now=now)
    people.open_gate(10, now=now)
    wave_id = _wave(3, now)
    assert len(leasing.lease(now=now + UNDO, most=1)) == 1
    done = _recall(wave_id, now + UNDO)
    assert done.back == 2
    assert [(one.entry_id, one.state) for one in done.rest] == [(ids[0], "mail under way")]


def test_revoking_puts_the_rest_back_too_with_an_apology_and_leaves_who_registered(
    app: Flask, redis: Redis, now: datetime, deliver: Deliver
) -> None:
    ids = people.crowd(4, now=now)
    before = tables.line_in_sql()
    people.open_gate(10, now=now)
    wave_id = _wave(4, now)
    _send(3, now + UNDO)
    people.register(db.session.get_one(Entry, ids[0]), "ada", now=now + UNDO)
    done = _recall(wave_id, now + UNDO, revoke=True)
    assert (done.back, done.revoked) == (1, ids[1:3])
    assert [one.state for one in done.rest] == ["registered", "apology owed", "apology owed"]
    assert tables.line_in_sql() == before[1:] == tables.line_in_redis(redis)
    assert db.session.scalar(select(Gate.seats_used)) == 1
    db.session.rollback()
    mails = [mail for mail in deliver(now + HOUR) if "Sorry" in str(mail["Subject"])]
    assert [mail["To"] for mail in mails] == ["p1@example.org", "p2@example.org"]
    assert "too early" in people.words_of(mails[0])
    people.link_in(mails[0], "/place/")


def test_it_may_be_revoked_afterwards_and_to_repeat_it_changes_nothing(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    people.crowd(3, now=now)
    people.open_gate(10, now=now)
    wave_id = _wave(3, now)
    _send(2, now + UNDO)
    assert _recall(wave_id, now + UNDO).back == 1
    done = _recall(wave_id, now + UNDO, revoke=True)
    assert (done.back, len(done.revoked)) == (0, 2)
    again = _recall(wave_id, now + UNDO, revoke=True)
    assert (again.back, again.revoked) == (0, [])
    assert {one.state for one in again.rest} == {"back in line"}
    assert _count(Message, Message.kind == "apology") == 2


def test_a_revoked_link_says_that_its_owner_still_waits(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    """P11: and registers nobody."""
    ids = people.crowd(1, now=now)
    people.open_gate(10, now=now)
    wave_id = _wave(1, now)
    deliver(now + UNDO)
    _recall(wave_id, now + UNDO, revoke=True)
    token = links.invitation_token(people.invitation_of(db.session.get_one(Entry, ids[0])))
    shown = view.look(token, now=now + UNDO)
    assert (shown.state, shown.way) == ("revoked", "waits")
    with pytest.raises(InvitationClosed, match="revoked"):
        completion.complete(token, people.form("ada"), now=now + UNDO)


def test_no_apology_goes_to_somebody_who_is_invited_anew_before_it_went(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    people.crowd(1, now=now)
    people.open_gate(10, now=now)
    wave_id = _wave(1, now)
    deliver(now + UNDO)
    _recall(wave_id, now + UNDO, revoke=True)
    _wave(1, now + UNDO)
    subjects = [str(mail["Subject"]) for mail in deliver(now + 2 * UNDO)]
    assert not any("Sorry" in subject for subject in subjects)
    assert len(subjects) == 1


def test_a_recalled_wave_carries_on_no_more(app: Flask, now: datetime) -> None:
    people.crowd(9, now=now)
    people.open_gate(100, now=now)
    spread = waves.admit(6, cohort=None, actor="test", now=now, when=When(over=6 * MINUTE)).wave_id
    assert spread is not None
    plans.carry_on_due(now=now + MINUTE)
    assert _recall(spread, now + MINUTE).back == 1
    assert plans.carry_on_due(now=now + 3 * MINUTE) == []
    assert _states() == {"waiting"}


def test_a_recall_is_audited_with_what_it_did(app: Flask, now: datetime) -> None:
    people.crowd(3, now=now)
    people.open_gate(10, now=now)
    wave_id = _wave(3, now)
    _recall(wave_id, now)
    acts = db.session.scalars(select(Audit).where(Audit.action.like("wave.recall%"))).all()
    assert [(act.action, act.subject) for act in acts] == [
        ("wave.recall", f"wave:{wave_id}"),
        ("wave.recalled", f"wave:{wave_id}"),
    ]
    assert acts[0].before == {"state": "done", "admitted": 3}
    assert (acts[0].after, acts[0].reason) == ({"state": "recalled"}, "too many")
    assert acts[1].after == {"back": 3, "revoked": 0}


def test_a_recall_beside_the_mail_worker_puts_back_exactly_those_it_doesnt_mail(
    app: Flask, now: datetime, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9: each was mailed or is back in line, and nobody is both."""
    monkeypatch.setattr(recall, "BATCH", 5)
    people.crowd(60, now=now)
    deliver(now)
    people.open_gate(100, now=now)
    wave_id = _wave(60, now)
    began = threading.Event()

    def mail() -> None:
        began.set()
        delivery.deliver(lambda: now + UNDO, until=now + HOUR)

    def take_back() -> None:
        began.wait(10)
        recall.recall(wave_id, revoke=False, actor="test", reason="", now=now + UNDO)

    people.at_once(app, [mail, take_back])
    sent = set(
        db.session.scalars(
            select(Message.entry_id).where(Message.kind == "invitation", Message.state == "sent")
        )
    )
    invited = set(db.session.scalars(select(Entry.id).where(Entry.state == "invited")))
    assert sent == invited
    assert gate.verify() == {}
    db.session.rollback()


def test_after_a_halt_nobody_else_is_admitted(app: Flask, now: datetime) -> None:
    people.crowd(9, now=now)
    people.open_gate(100, now=now)
    wave_id = waves.admit(6, cohort=None, actor="test", now=now, when=When(over=6 * MINUTE)).wave_id
    assert wave_id is not None
    for minute in (1, 2):
        plans.carry_on_due(now=now + minute * MINUTE)
    halted = recall.halt(wave_id, actor="ines", reason="enough", now=now + 2 * MINUTE)
    assert (halted.state, halted.admitted) == ("halted", 2)
    assert plans.carry_on_due(now=now + 5 * MINUTE) == []
    assert plans.carry_on(wave_id, now=now + 5 * MINUTE).admitted == 0
    assert _count(Invitation) == 2


def test_a_wave_that_another_process_runs_stops_before_the_next_person(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second thread halts it while the first is between two rounds, and under the lock."""
    monkeypatch.setattr(rounds, "ROUND", 2)
    people.crowd(20, now=now)
    people.open_gate(100, now=now)
    committed, halted = threading.Event(), threading.Event()
    seen: list[int] = []

    def hold(place: str) -> None:
        if place == "admission.committed" and not committed.is_set():
            committed.set()
            assert halted.wait(10)

    monkeypatch.setattr(rounds, "failpoint", hold)

    def run() -> int:
        return waves.admit(15, cohort=None, actor="test", now=now).admitted

    def stop() -> int:
        assert committed.wait(10)
        wave_id = db.session.scalar(select(Wave.id).where(Wave.state == "running"))
        db.session.rollback()
        assert wave_id is not None
        recall.halt(wave_id, actor="ines", reason="enough", now=now)
        seen.append(_count(Invitation))
        halted.set()
        return 0

    assert people.at_once(app, [run, stop]) == [2, 0]
    assert _count(Invitation) == 2 == seen[0]
    assert db.session.scalars(select(Wave.state)).all() == ["halted"]
    db.session.rollback()


def test_a_halt_waits_for_the_round_that_is_under_way_and_tells_whom_it_admitted(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the gate's lock: nobody is admitted after the halt's commit."""
    monkeypatch.setattr(rounds, "ROUND", 2)
    people.crowd(20, now=now)
    people.open_gate(100, now=now)
    inside = threading.Event()

    def hold(place: str) -> None:
        if place == "admission.before-commit" and not inside.is_set():
            inside.set()
            threading.Event().wait(0.5)

    monkeypatch.setattr(rounds, "failpoint", hold)

    def run() -> int:
        return waves.admit(15, cohort=None, actor="test", now=now).admitted

    def stop() -> int:
        assert inside.wait(10)
        return recall.halt(1, actor="ines", reason="", now=now).admitted

    came, told = people.at_once(app, [run, stop])
    assert came == told == _count(Invitation)
    assert 2 <= came < 15


@pytest.mark.parametrize("state", ["done", "halted", "recalled"])
def test_what_is_over_cant_be_halted(app: Flask, now: datetime, state: str) -> None:
    people.crowd(1, now=now)
    people.open_gate(10, now=now)
    wave_id = _wave(1, now)
    db.session.get_one(Wave, wave_id).state = state
    db.session.commit()
    before = tables.everything()
    with pytest.raises(ValueRefused, match=f"is {state} already"):
        recall.halt(wave_id, actor="ines", reason="", now=now)
    assert tables.everything() == before


def test_a_wave_that_isnt_known_is_neither_halted_nor_recalled(app: Flask, now: datetime) -> None:
    with pytest.raises(WaveUnknown, match="flask wave list"):
        recall.halt(7, actor="ines", reason="", now=now)
    with pytest.raises(WaveUnknown):
        recall.recall(7, revoke=True, actor="ines", reason="", now=now)


def _send(how_many: int, now: datetime) -> None:
    """The mail worker sends so many, then no more."""
    moments = iter([*[now] * 10_000])
    while _count(Message, Message.kind == "invitation", Message.state == "sent") < how_many:
        leased = leasing.lease(now=next(moments), most=1)
        if leased[0].is_invitation:
            outbox.mark_sent(leased, now=now)
            ended = db.session.get_one(Message, leased[0].id)
            invitation = db.session.get_one(Invitation, ended.invitation_id)
            invitation.mailed_at, invitation.expires_at = now, now + 72 * HOUR
        else:
            outbox.mark_sent(leased, now=now)
        db.session.commit()
