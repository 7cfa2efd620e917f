"""The way of an entry, row by row: joining, confirming, leaving, coming back."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from tests import people
from tests.conftest import Deliver
from tests.people import ALICE, BOB, mails_owed
from waitlist import links
from waitlist.admission import gate
from waitlist.errors import AddressInvalid, LinkInvalid, LinkOver
from waitlist.extensions import db
from waitlist.models import Entry, PlaceChange
from waitlist.signup import joining, leaving
from waitlist.tokens import Purpose

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def _changes(entry: Entry) -> list[tuple[str, int | None]]:
    query = select(PlaceChange.reason, PlaceChange.arrival)
    found = db.session.execute(query.where(PlaceChange.entry_id == entry.id)).all()
    db.session.rollback()
    return [(reason, arrival) for reason, arrival in found]


def test_a_stranger_becomes_pending_and_gets_a_mail_to_confirm(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    entry = people.join(ALICE, now=now, locale="fr")
    assert (entry.state, entry.locale, entry.joined_at) == ("pending", "fr", now)
    (mail,) = deliver()
    assert mail.envelope.rcpt_tos == [ALICE]
    assert people.token_in(mail, "/confirm/") == links.entry_token(Purpose.CONFIRM, entry)


def test_an_address_that_cant_be_mailed_is_refused_and_leaves_nothing(
    app: Flask, now: datetime
) -> None:
    with pytest.raises(AddressInvalid):
        people.join("alice", locale="en", now=now)
    assert db.session.scalar(select(func.count()).select_from(Entry)) == 0


@pytest.mark.parametrize(
    "state,kind",
    [
        ("pending", "confirm"),
        ("unconfirmed", "confirm"),
        ("waiting", "standing"),
        ("invited", "standing"),
        ("registered", "standing"),
        ("lapsed", "lapsed"),
        ("withdrawn", "come_back"),
        ("removed", None),
        ("suppressed", None),
    ],
)
def test_joining_again_changes_nothing_and_mails_what_helps(
    app: Flask, now: datetime, deliver: Deliver, state: str, kind: str | None
) -> None:
    """P2."""
    before = people.in_every_state(now=now, deliver=deliver)[state]
    kept = {column.name: getattr(before, column.name) for column in Entry.__table__.columns}
    known = len(mails_owed(before))
    after = people.join(before.address.upper(), now=now, locale="fr")
    assert {column.name: getattr(after, column.name) for column in Entry.__table__.columns} == kept
    assert [mail for mail, _ in mails_owed(after)[known:]] == ([kind] if kind else [])
    mails = deliver(now)
    assert len(mails) == (1 if kind else 0)


def test_joining_again_within_ten_minutes_mails_nothing(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    entry = people.join(ALICE, now=now)
    people.join(ALICE, now=now + 10 * MINUTE - timedelta(seconds=1))
    assert len(mails_owed(entry)) == 1
    people.join(ALICE, now=now + 10 * MINUTE)
    assert len(mails_owed(entry)) == 2


def test_joining_again_and_again_mails_three_times_a_day(app: Flask, now: datetime) -> None:
    entry = people.join(ALICE, now=now)
    for hour in range(1, 24):
        people.join(ALICE, now=now + hour * HOUR)
    assert len(mails_owed(entry)) == 3
    people.join(ALICE, now=now + DAY)
    assert len(mails_owed(entry)) == 4


def test_one_persons_limit_is_nobody_elses(app: Flask, now: datetime) -> None:
    people.join(ALICE, now=now)
    assert mails_owed(people.join(BOB, now=now)) == [("confirm", "queued")]


def test_confirming_in_time_keeps_the_place_of_the_joining(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    first, second = people.join(ALICE, now=now), people.join(BOB, now=now)
    deliver(now)
    people.confirm(second, now=now + HOUR)
    confirmed = people.confirm(first, now=now + 48 * HOUR)
    assert (confirmed.state, confirmed.rank) == ("waiting", first.arrival)
    assert confirmed.confirmed_at == now + 48 * HOUR
    assert people.place_of(confirmed, now=now).position == 1
    assert _changes(confirmed) == []


def test_the_time_to_confirm_runs_from_the_mails_sending(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    entry = people.join(ALICE, now=now)
    sent = now + 30 * HOUR
    deliver(sent)
    assert people.find(ALICE).confirm_by == sent + 48 * HOUR
    assert people.confirm(entry, now=sent + 48 * HOUR).rank == entry.arrival


def test_an_unsent_mail_starts_no_deadline(app: Flask, now: datetime) -> None:
    entry = people.join(ALICE, now=now)
    joining.expire_unconfirmed(now=now + 30 * DAY)
    assert people.confirm(entry, now=now + 30 * DAY).rank == entry.arrival


@pytest.mark.parametrize("swept", [True, False])
def test_confirming_late_gives_a_place_at_the_end_and_says_why(
    app: Flask, now: datetime, deliver: Deliver, swept: bool
) -> None:
    """P6."""
    first = people.join(ALICE, now=now)
    deliver(now)
    late = now + 48 * HOUR + timedelta(seconds=1)
    second = people.wait_in_line(BOB, now=late)
    if swept:
        assert joining.expire_unconfirmed(now=late) == 1
    confirmed = people.confirm(first, now=late)
    assert confirmed.state == "waiting"
    assert confirmed.arrival == first.arrival
    assert confirmed.rank > second.rank
    assert _changes(confirmed) == [("confirmed late", confirmed.rank)]
    assert people.place_of(confirmed, now=late).position == 2


def test_confirming_twice_is_the_same_as_once(app: Flask, now: datetime) -> None:
    entry = people.wait_in_line(ALICE, now=now)
    again = people.confirm(entry, now=now + 90 * DAY)
    assert (again.rank, again.confirmed_at) == (entry.rank, now)
    assert [kind for kind, _ in mails_owed(again)] == ["confirm", "standing"]


def test_confirming_cancels_the_confirm_mail_that_is_still_queued(
    app: Flask, now: datetime
) -> None:
    """P9."""
    entry = people.wait_in_line(ALICE, now=now)
    assert mails_owed(entry) == [("confirm", "cancelled"), ("standing", "queued")]


@pytest.mark.parametrize("state", ["invited", "registered", "lapsed", "withdrawn", "removed"])
def test_an_old_confirm_link_brings_nobody_back(
    app: Flask, now: datetime, deliver: Deliver, state: str
) -> None:
    entry = people.in_every_state(now=now, deliver=deliver)[state]
    assert people.confirm(entry, now=now).state == state


def test_a_standing_mail_says_the_position_and_as_of_when(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    people.wait_in_line(BOB, now=now)
    people.wait_in_line(ALICE, now=now)
    deliver(now)
    people.join(ALICE, now=now + HOUR)
    (mail,) = deliver(now + HOUR)
    assert "You are number 2, as of" in people.words_of(mail)
    assert people.link_in(mail, "/place/")


def test_leaving_takes_a_mailed_link(app: Flask, now: datetime, deliver: Deliver) -> None:
    entry = people.wait_in_line(ALICE, now=now)
    deliver(now)
    leaving.ask_to_act(links.entry_token(Purpose.PLACE, entry), now=now)
    (mail,) = deliver(now)
    assert people.find(ALICE).state == "waiting"
    leaving.leave(people.token_in(mail, "/act/"), now=now + HOUR / 2 - MINUTE)
    left = people.find(ALICE)
    assert (left.state, left.left_at) == ("withdrawn", now + HOUR / 2 - MINUTE)
    assert people.link_in(deliver(now + HOUR)[0], "/undo/")


def test_the_link_to_leave_is_good_for_half_an_hour(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    entry = people.wait_in_line(ALICE, now=now)
    leaving.ask_to_act(links.entry_token(Purpose.PLACE, entry), now=now - HOUR)
    deliver(now)
    token = people.act_token(entry)
    assert links.acting_entry(token, now=now + 30 * MINUTE - timedelta(seconds=1)).id == entry.id
    with pytest.raises(LinkOver):
        leaving.leave(token, now=now + 30 * MINUTE)
    db.session.rollback()
    assert people.find(ALICE).state == "waiting"


def test_a_place_link_lets_nobody_leave(app: Flask, now: datetime) -> None:
    entry = people.wait_in_line(ALICE, now=now)
    with pytest.raises(LinkInvalid):
        leaving.leave(links.entry_token(Purpose.PLACE, entry), now=now)


@pytest.mark.parametrize("state", ["pending", "waiting", "invited", "lapsed", "unconfirmed"])
def test_whoever_is_on_the_way_can_leave_and_every_queued_mail_is_cancelled(
    app: Flask, now: datetime, deliver: Deliver, state: str
) -> None:
    """P9."""
    entry = people.in_every_state(now=now, deliver=deliver)[state]
    leaving.ask_to_act(links.entry_token(Purpose.PLACE, entry), now=now)
    deliver(now)
    people.join(entry.address, now=now)
    leaving.leave(people.act_token(entry), now=now)
    assert people.find(entry.address).state == "withdrawn"
    assert mails_owed(entry)[-2][1] == "cancelled"
    assert mails_owed(entry)[-1] == ("left", "queued")


def test_who_leaves_gives_the_seat_back(app: Flask, now: datetime, deliver: Deliver) -> None:
    """P4."""
    entry = people.wait_in_line(ALICE, now=now)
    people.invite(entry, now=now)
    people.leave(entry, now=now, deliver=deliver)
    assert people.invitation_of(entry).state == "revoked"
    assert gate.show(now=now).seats_used == 0
    assert gate.verify() == {}


def test_coming_back_within_seven_days_gives_the_old_place_back(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    entry = people.wait_in_line(ALICE, now=now)
    people.wait_in_line(BOB, now=now)
    people.leave(entry, now=now, deliver=deliver)
    assert people.place_of(people.find(BOB), now=now).position == 1
    token = links.entry_token(Purpose.UNDO, entry)
    leaving.come_back(token, now=now + 7 * DAY)
    leaving.come_back(token, now=now + 30 * DAY)
    back = people.find(ALICE)
    assert (back.state, back.rank, back.left_at) == ("waiting", entry.rank, None)
    assert _changes(back) == [("left the line", None), ("came back", None)]
    assert people.place_of(back, now=now).position == 1


def test_coming_back_later_gives_a_place_at_the_end_and_says_why(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    """P6."""
    entry = people.wait_in_line(ALICE, now=now)
    people.leave(entry, now=now, deliver=deliver)
    other = people.wait_in_line(BOB, now=now)
    leaving.come_back(links.entry_token(Purpose.UNDO, entry), now=now + 7 * DAY + MINUTE)
    back = people.find(ALICE)
    assert back.rank > other.rank
    assert _changes(back)[1:] == [("came back too late for the old place", back.rank)]


def test_who_left_without_confirming_comes_back_at_the_end(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    entry = people.join(ALICE, now=now)
    people.leave(entry, now=now, deliver=deliver)
    other = people.wait_in_line(BOB, now=now)
    leaving.come_back(links.entry_token(Purpose.UNDO, entry), now=now)
    assert people.find(ALICE).rank > other.rank


def test_an_undo_link_changes_nothing_for_who_never_left(app: Flask, now: datetime) -> None:
    entry = people.wait_in_line(ALICE, now=now)
    leaving.come_back(links.entry_token(Purpose.UNDO, entry), now=now)
    assert people.find(ALICE).rank == entry.rank


def test_a_place_is_never_shown_with_a_number_while_suppressed(app: Flask, now: datetime) -> None:
    entry = people.make(people.wait_in_line(ALICE, now=now), suppressed_at=now)
    shown = people.place_of(entry, now=now)
    assert (shown.position, shown.suppressed) == (None, True)
