"""One reminder before the end of an invitation, to whoever it may still help."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select, text, update

from tests import people, tables
from tests.conftest import Deliver, MakeApp
from tests.people import ALICE, BOB
from tests.servers import SmtpSink
from waitlist import links, projection
from waitlist.admission import gate
from waitlist.extensions import db
from waitlist.models import Entry, Invitation
from waitlist.onboarding import invitations, reminding

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def end(end: datetime, deliver: Deliver) -> datetime:
    """When Alice's invitation expires; no other mail is owed any more."""
    deliver(end - 2 * DAY)
    return end


def _reminders(entry: Entry) -> list[str]:
    """The states of this person's reminders."""
    return [state for kind, state in people.mails_owed(entry) if kind == "reminder"]


def test_a_day_before_the_end_it_goes_once_with_the_same_link(
    alice: Entry, token: str, end: datetime, deliver: Deliver
) -> None:
    assert reminding.remind(now=end - DAY - SECOND) == 0
    assert reminding.remind(now=end - DAY) == 1
    assert reminding.remind(now=end - DAY) == 0
    (mail,) = deliver(end - DAY)
    assert mail["To"] == ALICE
    assert people.token_in(mail, "/invite/") == token
    assert "March 4, 2027" in people.words_of(mail)
    assert reminding.remind(now=end - SECOND) == 0
    assert people.invitation_of(alice).expires_at == end, "its time runs as before"


@pytest.mark.parametrize(
    "hours,before", [(1, 20 * MINUTE), (36, 12 * HOUR), (37, DAY), (72, DAY), (720, DAY)]
)
def test_of_a_short_invitation_a_third_of_its_life_is_left(
    make_app: MakeApp, deliver: Deliver, now: datetime, hours: int, before: timedelta
) -> None:
    app = make_app(invite_within=hours * HOUR)
    with app.app_context():
        projection.require_valid()
        people.invite(people.wait_in_line(ALICE, now=now), now=now)
        deliver(now)
        end = now + hours * HOUR
        assert reminding.remind(now=end - before - SECOND) == 0
        assert reminding.remind(now=end - before) == 1


def test_who_wasnt_mailed_isnt_reminded(app: Flask, now: datetime) -> None:
    people.invite(people.wait_in_line(ALICE, now=now), now=now)
    assert reminding.remind(now=now + 71 * HOUR) == 0


def test_after_the_end_nobody_is_reminded(alice: Entry, end: datetime, deliver: Deliver) -> None:
    """A reminder that waited too long, for the mail server or a worker, isn't sent either."""
    assert reminding.remind(now=end) == 0
    assert reminding.remind(now=end - DAY) == 1
    assert deliver(end) == []
    assert _reminders(alice) == ["cancelled"]


def _completed(entry: Entry, at: datetime) -> None:
    people.register(entry, "ada", now=at)


def _left(entry: Entry, at: datetime) -> None:
    people.make(entry, state="withdrawn")
    db.session.execute(update(Invitation).values(state="revoked"))
    db.session.commit()


def _suppressed(entry: Entry, at: datetime) -> None:
    people.make(entry, suppressed_at=at)


@pytest.mark.parametrize("then", [_completed, _left, _suppressed])
def test_whom_it_doesnt_help_any_more_gets_none(
    alice: Entry, end: datetime, deliver: Deliver, then: Callable[[Entry, datetime], None]
) -> None:
    """P9: neither one that is owed before, nor one after."""
    reminding.remind(now=end - DAY)
    then(alice, end - DAY)
    sent = [mail for mail in deliver(end - DAY) if "held a little longer" in str(mail["Subject"])]
    assert sent == []
    assert _reminders(alice) == ["cancelled"]


def test_who_is_suppressed_before_is_owed_none(alice: Entry, end: datetime) -> None:
    people.make(alice, suppressed_at=end - 2 * DAY)
    reminding.remind(now=end - DAY)
    assert _reminders(alice) == []


def test_an_outage_shifts_it_with_the_deadline(
    alice: Entry, end: datetime, deliver: Deliver
) -> None:
    """P18."""
    invitations.beat(now=end - HOUR)
    invitations.beat(now=end + 47 * HOUR)
    assert people.invitation_of(alice).expires_at == end + 48 * HOUR
    assert reminding.remind(now=end + 24 * HOUR - SECOND) == 0
    assert reminding.remind(now=end + 24 * HOUR) == 1


def test_eight_who_look_at_once_owe_it_once(app: Flask, alice: Entry, end: datetime) -> None:
    found = people.at_once(app, [lambda: reminding.remind(now=end - DAY)] * 8)
    assert sum(found) == 1
    assert _reminders(alice) == ["queued"]


def test_a_reminder_that_bounces_leaves_the_invitation_open(
    alice: Entry, end: datetime, deliver: Deliver, sink: SmtpSink
) -> None:
    """P11: its link has reached them, and they may be typing."""
    reminding.remind(now=end - DAY)
    sink.rcpt_answer = "550 No such person"
    deliver(end - DAY)
    assert _reminders(alice) == ["bounced"]
    assert people.invitation_of(alice).state == "open"
    assert people.find(ALICE).suppressed_at is not None
    people.register(people.find(ALICE), "ada", now=end - HOUR)
    assert gate.verify() == {}


def test_whoever_completes_just_now_isnt_waited_for(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    """P11: and the other is reminded by the same look."""
    both = [people.wait_in_line(address, now=now) for address in (ALICE, BOB)]
    people.invite(*both, now=now)
    deliver(now)
    if db.engine.dialect.name == "sqlite":
        return  # there whoever writes is alone
    with db.engine.begin() as other:
        mine = select(Invitation.id).where(Invitation.entry_id == both[0].id)
        other.execute(mine.with_for_update())
        assert reminding.remind(now=now + 2 * DAY) == 1
    assert _reminders(both[0]) == []
    assert _reminders(both[1]) == ["queued"]
    assert reminding.remind(now=now + 2 * DAY) == 1


def test_looking_for_them_reads_no_more_than_is_due(app: Flask, now: datetime) -> None:
    """The clock looks each second, whoever holds an invitation."""
    due = select(Invitation.id).where(reminding.is_due(now=now)).order_by(Invitation.expires_at)
    compiled = due.compile(db.engine, compile_kwargs={"literal_binds": True})
    if db.engine.dialect.name == "sqlite":
        found = db.session.execute(text(f"EXPLAIN QUERY PLAN {compiled}")).all()
    else:
        db.session.execute(text("SET LOCAL enable_seqscan = off"))
        found = db.session.execute(text(f"EXPLAIN {compiled}")).all()
    db.session.rollback()
    assert "invitations_to_remind" in str(found), found


def test_a_reminder_changes_nothing_but_the_note_that_it_is_owed(
    alice: Entry, end: datetime
) -> None:
    before = tables.everything()
    reminding.remind(now=end - DAY)
    after = tables.everything()
    assert {name for name in after if after[name] != before[name]} == {"invitations", "messages"}
    assert links.invitation_token(people.invitation_of(alice))
