"""The last step by the use case: once, whole, and the same again to whoever asks again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from flask import Flask
from sqlalchemy import func, select, update

from tests import people, tables
from tests.conftest import Deliver, MakeApp
from tests.people import ALICE, BOB, PASSWORD, form, mails_owed
from waitlist import links, seats
from waitlist.admission import gate
from waitlist.errors import (
    AlreadyCompleted,
    FieldsInvalid,
    InvitationClosed,
    KeyReused,
    LinkInvalid,
)
from waitlist.extensions import db
from waitlist.models import Entry, Invitation, Message, Registration
from waitlist.onboarding import completion, forms, invitations, view
from waitlist.onboarding.completion import Completed
from waitlist.onboarding.forms import Form

MINUTE = timedelta(minutes=1)
PARALLEL = 32


@pytest.fixture
def alice(app: Flask, now: datetime, deliver: Deliver) -> Entry:
    """Alice, whose invitation was mailed."""
    entry = people.wait_in_line(ALICE, now=now)
    people.invite(entry, now=now)
    deliver(now)
    return people.find(ALICE)


def _complete(token: str, sent: Form, now: datetime, key: str | None = None) -> Completed:
    done = completion.complete(token, sent, key=key, now=now)
    db.session.rollback()
    return done


def _registrations() -> int:
    found = db.session.scalar(select(func.count()).select_from(Registration))
    db.session.rollback()
    return found or 0


def _open_form(now: datetime, token: str, **changes: str) -> Form:
    """A form whose note says that it was opened at `now`."""
    return form(**{"opened": view.look(token, now=now).opened, **changes})


def test_a_valid_form_registers_and_takes_the_seat_for_good(
    alice: Entry, token: str, now: datetime
) -> None:
    """P4."""
    done = _complete(token, form("ada"), now)
    assert (done.handle, done.display_name, done.replayed) == ("ada", "Ada L.", False)
    assert people.find(ALICE).state == "registered"
    assert people.invitation_of(alice).state == "used"
    shown = gate.show(now=now)
    assert (shown.held, shown.taken, shown.seats_used) == (0, 1, 1)
    assert gate.verify() == {}
    assert mails_owed(alice)[-1] == ("welcome", "queued")


def test_32_at_once_with_the_same_form_are_one_registration_and_one_answer(
    app: Flask, alice: Entry, token: str, now: datetime
) -> None:
    """P10."""

    def call() -> Completed:
        return completion.complete(token, form("ada"), key="k", now=now)

    done = people.at_once(app, [call] * PARALLEL)
    assert len({(one.handle, one.display_name, one.welcome_token) for one in done}) == 1
    assert Counter(one.replayed for one in done) == {True: PARALLEL - 1, False: 1}
    assert _registrations() == 1
    assert Counter(mails_owed(alice))["welcome", "queued"] == 1
    assert gate.verify() == {}


def test_32_at_once_with_different_forms_are_one_registration_and_the_others_conflict(
    app: Flask, alice: Entry, token: str, now: datetime
) -> None:
    """P10: the others learn that it is used, and nothing of what is stored."""

    def calls(number: int) -> Callable[[], str]:
        def call() -> str:
            try:
                return completion.complete(token, form(f"person_{number}"), now=now).handle
            except AlreadyCompleted as error:
                return str(error)

        return call

    answers = Counter(people.at_once(app, [calls(number) for number in range(PARALLEL)]))
    assert answers.pop("this invitation is used already") == PARALLEL - 1
    (handle,) = answers
    assert db.session.scalars(select(Registration.handle)).all() == [handle]
    assert Counter(mails_owed(alice))["welcome", "queued"] == 1


def test_two_invitees_at_once_with_one_handle_cant_both_have_it(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    entries = [people.wait_in_line(one, now=now) for one in (ALICE, BOB)]
    tokens = [links.invitation_token(one) for one in people.invite(*entries, now=now)]

    def calls(token: str) -> Callable[[], str]:
        def call() -> str:
            try:
                return completion.complete(token, form("ada"), now=now).handle
            except FieldsInvalid as error:
                return error.reasons["handle"]

        return call

    assert sorted(people.at_once(app, [calls(one) for one in tokens])) == ["ada", "handle-taken"]
    assert _registrations() == 1
    assert gate.verify() == {}


@pytest.mark.parametrize("key", [None, "first", "other"])
def test_the_same_again_gets_the_same_answer_whatever_the_key(
    token: str, now: datetime, key: str | None
) -> None:
    """P10: a lost reply, a double click, two tabs; days later, too."""
    first = _complete(token, form("ada"), now, "first")
    again = _complete(token, form("ada"), now + timedelta(days=30), key)
    assert again == Completed("ada", "Ada L.", first.welcome_token, replayed=True)
    assert _registrations() == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"handle": "other"},
        {"display_name": "Another"},
        {"password": "another horse battery staple"},
        {"password": "x"},
    ],
)
def test_something_else_after_a_success_is_refused(
    token: str, now: datetime, changes: dict[str, str]
) -> None:
    _complete(token, form("ada"), now, "first")
    before = tables.everything()
    different = form(**{"handle": "ada", **changes})
    with pytest.raises(AlreadyCompleted):
        _complete(token, different, now, "other")
    with pytest.raises(KeyReused):
        _complete(token, different, now, "first")
    assert tables.everything() == before


def test_a_handle_that_is_taken_names_free_ones_and_stores_nothing(
    app: Flask, alice: Entry, token: str, now: datetime
) -> None:
    """P11: and the same key works afterwards."""
    bob = people.wait_in_line(BOB, now=now)
    people.invite(bob, now=now)
    people.register(bob, "ada", now=now)
    before = tables.everything()
    with pytest.raises(FieldsInvalid) as refused:
        _complete(token, form("ada"), now, "k")
    assert refused.value.reasons == {"handle": "handle-taken"}
    assert refused.value.free_handles == ("ada_2", "ada_3", "ada_4")
    assert tables.everything() == before
    assert _complete(token, form("ada_2"), now, "k").handle == "ada_2"


@pytest.mark.parametrize(
    "field,value,code",
    [
        ("handle", "", "missing"),
        ("handle", "ad", "handle-form"),
        ("handle", "a" * 31, "handle-form"),
        ("handle", "ada lovelace", "handle-form"),
        ("handle", "adä", "handle-form"),
        ("handle", "ada\n", None),
        ("handle", "  ADA  ", None),
        ("handle", "admin", "handle-reserved"),
        ("handle", " Admin ", "handle-reserved"),
        ("display_name", "   ", "missing"),
        ("display_name", "x" * 81, "too-long"),
        ("display_name", "x" * 80, None),
        ("display_name", "Ada\x00L", "unprintable"),
        ("display_name", "Zoë  O’Neil 王", None),
        ("password", "", "missing"),
        ("password", "x7$kQ", "too-short"),
        ("password", "password", "weak"),
        ("password", "12345678", "weak"),
        ("password", "ada_lovelace", None),
        ("password", "correct horse " * 6, None),
        ("password", ("correct horse battery " * 12)[:256], None),
        ("password", ("correct horse battery " * 12)[:257], "too-long"),
        ("password", "пароль лошадь скоба 42", None),
        ("password", "马电池订书钉正确的词语", None),
        ("password", "  spaces at both ends  ", None),
        ("terms", "", "terms"),
        ("terms", "no", "terms"),
    ],
)
def test_each_field_is_refused_with_its_reason(
    token: str, now: datetime, field: str, value: str, code: str | None
) -> None:
    sent = form(**{"handle": "ada_l", field: value})
    if code is None:
        assert not _complete(token, sent, now).replayed
        return
    with pytest.raises(FieldsInvalid) as refused:
        _complete(token, sent, now)
    assert refused.value.reasons == {field: code}
    assert _registrations() == 0


def test_a_password_of_the_persons_own_handle_and_name_is_weak(token: str, now: datetime) -> None:
    with pytest.raises(FieldsInvalid) as refused:
        _complete(token, form("adalovelace", password="adalovelace"), now)
    assert refused.value.reasons == {"password": "weak"}


def test_every_wrong_field_is_told_at_once(token: str, now: datetime) -> None:
    with pytest.raises(FieldsInvalid) as refused:
        _complete(token, forms.form_of({}), now)
    assert set(refused.value.reasons) == {"handle", "display_name", "password", "terms"}


def test_a_password_is_kept_to_its_last_letter(token: str, now: datetime) -> None:
    """Past the 72 letters at which zxcvbn and bcrypt stop looking."""
    long = "correct horse battery staple " * 4
    _complete(token, form("ada", password=long), now)
    with pytest.raises(AlreadyCompleted):
        _complete(token, form("ada", password=long[:-1] + "X"), now)


def test_the_password_is_stored_as_argon2id_and_nowhere_as_it_is(
    token: str, now: datetime, settings_path: Path | None
) -> None:
    _complete(token, form("ada"), now)
    stored = db.session.scalars(select(Registration.password_hash)).one()
    assert stored.startswith("$argon2id$")
    assert PasswordHasher().verify(stored, PASSWORD)
    assert PASSWORD not in repr(tables.everything())
    db.session.rollback()
    if settings_path is not None:
        for file in settings_path.parent.glob("waitlist.sqlite3*"):
            assert PASSWORD.encode() not in file.read_bytes()


@pytest.fixture
def settings_path(app: Flask) -> Path | None:
    """The file of the database, if it is one."""
    path = db.engine.url.database
    return Path(path) if db.engine.dialect.name == "sqlite" and path else None


def test_a_link_that_isnt_ours_completes_nothing(token: str, now: datetime) -> None:
    """P22."""
    for other in ("", token[:-1], f"{token}x", "WzEsMSwiYSJd.abc"):
        with pytest.raises(LinkInvalid):
            _complete(other, form("ada"), now)
    assert _registrations() == 0


@pytest.mark.parametrize("state", ["expired", "revoked", "superseded"])
def test_a_closed_invitation_completes_nothing_and_says_why(
    token: str, now: datetime, state: str
) -> None:
    db.session.execute(update(Invitation).values(state=state))
    db.session.commit()
    with pytest.raises(InvitationClosed) as refused:
        _complete(token, form("ada"), now)
    assert refused.value.state == state
    assert _registrations() == 0


def test_completion_goes_on_without_redis(
    alice: Entry, token: str, now: datetime, make_app: MakeApp, tmp_path: Path
) -> None:
    """P14."""
    db.session.rollback()
    with make_app(redis_url=f"unix://{tmp_path}/away.sock").app_context():
        assert completion.complete(token, form("ada"), now=now).handle == "ada"
    assert people.find(ALICE).state == "registered"


def test_a_worker_that_dies_before_the_commit_leaves_nothing_and_trying_again_is_safe(
    token: str, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P15."""
    before = tables.everything()
    with monkeypatch.context() as patched:
        _die_at(patched, "completion.before-commit")
        with pytest.raises(RuntimeError):
            completion.complete(token, form("ada"), now=now)
    assert tables.everything() == before
    assert not _complete(token, form("ada"), now).replayed


def test_after_a_commit_whose_answer_was_lost_trying_again_gets_the_answer(
    token: str, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P10, P15."""
    with monkeypatch.context() as patched:
        _die_at(patched, "completion.committed")
        with pytest.raises(RuntimeError):
            completion.complete(token, form("ada"), now=now)
    assert _complete(token, form("ada"), now).replayed
    assert _registrations() == 1


def _die_at(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def die(passed: str) -> None:
        if passed == place:
            raise RuntimeError(place)

    monkeypatch.setattr(completion, "failpoint", die)


def _race(
    app: Flask, monkeypatch: pytest.MonkeyPatch, held_at: str, calls: list[Callable[[], object]]
) -> list[object]:
    """Both calls at once; a completion waits at `held_at` until the other had its time."""

    def hold(passed: str) -> None:
        if passed == held_at:
            threading.Event().wait(0.5)

    monkeypatch.setattr(completion, "failpoint", hold)
    return people.at_once(app, calls)


@pytest.mark.parametrize(
    "held_at,completed", [("completion.before-commit", True), ("completion.hashed", False)]
)
def test_a_seat_is_never_both_released_and_used(
    app: Flask,
    token: str,
    alice: Entry,
    now: datetime,
    clock: object,
    monkeypatch: pytest.MonkeyPatch,
    held_at: str,
    completed: bool,
) -> None:
    """P12: lapse against completion, each order; the loser finds what the winner did."""
    sent = _open_form(now, token, handle="ada")
    expires_at = people.invitation_of(alice).expires_at
    assert expires_at is not None
    over = expires_at + 30 * MINUTE

    def complete() -> object:
        try:
            return completion.complete(token, sent, now=over - MINUTE).handle
        except InvitationClosed as error:
            return error.state

    def lapse() -> object:
        threading.Event().wait(0.2)  # the completion has the lock, or is not there yet
        return invitations.lapse(now=over)

    found = _race(app, monkeypatch, held_at, [complete, lapse])
    assert found == (["ada", 0] if completed else ["expired", 1])
    state = people.find(ALICE).state
    assert state == ("registered" if completed else "lapsed")
    assert _registrations() == int(completed)
    assert gate.show(now=now).seats_used == int(completed)
    assert gate.verify() == {}


def test_an_invitation_used_after_it_was_found_to_be_over_keeps_its_seat(
    alice: Entry, token: str, now: datetime
) -> None:
    """P12: who releases has looked before, and looks again under the lock."""
    found = people.invitation_of(alice).id
    _complete(token, form("ada"), now)
    seats.lock()
    assert seats.give_back([found], as_="expired", entries_as="lapsed", now=now) == []
    db.session.commit()
    assert people.invitation_of(alice).state == "used"
    assert gate.show(now=now).seats_used == 1
    assert gate.verify() == {}


def test_the_welcome_mail_is_one_however_often_it_is_asked(
    alice: Entry, token: str, now: datetime, deliver: Deliver
) -> None:
    """P10."""
    for _ in range(3):
        _complete(token, form("ada"), now)
    mails = deliver(now)
    assert [mail["Subject"] for mail in mails] == ["Welcome to Aurora"]
    assert db.session.scalar(select(func.count()).where(Message.kind == "welcome")) == 1
