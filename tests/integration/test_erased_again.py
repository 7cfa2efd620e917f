"""Who was erased and comes again: a newcomer, whom a keyed hash spares mail."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from tests import people, tables
from tests.conftest import KEY, Deliver, MakeApp
from tests.people import ALICE, BOB
from waitlist import delivery, erasures
from waitlist.extensions import db
from waitlist.models import Entry, Erasure, Message
from waitlist.signup import erasing, importing, joining
from waitlist.signup.erasing import Erased
from waitlist.signup.joining import Joining

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
CANARY = "zqcanary"
BIRD = f"{CANARY}@{CANARY}.example"


def erase(address: str, *, now: datetime) -> Erased:
    done = erasing.erase(address, actor="test", reason="asked for it", now=now)
    db.session.rollback()
    return done


def _bring(
    folder: Path, now: datetime, *addresses: str, dry_run: bool = False
) -> importing.Summary:
    path = folder / "people.csv"
    path.write_text("\n".join(["email", *addresses]))
    return importing.import_people(path, cohort="general", actor="test", now=now, dry_run=dry_run)


def test_who_was_erased_and_joins_again_is_a_newcomer(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    old_id = people.wait_in_line(ALICE, now=now).id
    bob = people.wait_in_line(BOB, now=now)
    erase(ALICE, now=now)
    entry = people.join(ALICE, now=now + MINUTE)
    assert entry.id > bob.id > old_id
    (mail,) = [one for one in deliver(now + MINUTE) if one.envelope.rcpt_tos == [ALICE]]
    joining.confirm(people.token_in(mail, "/confirm/"), now=now + MINUTE)
    assert tables.line_in_sql()[-1][0] == entry.id
    assert len(deliver(now + MINUTE)) == 1, "what follows their own confirmation isn't limited"


def test_who_was_erased_gets_one_confirmation_in_thirty_days(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    """P19: whoever types the address, and however often."""
    people.wait_in_line(ALICE, now=now)
    erase(ALICE, now=now)
    sent = []
    for days in (0, 1, 1.1, 2, 29.9, 30.5, 31, 45):
        at = now + days * DAY + MINUTE
        people.join(ALICE, now=at)
        sent += [days for mail in deliver(at) if mail.envelope.rcpt_tos == [ALICE]]
    assert sent == [0, 30.5]
    whys = select(Message.reason).where(Message.state == "cancelled").distinct()
    assert db.session.scalars(whys).all() == [erasures.WHY_NOT]


def test_of_several_that_wait_for_the_mail_server_one_goes(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    people.join(ALICE, now=now)
    erase(ALICE, now=now)
    for minutes in (0, 20, 40):
        people.join(ALICE, now=now + minutes * MINUTE)
    people.join(BOB, now=now)
    mailed = sorted(mail.envelope.rcpt_tos[0] for mail in deliver(now + 60 * MINUTE))
    assert mailed == [ALICE, BOB]


def test_a_confirmation_whose_worker_died_goes_again_by_the_next(
    app: Flask, now: datetime, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P16: what was let through stays so."""
    people.join(ALICE, now=now)
    erase(ALICE, now=now)
    people.join(ALICE, now=now)

    def die(*_args: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(delivery, "_hand_over", die)
        with pytest.raises(RuntimeError):
            deliver(now)
    db.session.rollback()
    assert len(deliver(now + 2 * MINUTE)) == 1


def test_erasing_again_doesnt_begin_the_thirty_days_anew(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    people.join(ALICE, now=now)
    erase(ALICE, now=now)
    for days in (0, 3, 31):
        at = now + days * DAY
        people.join(ALICE, now=at)
        assert len(deliver(at)) == int(days in (0, 31))
        if days == 0:
            erase(ALICE, now=at + MINUTE)
    assert len(db.session.scalars(select(Erasure)).all()) == 1


def test_joining_is_the_same_work_whether_one_was_erased_or_never_known(
    app: Flask, now: datetime
) -> None:
    """P21."""
    people.join(ALICE, now=now)
    erase(ALICE, now=now)
    work = []
    for address in (ALICE, BOB, ALICE, BOB):
        with tables.counting() as counted:
            joining.join([Joining(address, "en")], now=now)
        work.append((counted.statements, counted.commits))
    assert len(set(work)) == 1


def test_a_file_doesnt_bring_back_who_was_erased(app: Flask, now: datetime, tmp_path: Path) -> None:
    people.join(ALICE, now=now)
    erase(ALICE, now=now)
    done = _bring(tmp_path, now, BOB, ALICE, "carol@example.org")
    assert (done.accepted, done.rejected) == (2, 1)
    assert "was erased before" in Path(str(done.rejects_file)).read_text()
    assert ALICE not in db.session.scalars(select(Entry.address)).all()
    arrivals = select(Entry.arrival).order_by(Entry.arrival)
    first, second = db.session.scalars(arrivals).all()
    assert second == first + 1


def test_a_dry_run_foretells_who_was_erased(app: Flask, now: datetime, tmp_path: Path) -> None:
    people.join(ALICE, now=now)
    erase(ALICE, now=now)
    done = _bring(tmp_path, now, BOB, ALICE, dry_run=True)
    assert (done.accepted, done.rejected) == (1, 1)


def test_a_hash_is_found_after_the_keys_were_rotated_and_tells_nothing_without_them(
    app: Flask, make_app: MakeApp, now: datetime
) -> None:
    """P19."""
    [old] = erasures.hashes(ALICE)
    with make_app(secret_keys=("n" * 40, KEY)).app_context():
        new, same = erasures.hashes(ALICE)
    with make_app(secret_keys=("n" * 40,)).app_context():
        assert erasures.hashes(ALICE) == [new]
    assert same == old != new
    assert len(old) == 64
    assert erasures.hashes(BOB) != [old]


def test_after_a_rotation_an_erased_address_is_known_as_such_and_kept_once(
    app: Flask, make_app: MakeApp, now: datetime
) -> None:
    people.join(ALICE, now=now)
    erase(ALICE, now=now)
    with make_app(secret_keys=("n" * 40, KEY)).app_context():
        people.join(ALICE, now=now)
        assert list(erasures.among([ALICE, BOB])) == [ALICE]
        erase(ALICE, now=now + DAY)
        assert db.session.scalars(select(Erasure.at)).all() == [now + DAY]
