"""What becomes of invitations that nobody finished: grace, lapse, and outages."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import time_machine
from flask import Flask

from tests import people, tables
from tests.conftest import Deliver
from tests.people import ALICE, BOB, form
from waitlist import leasing, links, outbox, seats
from waitlist.admission import gate, waves
from waitlist.errors import InvitationClosed
from waitlist.extensions import db
from waitlist.models import Entry
from waitlist.onboarding import completion, invitations, view
from waitlist.signup import joining

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def _opened(token: str, clock: time_machine.Traveller, at: datetime) -> str:
    """The note in a form that was opened at that moment."""
    clock.move_to(at)
    note = view.look(token, now=at).opened
    db.session.rollback()
    return note


def _complete(token: str, now: datetime, opened: str = "") -> str:
    try:
        return completion.complete(token, form("ada", opened=opened), now=now).handle
    except InvitationClosed as error:
        return error.state
    finally:
        db.session.rollback()


def test_it_completes_until_its_last_second(token: str, end: datetime) -> None:
    """P11."""
    assert _complete(token, end - SECOND) == "ada"


def test_it_is_over_at_its_end(token: str, end: datetime) -> None:
    assert _complete(token, end) == "expired"


def test_a_form_opened_before_the_end_completes_for_half_an_hour_more(
    token: str, end: datetime, clock: time_machine.Traveller
) -> None:
    """P11: not "expired while you typed"."""
    opened = _opened(token, clock, end - SECOND)
    assert _complete(token, end + 30 * MINUTE, opened) == "expired"
    assert invitations.lapse(now=end + 30 * MINUTE - SECOND) == 0, "the seat is held that long"
    assert _complete(token, end + 30 * MINUTE - SECOND, opened) == "ada"


def test_a_form_opened_after_the_end_has_no_grace(
    token: str, end: datetime, clock: time_machine.Traveller
) -> None:
    assert _complete(token, end + 2 * SECOND, _opened(token, clock, end + SECOND)) == "expired"


def test_a_note_of_another_invitation_or_a_forged_one_gives_no_grace(
    token: str, end: datetime, now: datetime, clock: time_machine.Traveller, deliver: Deliver
) -> None:
    """P22."""
    bob = people.wait_in_line(BOB, now=now)
    (other,) = people.invite(bob, now=now)
    note = _opened(links.invitation_token(other), clock, end - MINUTE)
    for forged in (note, note[:-1], "1.abc.def", "1"):
        assert _complete(token, end + MINUTE, forged) == "expired"


def test_lapsing_frees_the_seat_half_an_hour_after_the_end(
    alice: Entry, token: str, end: datetime
) -> None:
    """P3, P4, P12."""
    assert invitations.lapse(now=end + 30 * MINUTE - SECOND) == 0
    assert invitations.lapse(now=end + 30 * MINUTE) == 1
    assert invitations.lapse(now=end + 30 * MINUTE) == 0
    assert people.find(ALICE).state == "lapsed"
    assert people.invitation_of(alice).state == "expired"
    assert gate.show(now=end).seats_used == 0
    assert gate.verify() == {}
    assert _complete(token, end + 30 * MINUTE) == "expired"


def test_an_invitation_that_wasnt_mailed_never_lapses(app: Flask, now: datetime) -> None:
    """P8."""
    people.invite(people.wait_in_line(ALICE, now=now), now=now)
    assert invitations.lapse(now=now + 365 * DAY) == 0


def test_a_registration_doesnt_lapse(token: str, now: datetime, end: datetime) -> None:
    """P12."""
    _complete(token, now)
    assert invitations.lapse(now=end + DAY) == 0
    assert people.find(ALICE).state == "registered"
    assert gate.verify() == {}


def test_opening_a_link_ten_times_changes_nothing(token: str, end: datetime) -> None:
    """P17."""
    before = tables.everything()
    for at in (end - DAY, end + MINUTE) * 5:
        view.look(token, now=at)
    assert tables.everything() == before


def _beats(*moments: datetime) -> list[timedelta]:
    gaps = [invitations.beat(now=at) for at in moments]
    db.session.rollback()
    return gaps


def test_an_outage_shifts_the_deadlines_that_fell_in_it(alice: Entry, end: datetime) -> None:
    """P18: downtime never expires anybody."""
    outage = 3 * HOUR
    gaps = _beats(end - HOUR, end - HOUR + outage)
    assert gaps == [timedelta(), outage]
    assert people.invitation_of(alice).expires_at == end + outage
    assert invitations.lapse(now=end - HOUR + outage) == 0


def test_an_outage_in_the_half_hour_of_grace_shifts_it_too(alice: Entry, end: datetime) -> None:
    """P11."""
    _beats(end + 10 * MINUTE, end + 5 * HOUR)
    assert invitations.lapse(now=end + 5 * HOUR) == 0


@pytest.mark.parametrize("gap", [SECOND, 59 * SECOND, 60 * SECOND])
def test_a_short_gap_shifts_nothing(alice: Entry, end: datetime, gap: timedelta) -> None:
    assert _beats(end - SECOND, end - SECOND + gap) == [timedelta(), timedelta()]
    assert people.invitation_of(alice).expires_at == end


def test_an_outage_leaves_later_deadlines_as_they_are(alice: Entry, end: datetime) -> None:
    _beats(end - 5 * HOUR, end - HOUR)
    assert people.invitation_of(alice).expires_at == end


def test_an_outage_shifts_the_time_to_confirm(app: Flask, now: datetime, deliver: Deliver) -> None:
    people.join(ALICE, now=now)
    deliver(now)
    end = now + 48 * HOUR
    _beats(end - HOUR, end + HOUR)
    assert joining.expire_unconfirmed(now=end + HOUR) == 0
    assert people.find(ALICE).confirm_by == end + 2 * HOUR


def test_a_steady_clock_shifts_nothing_however_long_it_runs(alice: Entry, end: datetime) -> None:
    start = end - 10 * MINUTE
    gaps = _beats(*[start + 20 * SECOND * number for number in range(60)])
    assert set(gaps) == {timedelta()}
    assert people.invitation_of(alice).expires_at == end


def test_a_clock_that_steps_back_and_on_expires_nobody_and_doubles_nothing(
    alice: Entry, token: str, now: datetime, end: datetime
) -> None:
    """P18."""
    for at in (now, now - 2 * HOUR, now - 2 * HOUR + SECOND, now + 2 * SECOND):
        invitations.beat(now=at)
        assert invitations.lapse(now=at) == 0
        waves.tick(now=at)
    assert people.invitation_of(alice).expires_at == end
    assert _complete(token, now - 2 * HOUR) == "ada"
    assert gate.verify() == {}


def test_a_clock_that_steps_on_two_hours_over_the_end_expires_nobody(
    alice: Entry, token: str, end: datetime
) -> None:
    """P18."""
    _beats(end - HOUR, end + HOUR)
    assert invitations.lapse(now=end + HOUR) == 0
    assert _complete(token, end + HOUR) == "ada"


def test_a_seat_given_back_cancels_the_mail_of_its_invitation_and_no_other(
    app: Flask, now: datetime
) -> None:
    """P9."""
    alice = people.wait_in_line(ALICE, now=now)
    (invitation,) = people.invite(alice, now=now)
    outbox.stage("act", [alice.id], now=now)
    seats.lock()
    seats.give_back([invitation.id], as_="revoked", entries_as="waiting", now=now)
    db.session.commit()
    owed = people.mails_owed(alice)
    assert ("invitation", "cancelled") in owed
    assert ("act", "queued") in owed


def test_a_clock_that_was_ahead_and_stepped_back_leaves_no_mail_behind(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    """P16, P18: what it staged is due at its own moment by the right clock, and is leased."""
    ahead = now + 2 * HOUR
    invitations.beat(now=ahead)
    people.join(ALICE, now=ahead)
    assert deliver(now + SECOND) == []
    invitations.beat(now=now)
    assert len(deliver(now + SECOND)) == 1


def test_a_lease_of_a_clock_that_was_ahead_ends_as_soon_as_any(app: Flask, now: datetime) -> None:
    """P16, P18: else a mail whose worker died then would wait for hours."""
    ahead = now + 2 * HOUR
    invitations.beat(now=ahead)
    people.join(ALICE, now=ahead)
    assert leasing.lease(now=ahead)
    invitations.beat(now=now)
    assert len(outbox.overdue(now=now + outbox.LEASE + SECOND)) == 1
