"""A fresh link for who came too late: at once where a seat is free, else through the line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import select, update

from tests import people, tables
from tests.conftest import Deliver
from tests.people import ALICE, BOB, form
from tests.servers import SmtpSink
from waitlist import experience, links, outbox, projection, seats
from waitlist.admission import gate, progress, recall, waves
from waitlist.errors import AlreadyCompleted, InvitationClosed, NotReissued
from waitlist.extensions import db
from waitlist.models import Cohort, Entry, Invitation, Message
from waitlist.onboarding import completion, invitations, reissue, view
from waitlist.policy import trends

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def late(alice: Entry, end: datetime, deliver: Deliver) -> datetime:
    """When Alice's invitation has lapsed and its seat went back; no other mail is owed."""
    at = end + 31 * MINUTE
    invitations.lapse(now=at)
    deliver(at)
    return at


def _renew(token: str, now: datetime) -> str | None:
    try:
        return invitations.renew(token, now=now)
    finally:
        db.session.rollback()


def _token(entry: Entry) -> str:
    return links.invitation_token(people.invitation_of(entry))


def _all_is_well() -> None:
    assert gate.verify() == {}
    db.session.rollback()
    projection.settle(1)
    assert projection.check(1) == []
    open_ones = db.session.scalars(select(Invitation.entry_id).where(Invitation.state == "open"))
    found = open_ones.all()
    db.session.rollback()
    assert len(found) == len(set(found))


def _states(entry: Entry) -> list[tuple[int, str]]:
    """Generation and state of each invitation of a person, oldest first."""
    db.session.rollback()
    mine = select(Invitation.generation, Invitation.state).where(Invitation.entry_id == entry.id)
    found = [(one, state) for one, state in db.session.execute(mine.order_by(Invitation.id))]
    db.session.rollback()
    return found


def test_with_a_seat_free_a_fresh_link_goes_to_the_stored_address_at_once(
    alice: Entry, token: str, late: datetime, deliver: Deliver
) -> None:
    """P7, P11."""
    assert _renew(token, late) == "reissued"
    assert _states(alice) == [(1, "superseded"), (2, "open")]
    assert people.find(ALICE).state == "invited"
    (mail,) = deliver(late)
    assert mail["To"] == ALICE
    assert "Your fresh link" in str(mail["Subject"])
    assert people.token_in(mail, "/invite/") == _token(alice) != token
    assert people.invitation_of(alice).expires_at == late + 72 * HOUR
    done = completion.complete(people.token_in(mail, "/invite/"), form("ada"), now=late)
    assert done.handle == "ada"
    _all_is_well()


def test_the_fresh_one_is_of_the_wave_that_admitted_them(
    alice: Entry, token: str, late: datetime
) -> None:
    first = people.invitation_of(alice)
    _renew(token, late)
    fresh = people.invitation_of(alice)
    assert (fresh.wave_id, fresh.cohort_id) == (first.wave_id, first.cohort_id)
    assert fresh.nonce != first.nonce


def test_a_wave_counts_each_person_once_whatever_was_reissued_or_resent(
    alice: Entry, token: str, late: datetime, deliver: Deliver
) -> None:
    wave_id = people.invitation_of(alice).wave_id

    def stands() -> dict[str, int]:
        _, found = progress.show(wave_id)
        db.session.rollback()
        return {name: people for name, people in vars(found).items() if people}

    assert stands() == {"mailed": 1, "lapsed": 1}
    _renew(token, late)
    assert stands() == {"to_mail": 1}
    deliver(late)
    assert stands() == {"mailed": 1}
    people.register(people.find(ALICE), "ada", now=late)
    assert stands() == {"mailed": 1, "completed": 1}
    assert progress.show(wave_id)[0].admitted == 1


def test_a_fresh_link_took_no_place_of_the_line(alice: Entry, token: str, late: datetime) -> None:
    """So the estimate of those who wait there doesn't reckon with it."""
    _renew(token, late)
    assert people.find(ALICE).renewals == 1
    nobody_came_back = trends.front(0, 0)
    assert experience.learned(now=late).front == nobody_came_back


def test_recalling_the_wave_takes_a_fresh_link_back_that_hasnt_gone(
    alice: Entry, token: str, late: datetime, deliver: Deliver
) -> None:
    """P9."""
    wave_id = people.invitation_of(alice).wave_id
    _renew(token, late)
    done = recall.recall(wave_id, revoke=False, actor="test", reason="", now=late)
    assert (done.back, done.rest) == (1, [])
    assert _states(alice) == [(1, "superseded"), (2, "revoked")]
    assert people.find(ALICE).state == "waiting"
    assert deliver(late) == []
    _all_is_well()


def test_recalling_the_wave_lists_a_fresh_link_that_went_once(
    alice: Entry, token: str, late: datetime, deliver: Deliver
) -> None:
    wave_id = people.invitation_of(alice).wave_id
    _renew(token, late)
    deliver(late)
    done = recall.recall(wave_id, revoke=True, actor="test", reason="", now=late)
    assert [one.state for one in done.rest] == ["apology owed"]
    _all_is_well()


def test_before_its_mail_went_the_fresh_one_has_no_deadline(
    alice: Entry, token: str, late: datetime
) -> None:
    """P8."""
    _renew(token, late)
    assert people.invitation_of(alice).expires_at is None
    assert invitations.lapse(now=late + 365 * DAY) == 0


def _no_seat(now: datetime) -> None:
    people.open_gate(0, now=now)


def _paused(now: datetime) -> None:
    gate.change(actor="test", now=now, paused=True)


def _quota_used(now: datetime) -> None:
    db.session.execute(update(Cohort).values(quota=0))
    db.session.commit()


def _mail_held(now: datetime) -> None:
    gate.change(actor="test", now=now, hold=("renewal",))


def _invitations_held(now: datetime) -> None:
    gate.change(actor="test", now=now, hold=("invitation",))


@pytest.mark.parametrize("hinder", [_no_seat, _paused, _quota_used, _mail_held, _invitations_held])
def test_where_nobody_may_be_let_in_they_are_back_at_their_old_rank(
    alice: Entry, token: str, late: datetime, hinder: Callable[[datetime], None]
) -> None:
    """P3, P6."""
    bob = people.wait_in_line(BOB, now=late)
    hinder(late)
    assert _renew(token, late) == "in-line"
    assert _states(alice) == [(1, "expired")]
    assert people.find(ALICE).rank == alice.rank
    assert tables.line_in_sql() == [(alice.id, alice.rank), (bob.id, bob.rank)]
    _all_is_well()


def test_while_the_product_holds_the_gate_they_wait_in_line(
    alice: Entry, token: str, late: datetime
) -> None:
    assert invitations.renew(token, is_held=True, now=late) == "in-line"


def test_who_is_back_in_line_is_invited_when_admitted(
    alice: Entry, token: str, late: datetime, deliver: Deliver
) -> None:
    _no_seat(late)
    _renew(token, late)
    people.open_gate(1, now=late)
    assert waves.admit(1, cohort=None, actor="test", now=late).admitted == 1
    assert _states(alice) == [(1, "expired"), (1, "open")]
    assert _renew(token, late) == "reissued", "a fresh link is on its way, as was said"
    assert _states(alice) == [(1, "expired"), (1, "open")]
    _all_is_well()


def test_pressed_before_the_seat_went_back_it_takes_the_very_same(
    alice: Entry, token: str, end: datetime
) -> None:
    """P4, P12."""
    assert _renew(token, end - SECOND) is None, "it is open"
    assert _states(alice) == [(1, "open")]
    assert _renew(token, end) == "reissued"
    assert _states(alice) == [(1, "superseded"), (2, "open")]
    assert gate.show(now=end).seats_used == 1
    _all_is_well()


def test_pressed_twice_is_pressed_once(alice: Entry, token: str, late: datetime) -> None:
    first = _renew(token, late)
    before = tables.everything()
    assert _renew(token, late) == first
    assert tables.everything() == before
    assert people.find(ALICE).renewals == 1


def test_it_can_be_done_three_times_then_by_an_operator_only(
    alice: Entry, late: datetime, deliver: Deliver
) -> None:
    at = late
    for time in range(3):
        shown = view.look(_token(alice), now=at)
        db.session.rollback()
        assert shown.way == "renew"
        assert _renew(_token(alice), at) == "reissued"
        assert people.invitation_of(alice).generation == time + 2
        deliver(at)
        at += 73 * HOUR
        assert invitations.lapse(now=at) == 1
    assert view.look(_token(alice), now=at).way == "ask"
    assert _renew(_token(alice), at) is None
    assert people.find(ALICE).state == "lapsed"
    _all_is_well()


def test_any_link_of_theirs_leads_on_when_the_newest_is_over(
    alice: Entry, token: str, late: datetime, deliver: Deliver
) -> None:
    _renew(token, late)
    deliver(late)
    shown = view.look(token, now=late)
    assert (shown.state, shown.way) == ("superseded", "newer")
    invitations.lapse(now=late + 73 * HOUR)
    shown = view.look(token, now=late + 73 * HOUR)
    assert (shown.state, shown.way) == ("superseded", "renew")
    assert _renew(token, late + 73 * HOUR) == "reissued"
    assert [state for _, state in _states(alice)] == ["superseded", "superseded", "open"]


def test_the_old_link_completes_nothing_any_more(alice: Entry, token: str, late: datetime) -> None:
    """P22."""
    _renew(token, late)
    with pytest.raises(InvitationClosed, match="superseded"):
        completion.complete(token, form("ada"), now=late)
    db.session.rollback()
    assert people.find(ALICE).state == "invited"


def test_who_cant_be_mailed_is_told_so_and_stays_as_they_are(
    alice: Entry, token: str, late: datetime
) -> None:
    people.make(alice, suppressed_at=late)
    shown = view.look(token, now=late)
    db.session.rollback()
    assert shown.way == "suppressed"
    before = tables.everything()
    assert _renew(token, late) is None
    assert tables.everything() == before


def test_a_registration_is_never_undone_by_it(alice: Entry, token: str, end: datetime) -> None:
    completion.complete(token, form("ada"), now=end - SECOND)
    before = tables.everything()
    assert _renew(token, end + DAY) is None
    assert tables.everything() == before


def test_a_fresh_link_that_bounces_gives_the_seat_back(
    alice: Entry, token: str, late: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    """P8."""
    _renew(token, late)
    sink.rcpt_answer = "550 No such person"
    deliver(late)
    assert _states(alice) == [(1, "superseded"), (2, "revoked")]
    assert people.find(ALICE).suppressed_at is not None
    _all_is_well()


def test_a_mail_that_asks_back_isnt_sent_once_they_came(
    alice: Entry, token: str, late: datetime, deliver: Deliver
) -> None:
    outbox.stage("lapsed", [alice.id], now=late)
    db.session.commit()
    _renew(token, late)
    (mail,) = deliver(late)
    assert "Your fresh link" in str(mail["Subject"])
    assert ("lapsed", "cancelled") in people.mails_owed(alice)


def _reissue(entry: Entry, now: datetime) -> str:
    """The word for why not, if it isn't done."""
    seats.lock()
    try:
        reissue.reissue(entry.id, now=now)
        db.session.commit()
    except NotReissued as error:
        db.session.rollback()
        return error.why
    return ""


def test_what_cant_be_reissued_is_refused_with_the_word_for_it(
    alice: Entry, token: str, end: datetime, late: datetime, redis: Redis
) -> None:
    """P3, P7."""
    bob = people.wait_in_line(BOB, now=late)
    assert _reissue(bob, late) == "never-invited"
    _no_seat(late)
    assert _reissue(alice, late) == "capacity"
    people.open_gate(1, now=late)
    _paused(late)
    assert _reissue(alice, late) == "paused"
    people.open_gate(1, now=late)
    assert _reissue(alice, late) == ""
    assert _reissue(alice, late) == "invited"
    people.register(people.find(ALICE), "ada", now=late)
    assert _reissue(alice, late) == "registered"
    _all_is_well()


def test_who_waits_in_line_again_is_taken_out_of_it(
    alice: Entry, token: str, late: datetime, redis: Redis
) -> None:
    """P13."""
    _no_seat(late)
    _renew(token, late)
    projection.settle(1)
    assert tables.line_in_redis(redis) == [(alice.id, alice.rank)]
    people.open_gate(1, now=late)
    assert _reissue(alice, late) == ""
    _all_is_well()
    assert tables.line_in_redis(redis) == []


def _completed(token: str, now: datetime, opened: str = "") -> str:
    try:
        return completion.complete(token, form("ada", opened=opened), now=now).handle
    except (InvitationClosed, AlreadyCompleted) as error:
        return str(error)


@pytest.mark.parametrize("round_", range(6))
def test_renewing_and_completing_at_once_leaves_one_of_both(
    app: Flask, alice: Entry, token: str, end: datetime, round_: int, clock: object
) -> None:
    """P7, P12: the form was opened in time, and somebody presses renew in another tab."""
    clock.move_to(end - MINUTE)  # type: ignore[attr-defined]
    opened = view.look(token, now=end - MINUTE).opened
    calls: list[Callable[[], object]] = [
        lambda: _completed(token, end + MINUTE, opened),
        lambda: _renew(token, end + MINUTE),
    ]
    people.at_once(app, calls if round_ % 2 else calls[::-1])
    states = _states(alice)
    if people.find(ALICE).state == "registered":
        assert states == [(1, "used")]
    else:
        assert states == [(1, "superseded"), (2, "open")]
    assert gate.show(now=end).seats_used == 1
    _all_is_well()


@pytest.mark.parametrize("round_", range(4))
def test_renewing_and_lapsing_at_once_frees_the_seat_once(
    app: Flask, alice: Entry, token: str, end: datetime, round_: int
) -> None:
    """P4, P12."""
    at = end + 30 * MINUTE
    calls: list[Callable[[], object]] = [
        lambda: invitations.lapse(now=at),
        lambda: _renew(token, at),
    ]
    _, did = people.at_once(app, calls)
    assert did == "reissued"
    assert _states(alice) == [(1, "superseded"), (2, "open")]
    _all_is_well()


def test_eight_presses_at_once_make_one_fresh_invitation(
    app: Flask, alice: Entry, token: str, late: datetime
) -> None:
    """P7."""
    answers = people.at_once(app, [lambda: _renew(token, late)] * 8)
    assert set(answers) == {"reissued"}
    assert _states(alice) == [(1, "superseded"), (2, "open")]
    assert people.find(ALICE).renewals == 1
    db.session.rollback()
    owed = select(Message.id).where(Message.kind == "renewal")
    assert len(db.session.scalars(owed).all()) == 1
    _all_is_well()


def test_two_who_renew_at_once_never_share_one_seat(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    """P3."""
    both = [people.wait_in_line(address, now=now) for address in (ALICE, BOB)]
    people.invite(*both, now=now)
    deliver(now)
    late = now + 73 * HOUR
    invitations.lapse(now=late)
    people.open_gate(1, now=late)
    tokens = [_token(one) for one in both]
    did = people.at_once(app, [lambda one=one: _renew(one, late) for one in tokens])  # type: ignore[misc]
    assert sorted(map(str, did)) == ["in-line", "reissued"]
    assert gate.show(now=late).seats_used == 1
    _all_is_well()
