"""Erasing people: nothing of them is left anywhere, but for a keyed hash that spares them mail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Flask
from redis import Redis
from sqlalchemy import make_url, select, text

from tests import people, tables
from tests.conftest import Deliver, MakeApp
from tests.people import ALICE, BOB
from tests.visitors import Browser, Operator
from waitlist import delivery, erasures, extensions, links, log, projection
from waitlist.admission import gate, waves
from waitlist.errors import LinkInvalid, PersonUnknown
from waitlist.extensions import db
from waitlist.models import Audit, Entry, Erasure, LineChange, Message, Registration, Wave
from waitlist.onboarding import completion
from waitlist.policy.rules import Told
from waitlist.signup import entering, erasing, importing, joining
from waitlist.signup.erasing import Erased
from waitlist.signup.joining import Joining
from waitlist.tokens import Purpose

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
CANARY = "zqcanary"
BIRD = f"{CANARY}@{CANARY}.example"


def erase(address: str, *, now: datetime) -> Erased:
    done = erasing.erase(address, actor="test", reason="asked for it", now=now)
    db.session.rollback()
    return done


def _is_known(address: str) -> bool:
    try:
        return bool(people.find(address))
    except PersonUnknown:
        return False
    finally:
        db.session.rollback()


# --- what is left


def _go_the_whole_way(client: Browser, deliver: Deliver, *, now: datetime) -> None:
    """Join, confirm, ask for a link, be moved, invited, late and renewed, complete, be welcomed."""
    told = Told("FR", "ios", CANARY)
    joining.join([Joining(BIRD, "en", told=told)], now=now)
    entry = people.make(people.find(BIRD), name=CANARY.title(), attributes={CANARY: CANARY})
    deliver(now)
    client.post(f"/confirm/{links.entry_token(Purpose.CONFIRM, entry)}")
    client.post(f"/place/{links.entry_token(Purpose.PLACE, entry)}")
    people.invite(people.find(BIRD), now=now)
    deliver(now)
    token = links.invitation_token(people.invitation_of(entry))
    client.get(f"/invite/{token}")
    fields = {"handle": CANARY, "display_name": CANARY.title(), "password": people.PASSWORD}
    client.post(f"/invite/{token}", data={**fields, "terms": "yes"})
    assert people.find(BIRD).state == "registered"
    deliver(now)


def _places_of_the_canary(app: Flask, logged: str) -> set[str]:
    """Where the canary is found: tables, files of the database, Redis, logs."""
    found = {f"table {name}" for name, rows in tables.everything().items() if _sings(rows)}
    if db.engine.dialect.name == "sqlite":
        path = Path(make_url(app.config["SETTINGS"].database_url).database or "")
        files = [path, *path.parent.glob(f"{path.name}-*")]
        found |= {f"file {file.suffix}" for file in files if _sings(file.read_bytes())}
    found |= {f"redis {key!r}" for key, value in _all_of_redis() if _sings(key) or _sings(value)}
    return found | ({"log"} if _sings(logged) else set())


def _sings(what: object) -> bool:
    return CANARY.lower() in repr(what).lower()


def _all_of_redis() -> Iterator[tuple[bytes, object]]:
    client: Any = extensions.redis_for_rq()
    read: dict[bytes, Callable[[bytes], object]] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"stream": client.xrange,
        b"none": lambda key: None,
    }
    for key in client.scan_iter():
        yield key, read[client.type(key)](key)


def test_of_an_erased_person_nothing_is_left_anywhere(
    app: Flask,
    client: Browser,
    now: datetime,
    clock: time_machine.Traveller,
    deliver: Deliver,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """P19: the canary is in every table before, and in none after; nor in a file, Redis or log."""
    log.configure()  # to what is stderr now
    people.crowd(30, now=now)
    people.invite(*map(people.find, [f"p{n}@example.org" for n in range(30)]), now=now)
    _go_the_whole_way(client, deliver, now=now)
    extensions.forget_for_good()
    people.make(people.find(BIRD), name=CANARY)
    before = _places_of_the_canary(app, "")
    assert {"table entries", "table registrations"} <= before
    if db.engine.dialect.name == "sqlite":
        assert {"file .sqlite3", "file .sqlite3-wal"} <= before
    done = erase(BIRD, now=now)
    assert (done.was, done.seats, done.is_gone_for_good) == ("registered", 1, True)
    capture = capsys.readouterr()
    assert _places_of_the_canary(app, capture.out + capture.err) == set()
    assert "/confirm/<token>" in capture.err, "it is the log that was looked through"
    assert [one.key_hash for one in db.session.scalars(select(Erasure))] == erasures.hashes(BIRD)


def test_of_an_erased_person_nothing_is_left_of_a_file_that_is_being_read(
    app: Flask, now: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P19: staged rows hold addresses too."""
    _stage_only(tmp_path, now, monkeypatch, ALICE, BIRD, BOB)
    assert _places_of_the_canary(app, "") >= {"table import_rows"}
    done = erase(BIRD, now=now)
    assert (done.entry_id, done.import_rows) == (None, 1)
    assert _places_of_the_canary(app, "") == set()


def _file(folder: Path, *addresses: str) -> Path:
    path = folder / "people.csv"
    path.write_text("email,name\n" + "".join(f"{one},{one[:8]}\n" for one in addresses))
    return path


def _stage_only(
    folder: Path, now: datetime, monkeypatch: pytest.MonkeyPatch, *addresses: str
) -> None:
    """An import that was interrupted before anybody was let in."""

    def interrupt(*_args: object, **_more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(entering, "line_up", interrupt)
        with pytest.raises(KeyboardInterrupt):
            bring(folder, now, *addresses)
    db.session.rollback()


def bring(folder: Path, now: datetime, *addresses: str) -> importing.Summary:
    path = _file(folder, *addresses)
    return importing.import_people(path, cohort="general", actor="test", now=now)


# --- everybody, and what they held


@pytest.mark.parametrize(
    "state",
    [
        *("pending", "unconfirmed", "waiting", "suppressed", "invited"),
        *("registered", "lapsed", "withdrawn", "removed"),
    ],
)
def test_whoever_is_erased_frees_what_they_held(
    app: Flask, redis: Redis, now: datetime, deliver: Deliver, state: str
) -> None:
    """P4, P13, P19."""
    everybody = people.in_every_state(now=now, deliver=deliver)
    entry, used = everybody.pop(state), gate.show(now=now).seats_used
    address, entry_id = entry.address, entry.id
    done = erase(address, now=now)
    assert done.seats == int(state in ("invited", "registered"))
    assert not _is_known(address)
    assert gate.show(now=now).seats_used == used - done.seats
    assert gate.verify() == {}
    assert projection.check(1) == []
    assert entry_id not in dict(tables.line_in_redis(redis))
    assert all(_is_known(other.address) for other in everybody.values())


def test_a_freed_seat_is_offered_to_the_next(app: Flask, now: datetime, alice: Entry) -> None:
    """P3."""
    people.register(alice, "ada", now=now)
    bob = people.wait_in_line(BOB, now=now)
    people.open_gate(1, now=now)
    assert waves.admit(1, cohort=None, actor="test", now=now).admitted == 0
    erase(ALICE, now=now)
    assert waves.admit(1, cohort=None, actor="test", now=now).admitted == 1
    assert people.find(BOB).state == "invited"
    assert people.invitation_of(bob).state == "open"


def test_waves_keep_their_numbers_and_the_audit_its_ids(
    app: Flask, runner: Operator, now: datetime, alice: Entry
) -> None:
    """P19."""
    told = runner.json("person", "erase", f" {ALICE.upper()}", "--reason", "asked for it")
    assert (told["entry_id"], told["was"], told["seats"]) == (alice.id, "invited", 1)
    assert db.session.scalars(select(Wave.admitted)).all() == [1]
    act = db.session.scalars(select(Audit).filter_by(action="person.erase")).one()
    assert (act.subject, act.reason) == (f"entry:{alice.id}", "asked for it")
    assert act.before == {"state": "invited"}
    assert not any(ALICE in repr(rows) for rows in tables.everything().values())


def test_nobody_is_known_by_the_address_of_who_was_erased(
    app: Flask, runner: Operator, now: datetime, alice: Entry
) -> None:
    runner.json("person", "erase", ALICE)
    for act in ("show", "erase", "remove"):
        result = runner.run("person", act, ALICE)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "nobody is known by" in result.stderr


def test_every_table_that_names_a_person_is_emptied_of_them(app: Flask) -> None:
    """P19: a new table must hang on these by ON DELETE CASCADE, or be deleted from in `erasing`."""
    deleted = {"messages", "registrations", "invitations", "place_changes", "entries"}
    noted = {"line_changes"}  # ids only, until the line has them
    for table in db.metadata.sorted_tables:
        for key in table.foreign_keys:
            if key.column.table.name in deleted and table.name not in deleted:
                assert key.ondelete == "CASCADE", f"{table.name}.{key.parent.name}"
        names_people = "entry_id" in table.c and table.name not in deleted | noted
        assert not names_people or any(
            key.parent.name == "entry_id" for key in table.foreign_keys
        ), table.name


def test_while_redis_is_away_somebody_is_erased_and_the_line_follows(
    app: Flask, make_app: MakeApp, redis: Redis, now: datetime
) -> None:
    """P14, P19."""
    entry = people.wait_in_line(ALICE, now=now)
    away = make_app(redis_url="redis://127.0.0.1:1")
    with away.app_context():
        erase(ALICE, now=now)
    assert dict(tables.line_in_redis(redis)) == {entry.id: entry.rank}
    projection.settle(1)
    assert tables.line_in_redis(redis) == []
    assert db.session.scalars(select(LineChange)).all() == []


# --- races


def test_who_is_erased_while_they_complete_is_told_that_the_link_is_unknown(
    app: Flask, now: datetime, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P19, P22."""

    def meanwhile(at: str) -> None:
        if at == "completion.hashed":
            erase(ALICE, now=now)

    monkeypatch.setattr(completion, "failpoint", meanwhile)
    with pytest.raises(LinkInvalid):
        completion.complete(token, people.form(), now=now)
    assert db.session.scalars(select(Registration)).all() == []
    assert gate.verify() == {}


@pytest.mark.parametrize("again", range(4))
def test_completing_and_erasing_at_once_leaves_nothing_in_either_order(
    app: Flask, now: datetime, token: str, again: int
) -> None:
    """P4, P12, P19."""

    def complete() -> str:
        try:
            return completion.complete(token, people.form(), now=now).handle
        except LinkInvalid:
            return "unknown"

    def take_away() -> str:
        return str(erase(ALICE, now=now).seats)

    answers = people.at_once(app, [take_away, complete, complete])
    assert answers[0] == "1"
    assert set(answers[1:]) <= {"ada", "unknown"}
    assert not _is_known(ALICE)
    assert gate.show(now=now).seats_used == 0
    assert gate.verify() == {}


def test_who_is_erased_before_their_mail_goes_isnt_mailed_and_the_others_are(
    app: Flask, now: datetime, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9, P19: leased, and not yet told to the server."""
    people.wait_in_line(ALICE, now=now)
    people.wait_in_line(BOB, now=now)
    told: list[Erased] = []

    def meanwhile(at: str) -> None:
        if at == "mail.leased" and not told:
            told.append(erase(ALICE, now=now))

    monkeypatch.setattr(delivery, "failpoint", meanwhile)
    assert [mail.envelope.rcpt_tos for mail in deliver(now)] == [[BOB]]
    assert [*told[0].under_way] == ["standing"]
    assert not _is_known(ALICE)


def test_who_is_erased_after_the_server_took_their_mail_is_gone_all_the_same(
    app: Flask, now: datetime, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9, P19: the worker finds nothing to mark."""
    people.wait_in_line(ALICE, now=now)
    people.wait_in_line(BOB, now=now)
    told: list[Erased] = []

    def meanwhile(at: str) -> None:
        if at == "mail.accepted" and not told:
            told.append(erase(ALICE, now=now))

    monkeypatch.setattr(delivery, "failpoint", meanwhile)
    assert len(deliver(now)) == 2
    assert [*told[0].under_way] == ["standing"]
    assert db.session.scalars(select(Message.entry_id)).all().count(people.find(BOB).id) == 2
    assert not _is_known(ALICE)


@pytest.mark.parametrize("again", range(3))
def test_erasing_many_while_their_mail_goes_harms_nobody_elses(
    app: Flask, now: datetime, deliver: Deliver, again: int
) -> None:
    """P8, P19: no two wait for each other."""
    ids = people.crowd(12, now=now)
    people.open_gate(12, now=now)
    waves.admit(12, cohort=None, actor="test", now=now)
    del ids

    def mail() -> object:
        return delivery.deliver(lambda: now, until=now + DAY)

    def take_away() -> object:
        return [erase(f"p{number}@example.org", now=now) for number in range(0, 12, 2)]

    people.at_once(app, [mail, take_away])
    deliver(now)
    left = {f"p{number}@example.org" for number in range(1, 12, 2)}
    assert {one.address for one in db.session.scalars(select(Entry))} == left
    db.session.rollback()
    is_sent = Message.state == "sent"
    sent = select(Entry.address).join(Message).where(Message.kind == "invitation", is_sent)
    assert set(db.session.scalars(sent)) == left
    assert gate.verify() == {}


def test_who_is_let_in_by_an_import_while_they_are_erased_is_erased_again(
    app: Flask, now: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P19: the last of their rows came in after the first look."""
    people.wait_in_line(ALICE, now=now)
    note, brought = erasures.note, list[bool]()

    def meanwhile(key: str, *, now: datetime) -> None:
        note(key, now=now)
        if not brought:
            brought.append(True)
            db.session.commit()
            rows = {"import_id": 1, "number": 2, "address_key": ALICE, "address": ALICE}
            bring(tmp_path, now, BOB)
            db.session.execute(db.metadata.tables["import_rows"].insert().values(rows))
            db.session.commit()

    monkeypatch.setattr(erasures, "note", meanwhile)
    erase(ALICE, now=now)
    assert db.session.scalar(text("SELECT count(*) FROM import_rows")) == 0
