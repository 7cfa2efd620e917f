"""Who couldn't finish by our fault is found, has more time or a fresh link, and an apology."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from tests import people, tables
from tests.conftest import Deliver, MakeApp
from tests.people import ALICE, BOB, CAROL, mails_owed
from tests.servers import Received, SmtpSink
from tests.visitors import Browser, Operator
from waitlist import lately, links, outbox
from waitlist.admission import gate, progress, recall, waves
from waitlist.extensions import db
from waitlist.models import Audit, Entry, FinishFailure, Invitation, Message
from waitlist.onboarding import completion, failures, invitations, mending, stuck
from waitlist.onboarding.mending import Mended
from waitlist.onboarding.stuck import OURS, Choice
from waitlist.policy.deadlines import GRACE

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
WITHIN = timedelta(hours=72)  # the setting INVITE_WITHIN of the tests
NOTHING = failures.Unanswered()

Mend = Callable[..., Mended]


@pytest.fixture
def mend(app: Flask, now: datetime) -> Mend:
    """Mends what failed by our fault in the last month, at `now` unless told."""

    def call(at: datetime = now, *, kinds: tuple[str, ...] | None = OURS) -> Mended:
        choice = Choice(at - timedelta(days=30), kinds)
        done = mending.mend(choice, actor="test", reason="SQL was away", now=at)
        db.session.rollback()
        return done

    return call


def _fail(entry: Entry, kind: str = "unavailable", *, at: datetime) -> str:
    """The token by which this person's try failed."""
    token = links.invitation_token(people.invitation_of(entry))
    lately.forget("failed tries")
    failures.record(token, kind, via="form", unanswered=NOTHING, now=at)
    failures.tend(now=at)
    return token


def _lapse(entry: Entry, *, now: datetime) -> None:
    """This person's time is over, and their seat went back."""
    late = update(Invitation).where(Invitation.entry_id == entry.id, Invitation.state == "open")
    db.session.execute(late.values(expires_at=now - GRACE - SECOND))
    db.session.commit()
    assert invitations.lapse(now=now) == 1


def _invitations(entry: Entry) -> list[tuple[str, int]]:
    """State and generation of each of a person's invitations, oldest first."""
    db.session.rollback()
    query = select(Invitation.state, Invitation.generation).where(Invitation.entry_id == entry.id)
    found = [(state, generation) for state, generation in db.session.execute(query)]
    db.session.rollback()
    return found


def _sorry(mails: list[Received]) -> Received:
    """The one apology among these."""
    (mail,) = [one for one in mails if "because of us" in one["Subject"]]
    return mail


def _find(now: datetime, kinds: tuple[str, ...] | None = None) -> stuck.Found:
    found = stuck.find(Choice(now - 24 * HOUR, kinds), now=now)
    db.session.rollback()
    return found


def test_who_failed_and_didnt_get_through_is_stuck_and_nobody_else(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    alice, bob, carol = (people.wait_in_line(one, now=now) for one in (ALICE, BOB, CAROL))
    people.invite(alice, bob, carol, now=now)
    deliver(now)
    _fail(alice, "fields-invalid:password", at=now + MINUTE)
    _fail(alice, at=now + 2 * MINUTE)
    _fail(bob, at=now + MINUTE)
    people.register(bob, "bob", now=now + 3 * MINUTE)
    found = _find(now + HOUR)
    [one] = found.people
    assert (one.entry_id, one.address, one.standing) == (alice.id, ALICE, "open")
    assert (one.times, one.last_at) == (2, now + 2 * MINUTE)
    assert found.kinds["unavailable"] == (2, 2, 1)
    assert found.kinds["fields-invalid:password"] == (1, 1, 1)
    assert found.releases == {"test": (3, 2, 1)}
    assert [one.times for one in _find(now + HOUR, ("fields-invalid",)).people] == [1]
    assert _find(now + 25 * HOUR).people == []


def test_an_open_invitation_has_more_time_from_the_apology_on_and_the_same_link(
    alice: Entry, now: datetime, deliver: Deliver, mend: Mend
) -> None:
    """P11: somebody may be typing in its form."""
    token = _fail(alice, at=now + 70 * HOUR)
    done = mend(now + 71 * HOUR)
    assert (done.did, done.left) == ({"extended": 1}, [])
    assert people.invitation_of(alice).expires_at == now + 71 * HOUR + WITHIN
    mail = _sorry(deliver(now + 75 * HOUR))
    assert mail["Subject"] == "Sorry: your registration at Aurora failed because of us"
    assert people.token_in(mail, "/invite/") == token
    assert "open for 72 hours" in people.words_of(mail).replace("\n", " ")
    assert people.invitation_of(alice).expires_at == now + 75 * HOUR + WITHIN
    assert _invitations(alice) == [("open", 1)]
    assert people.register(alice, "ada", now=now + 100 * HOUR).handle == "ada"
    assert gate.verify() == {}


def test_more_time_never_means_less(
    alice: Entry, now: datetime, deliver: Deliver, mend: Mend
) -> None:
    later = now + timedelta(days=30)
    db.session.execute(update(Invitation).values(expires_at=later))
    db.session.commit()
    _fail(alice, at=now)
    mend(now + MINUTE)
    deliver(now + HOUR)
    assert people.invitation_of(alice).expires_at == later


@pytest.mark.parametrize("renewals", [0, 3])
def test_one_that_is_over_is_issued_anew_and_that_counts_as_no_renewal(
    alice: Entry, now: datetime, deliver: Deliver, mend: Mend, visitor: Browser, renewals: int
) -> None:
    """P3, P7: it was our fault, so it is no matter how often they renewed."""
    old = _fail(alice, at=now + HOUR)
    people.make(alice, renewals=renewals)
    _lapse(alice, now=now + 80 * HOUR)
    done = mend(now + 81 * HOUR)
    assert done.did == {"re-issued": 1}
    mail = _sorry(deliver(now + 82 * HOUR))
    token = people.token_in(mail, "/invite/")
    assert token != old
    assert _invitations(alice) == [("superseded", 1), ("open", 2)]
    assert people.invitation_of(alice).expires_at == now + 82 * HOUR + WITHIN
    assert people.find(ALICE).renewals == renewals
    assert gate.verify() == {}
    assert visitor.get(f"/invite/{old}").status_code == 410
    assert people.register(alice, "ada", now=now + 83 * HOUR).handle == "ada"


def test_a_recall_knows_that_a_mended_person_has_the_link(
    alice: Entry, mend: Mend, deliver: Deliver, now: datetime
) -> None:
    """Whoever has it isn't put back in line unasked, and the wave counts them still."""
    _fail(alice, at=now + HOUR)
    later = now + 80 * HOUR
    _lapse(alice, now=later)
    assert mend(later).did == {"re-issued": 1}
    deliver(later)
    wave_id = people.invitation_of(alice).wave_id
    assert progress.show(wave_id)[1].mailed == 1
    done = recall.recall(wave_id, revoke=False, actor="test", reason="", now=later)
    assert (done.back, [one.state for one in done.rest]) == (0, ["mailed"])
    assert _invitations(alice)[-1] == ("open", 2)


def test_who_is_invited_before_the_apology_for_no_seat_goes_isnt_told_of_none(
    alice: Entry, mend: Mend, deliver: Deliver, now: datetime
) -> None:
    _fail(alice, at=now + HOUR)
    later = now + 80 * HOUR
    _lapse(alice, now=later)
    gate.change(actor="test", now=later, paused=True)
    assert mend(later).did == {"in line": 1}
    gate.change(actor="test", now=later, paused=False)
    waves.admit(1, cohort=None, actor="test", now=later)
    assert not [mail for mail in deliver(later) if "because of us" in mail["Subject"]]
    assert ("sorry", "cancelled") in mails_owed(alice)


@pytest.fixture
def visitor(app: Flask) -> Browser:
    """A visitor."""
    return Browser(app)


@pytest.mark.parametrize("why", ["capacity", "paused"])
def test_without_a_seat_they_are_at_the_front_of_the_line_and_the_mail_says_so(
    alice: Entry, now: datetime, deliver: Deliver, mend: Mend, why: str
) -> None:
    """P3, P5."""
    rank = alice.rank
    _fail(alice, at=now + HOUR)
    people.crowd(2, now=now + 2 * HOUR)
    _lapse(alice, now=now + 80 * HOUR)
    gate.change(actor="test", now=now, **({"paused": True} if why == "paused" else {"capacity": 0}))
    assert mend(now + 81 * HOUR).did == {"in line": 1}
    mail = _sorry(deliver(now + 81 * HOUR))
    assert "No seat is free" in people.words_of(mail)
    assert "/invite/" not in people.words_of(mail)
    back = people.find(ALICE)
    assert (back.state, back.rank, back.renewals) == ("waiting", rank, 0)
    assert tables.line_in_sql()[0] == (alice.id, rank)
    assert gate.verify() == {}
    people.open_gate(10, now=now)
    waves.admit(1, cohort=None, actor="test", now=now + 82 * HOUR)
    assert people.find(ALICE).state == "invited"


def test_twice_does_nothing_twice_until_something_fails_anew(
    alice: Entry, now: datetime, deliver: Deliver, mend: Mend
) -> None:
    _fail(alice, at=now)
    assert mend(now + MINUTE).did == {"extended": 1}
    again = mend(now + 2 * MINUTE)
    assert (again.did, [one.why for one in again.left]) == ({}, ["mended already"])
    _fail(alice, at=now + 3 * MINUTE)
    assert mend(now + 4 * MINUTE).did == {}  # the first apology is still to be read
    deliver(now + 5 * MINUTE)
    assert mend(now + 6 * MINUTE).did == {"extended": 1}
    assert [kind for kind, _ in mails_owed(alice)].count("sorry") == 2


def test_many_operators_at_once_mend_everybody_once(
    app: Flask, now: datetime, deliver: Deliver, mend: Mend
) -> None:
    """P7."""
    everybody = [people.wait_in_line(one, now=now) for one in (ALICE, BOB, CAROL)]
    people.invite(*everybody, now=now)
    deliver(now)
    for one in everybody:
        _fail(one, at=now)
    _lapse(everybody[0], now=now + HOUR)
    done = people.at_once(app, [lambda: mend(now + 2 * HOUR)] * 4)
    assert sum(one.did["extended"] for one in done) == 2
    assert sum(one.did["re-issued"] for one in done) == 1
    owed = select(func.count()).select_from(Message).where(Message.kind == "sorry")
    assert db.session.scalar(owed) == 3
    db.session.rollback()
    assert gate.verify() == {}


def test_who_completes_meanwhile_is_left_alone(
    app: Flask, alice: Entry, now: datetime, mend: Mend
) -> None:
    """P12: whoever is first, it ends in one registration, one seat, and at most one apology."""
    token = _fail(alice, at=now)

    def complete() -> object:
        return completion.complete(token, people.form("ada"), now=now + MINUTE)

    people.at_once(app, [lambda: mend(now + MINUTE), complete])
    assert people.find(ALICE).state == "registered"
    assert mend(now + HOUR).did == {}
    assert gate.verify() == {}


def test_ones_own_mistakes_are_mended_only_when_asked(
    alice: Entry, now: datetime, mend: Mend
) -> None:
    _fail(alice, "fields-invalid:password", at=now)
    done = mend(now + MINUTE)
    assert (done.did, done.left) == ({}, [])
    assert mend(now + MINUTE, kinds=None).did == {"extended": 1}


@pytest.mark.parametrize(
    "values,why",
    [
        ({"state": "withdrawn"}, "withdrawn"),
        ({"state": "removed"}, "removed"),
        ({"suppressed_at": datetime.fromisoformat("2027-03-01T00:00Z")}, "suppressed"),
    ],
)
def test_who_left_or_cant_be_mailed_is_left_alone(
    alice: Entry, now: datetime, mend: Mend, values: dict[str, object], why: str
) -> None:
    _fail(alice, at=now)
    _lapse(alice, now=now + HOUR)
    people.make(alice, **values)
    [left] = mend(now + 2 * HOUR).left
    assert left.why.startswith(why)
    assert ("sorry", "queued") not in mails_owed(alice)


def test_whoevers_apology_waits_for_a_server_keeps_the_invitation(
    alice: Entry, now: datetime, deliver: Deliver, mend: Mend
) -> None:
    """P8: unsent, there is no deadline."""
    _fail(alice, at=now)
    mend(now)
    at = now
    for _day in range(8):  # the server is away for a week
        at += timedelta(days=1)
        mending.keep_open(now=at)
        invitations.lapse(now=at)
    assert _invitations(alice) == [("open", 1)]
    deliver(at)
    assert people.invitation_of(alice).expires_at == at + WITHIN
    mending.keep_open(now=at + WITHIN)
    invitations.lapse(now=at + WITHIN + GRACE)
    assert _invitations(alice) == [("expired", 1)]


def test_an_apology_that_is_refused_takes_nobodys_open_invitation_away(
    alice: Entry, now: datetime, deliver: Deliver, mend: Mend, sink: SmtpSink
) -> None:
    """P11: their first mail came, and somebody may be typing in its form."""
    _fail(alice, at=now)
    mend(now)
    sink.pipelines = False
    sink.answers[:] = ["552 mailbox full"]
    deliver(now)
    assert ("sorry", "bounced") in mails_owed(alice)
    assert _invitations(alice) == [("open", 1)]
    assert people.register(alice, "ada", now=now + HOUR).handle == "ada"
    assert gate.verify() == {}


def test_a_fresh_link_that_never_came_gives_its_seat_back(
    alice: Entry, now: datetime, deliver: Deliver, mend: Mend, sink: SmtpSink
) -> None:
    _fail(alice, at=now)
    _lapse(alice, now=now + HOUR)
    mend(now + 2 * HOUR)
    sink.pipelines = False
    sink.answers[:] = ["550 no such person"]
    deliver(now + 2 * HOUR)
    assert _invitations(alice) == [("superseded", 1), ("revoked", 2)]
    assert gate.verify() == {}


def test_what_was_done_is_in_the_audit_by_numbers_only(
    alice: Entry, now: datetime, mend: Mend
) -> None:
    _fail(alice, at=now)
    mend(now + HOUR)
    record = db.session.scalars(select(Audit).where(Audit.action == "invitation.mend")).one()
    assert record.subject == f"entry:{alice.id}"
    assert record.before["invitation"] == people.invitation_of(alice).id
    assert record.before["expires_at"] == (now + WITHIN).isoformat()
    assert record.after["expires_at"] == (now + HOUR + WITHIN).isoformat()
    assert (record.actor, record.reason) == ("test", "SQL was away")
    assert ALICE not in repr(tables.everything()["audit"])


def test_held_apologies_leave_the_mails_beside_them_alone(
    alice: Entry, now: datetime, deliver: Deliver, mend: Mend
) -> None:
    _fail(alice, at=now)
    mend(now)
    bob = people.wait_in_line(BOB, now=now)
    outbox.cancel(Message.kind == "standing", reason="for this test")
    outbox.stage("apology", [bob.id], now=now)
    db.session.commit()
    gate.change(actor="test", now=now, hold=["sorry"])
    (mail,) = deliver(now)
    assert "came too early" in mail["Subject"]
    gate.change(actor="test", now=now, release=["sorry"], hold=["apology"])
    (mail,) = deliver(now)
    assert "because of us" in mail["Subject"]


@pytest.fixture
def operator(runner: Operator, alice: Entry, now: datetime) -> Operator:
    """An operator, at an hour after Alice's try failed."""
    _fail(alice, at=now)
    _fail(alice, "fields-invalid:password", at=now + SECOND)
    return runner


def test_the_command_tells_who_is_stuck_and_what_to_do(operator: Operator, alice: Entry) -> None:
    words = operator.run("invitation", "stuck").stdout
    assert ALICE in words
    assert "open until 2027-03-04 12:00:00 UTC" in words
    assert "fields-invalid:password" in words
    assert "1 of them are owed an apology: flask invitation mend --dry-run" in words
    shown = operator.json("invitation", "stuck", "--since", "1h", "--only", ALICE)
    assert shown["kinds"]["unavailable"] == {"tries": 1, "people": 1, "stuck": 1}
    [one] = shown["people"]
    assert (one["person"], one["tries"], one["standing"]) == (alice.id, 2, "open")
    assert one["releases"] == ["test"]


def test_the_command_mends_only_after_it_was_said_what_it_would_do(
    operator: Operator, alice: Entry
) -> None:
    before = tables.everything()
    foretold = operator.json("invitation", "mend", "--dry-run")
    assert tables.everything() == before
    done = operator.json("invitation", "mend", "--reason", "SQL was away")
    assert foretold["did"] == done["did"] == {"extended": 1}
    again = operator.run("invitation", "mend")
    assert "There is nobody to mend." in again.stdout
    assert "mended already" in again.stdout
    assert "Nobody is owed an apology." in operator.run("invitation", "stuck").stdout


def test_the_command_chooses_by_person_and_kind(operator: Operator, alice: Entry) -> None:
    assert operator.json("invitation", "mend", "--only", "4711")["did"] == {}
    assert operator.json("invitation", "mend", "--kinds", "unexpected")["did"] == {}
    only = ("--only", str(alice.id), "--kinds", "fields-invalid,unexpected")
    assert operator.json("invitation", "mend", *only)["did"] == {"extended": 1}


@pytest.mark.parametrize(
    "words,status",
    [
        (("mend", "--only", "nobody@example.org"), 1),
        (("mend", "--only", "x"), 1),
        (("stuck", "--since", "yesterday"), 1),
        (("mend", "--all", "--kinds", "unexpected"), 2),
    ],
)
def test_what_the_command_refuses_it_says(
    operator: Operator, words: tuple[str, ...], status: int
) -> None:
    refused = operator.run("invitation", *words)
    assert refused.exit_code == status
    assert refused.stderr.strip()


def test_a_large_outage_is_mended_whole(
    make_app: MakeApp, app: Flask, now: datetime, deliver: Deliver, mend: Mend
) -> None:
    ids = people.crowd(40, now=now)
    people.admit(40, now=now)
    deliver(now)
    for number in range(40):
        _fail(people.find(f"p{number}@example.org"), at=now)
    assert mend(now + MINUTE).did == {"extended": 40}
    sorry = [mail["To"] for mail in deliver(now + HOUR) if "because of us" in mail["Subject"]]
    assert len(sorry) == len(set(sorry)) == len(ids)
    failed = db.session.scalar(select(func.count()).select_from(FinishFailure))
    assert failed == 40
    db.session.rollback()
