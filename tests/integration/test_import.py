"""Importing people who registered elsewhere: exact counts, their order, and twice is once."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import func, select

from tests import people, tables
from tests.conftest import Deliver
from tests.people import ALICE, BOB, CAROL
from tests.visitors import Operator
from waitlist import projection
from waitlist.admission import gate, waves
from waitlist.errors import CohortUnknown, FileRefused, ValueRefused
from waitlist.extensions import db
from waitlist.models import Entry, Import, ImportRow
from waitlist.signup import entering, importing, people_file, reader, staging
from waitlist.signup.importing import Summary

SAMPLE = Path(__file__).parent.parent / "samples" / "preorders.csv"
EXPECTED = json.loads(SAMPLE.with_suffix(".expected.json").read_text())
PREORDER = 2

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of people: text, or bytes as they are."""

    def to_file(content: str | bytes, name: str = "people.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to_file


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """The sample, in a folder where rejects may be written."""
    return Path(shutil.copy(SAMPLE, tmp_path / "preorders.csv"))


@pytest.fixture(autouse=True)
def _cohort(app: Flask, now: datetime) -> None:
    people.add_cohort("preorder", now=now, opened=False)


def _import(path: Path, now: datetime, *, dry_run: bool = False) -> Summary:
    db.session.rollback()
    summary = importing.import_people(
        path, cohort="preorder", actor="test", now=now, dry_run=dry_run
    )
    db.session.rollback()
    return summary


def _counts(summary: Summary) -> tuple[int, int, int, int]:
    return summary.rows, summary.accepted, summary.duplicate, summary.rejected


def _waiting() -> list[str]:
    """The addresses that wait in `preorder`, front first."""
    db.session.rollback()
    query = select(Entry.address).where(Entry.cohort_id == PREORDER, Entry.state == "waiting")
    found = list(db.session.scalars(query.order_by(Entry.rank)))
    db.session.rollback()
    return found


def test_the_sample_gives_exactly_the_expected_counts_and_then_nothing_new(
    app: Flask, redis: Redis, sample: Path, now: datetime
) -> None:
    first = _import(sample, now)
    expected = tuple(EXPECTED[name] for name in ("rows", "accepted", "duplicate", "rejected"))
    assert _counts(first) == expected
    assert len(_waiting()) == first.accepted
    ranks = [rank for _, rank in tables.line_in_sql(PREORDER)]
    assert ranks == list(range(ranks[0], ranks[0] + first.accepted))
    assert tables.line_in_redis(redis, "preorder") == tables.line_in_sql(PREORDER)
    entries = tables.everything()["entries"]

    second = _import(sample, now + timedelta(days=1))
    assert _counts(second) == (5000, 0, 5000 - first.rejected, first.rejected)
    assert tables.everything()["entries"] == entries


def test_the_rejects_file_says_which_row_and_why(app: Flask, sample: Path, now: datetime) -> None:
    summary = _import(sample, now)
    assert summary.rejects_file == str(sample.with_name("preorders.rejects.csv"))
    with Path(summary.rejects_file).open(encoding="utf-8", newline="") as file:
        rejects = list(csv.DictReader(file))
    assert len(rejects) == EXPECTED["rejected"]
    with sample.open(encoding="utf-8-sig", newline="") as file:
        rows = dict(enumerate(csv.DictReader(file), start=2))
    assert all(reject["reason"] for reject in rejects)
    numbers = [int(reject["row"]) for reject in rejects]
    assert numbers == sorted(set(numbers))
    for reject in rejects[:20]:
        email = rows[int(reject["row"])]["Email"].strip().replace("\x00", "\ufffd")
        assert reject["address"] in (email, f"'{email}")


def test_a_dry_run_says_the_same_and_changes_nothing(
    app: Flask, sample: Path, now: datetime
) -> None:
    before, keys = tables.everything(), tables.all_keys()
    rehearsed = _import(sample, now, dry_run=True)
    assert tables.everything() == before
    assert tables.all_keys() == keys
    assert rehearsed.import_id is None
    assert _counts(rehearsed) == _counts(_import(sample, now))


def test_people_stand_in_the_order_they_joined_and_then_of_their_rows(
    app: Flask, write: Write, now: datetime
) -> None:
    path = write(
        "email,joined_at\n"
        "third@example.org,2021-03-01T00:00:00Z\n"
        "fourth@example.org,\n"
        "first@example.org,2021-01-01T02:00:00+02:00\n"
        "second@example.org,2021-01-01\n"
        "fifth@example.org,2021-03-02\n"
    )
    _import(path, now)
    names = ["first", "second", "third", "fourth", "fifth"]
    assert _waiting() == [f"{name}@example.org" for name in names]
    assert people.find("fourth@example.org").joined_at == datetime(2021, 3, 1, tzinfo=UTC)


def test_who_joined_at_no_known_time_before_any_other_stands_in_front(
    app: Flask, write: Write, now: datetime
) -> None:
    path = write(f"email,joined_at\n{ALICE},\n{BOB},2021-01-01\n")
    _import(path, now)
    assert _waiting() == [ALICE, BOB]
    assert people.find(ALICE).joined_at == now


def test_people_of_a_file_stand_behind_everyone_present(
    app: Flask, write: Write, now: datetime
) -> None:
    present = people.wait_in_line(CAROL, now=now)
    _import(write(f"email,joined_at\n{ALICE},1999-01-01\n"), now)
    later = people.join(BOB, now=now)
    imported = people.find(ALICE)
    assert present.arrival < imported.arrival < later.arrival


def test_of_two_rows_of_one_address_the_earlier_stands(
    app: Flask, write: Write, now: datetime
) -> None:
    path = write(
        "email,name,joined_at\n"
        f"{BOB},Bob,2021-01-02\n"
        f"ALICE@example.org,Late,2021-01-03\n"
        f"{ALICE},Early,2021-01-01\n"
    )
    assert _counts(_import(path, now)) == (3, 2, 1, 0)
    assert _waiting() == [ALICE, BOB]
    assert people.find(ALICE).name == "Early"


def test_an_imported_person_is_confirmed_and_keeps_what_the_file_said(
    app: Flask, write: Write, now: datetime, deliver: Deliver
) -> None:
    path = write(f"E-Mail,NAME,Locale,Country\n {ALICE.title()} , Ada  L. ,fr,FR\n")
    _import(path, now)
    entry = people.find(ALICE)
    assert (entry.state, entry.confirmed_at, entry.name) == ("waiting", now, "Ada L.")
    assert (entry.locale, entry.attributes) == ("fr", {"country": "FR"})
    assert (entry.address, entry.address_key) == (ALICE.title(), ALICE)
    assert deliver() == []


@pytest.mark.parametrize("state", ["pending", "unconfirmed"])
def test_who_was_only_pending_is_confirmed_moved_and_keeps_the_arrival(
    app: Flask, redis: Redis, write: Write, now: datetime, state: str
) -> None:
    before = people.make(people.join(ALICE, now=now), state=state)
    summary = _import(write(f"email\n{BOB}\n{ALICE}\n"), now + timedelta(hours=1))
    assert _counts(summary) == (2, 1, 1, 0)
    assert summary.upgraded == 1
    after = people.find(ALICE)
    assert (after.state, after.cohort_id, after.rank) == ("waiting", PREORDER, before.arrival)
    assert _waiting() == [ALICE, BOB]
    assert tables.line_in_redis(redis, "preorder") == tables.line_in_sql(PREORDER)


@pytest.mark.parametrize("state", ["waiting", "invited", "registered", "lapsed"])
def test_who_is_on_the_way_already_is_a_duplicate_and_stays_as_they_are(
    app: Flask, write: Write, now: datetime, deliver: Deliver, state: str
) -> None:
    entry = people.in_every_state(now=now, deliver=deliver)[state]
    before = tables.everything()["entries"]
    summary = _import(write(f"email\n{entry.address}\n"), now)
    assert (_counts(summary), summary.upgraded) == ((1, 0, 1, 0), 0)
    assert tables.everything()["entries"] == before


@pytest.mark.parametrize("state", ["withdrawn", "removed"])
def test_who_left_isnt_brought_back_by_a_file(
    app: Flask, write: Write, now: datetime, deliver: Deliver, state: str
) -> None:
    entry = people.in_every_state(now=now, deliver=deliver)[state]
    summary = _import(write(f"email\n{entry.address}\n"), now)
    assert _counts(summary) == (1, 0, 0, 1)
    assert summary.rejects_file is not None
    assert "left the line" in Path(summary.rejects_file).read_text()
    assert people.find(entry.address).state == state


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_an_import_that_broke_off_goes_on_and_ends_in_the_same_line(
    app: Flask,
    redis: Redis,
    write: Write,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    nth: int,
) -> None:
    monkeypatch.setattr(staging, "BATCH", 10)
    addresses = [f"p{number:02}@example.org" for number in range(35)]
    path = write("\n".join(["email", *addresses]))
    monkeypatch.setattr(entering, "failpoint", _raises_at(nth))
    with pytest.raises(RuntimeError):
        _import(path, now)
    db.session.rollback()
    assert _waiting() == addresses[: 10 * (nth - 1)]
    stranger = people.wait_in_line(ALICE, now=now)
    summary = _import(path, now)
    assert _counts(summary) == (35, 35, 0, 0)
    assert _waiting() == addresses
    assert people.find(addresses[-1]).arrival < stranger.arrival
    assert tables.line_in_redis(redis, "preorder") == tables.line_in_sql(PREORDER)
    assert db.session.scalar(select(func.count()).select_from(Import)) == 1
    assert db.session.scalar(select(func.count()).select_from(ImportRow)) == 0


def test_an_import_that_broke_off_while_reading_reads_again_from_the_start(
    app: Flask, write: Write, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "BATCH", 2)
    path = write("\n".join(["email", *(f"p{number}@example.org" for number in range(5))]))

    def breaks(rows: int) -> None:
        if rows == 4:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        importing.import_people(path, cohort="preorder", actor="t", now=now, progress=breaks)
    db.session.rollback()
    assert _waiting() == []
    assert _counts(_import(path, now)) == (5, 5, 0, 0)


def test_an_import_that_broke_off_in_the_midst_of_people_who_were_known_counts_each_once(
    app: Flask, write: Write, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repeats of one file in other batches, people who wait, were pending, or left, on the way."""
    monkeypatch.setattr(staging, "BATCH", 3)
    people.wait_in_line(CAROL, now=now)
    people.join(BOB, now=now)
    people.make(people.wait_in_line("gone@example.org", now=now), state="withdrawn")
    rows = [ALICE, BOB, "gone@example.org", "not-an-address", CAROL, "d@example.org", ALICE]
    path = write("\n".join(["email", *rows, BOB, "gone@example.org", "e@example.org"]))
    rehearsed = _import(path, now, dry_run=True)
    monkeypatch.setattr(entering, "failpoint", _raises_at(2))
    with pytest.raises(RuntimeError):
        _import(path, now)
    monkeypatch.setattr(entering, "failpoint", _raises_at(0))
    summary = _import(path, now)
    assert (_counts(summary), summary.upgraded) == ((10, 3, 5, 2), 1)
    assert (_counts(rehearsed), rehearsed.upgraded) == (_counts(summary), summary.upgraded)
    assert _waiting() == [BOB, ALICE, "d@example.org", "e@example.org"]
    arrivals = [people.find(f"{name}@example.org").arrival for name in ("alice", "d", "e")]
    assert arrivals == list(range(arrivals[0], arrivals[0] + 3))


def _raises_at(nth: int) -> Callable[[str], None]:
    passed: list[str] = []

    def failpoint(name: str) -> None:
        passed.append(name)
        if len(passed) == nth:
            raise RuntimeError(name)

    return failpoint


@pytest.mark.parametrize("size", [2, 100])
def test_a_file_in_no_order_is_ordered_across_its_batches(
    app: Flask,
    redis: Redis,
    write: Write,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    monkeypatch.setattr(staging, "BATCH", size)
    days = [5, 3, 9, 1, 7, 3, 8]
    rows = [f"p{row}@example.org,2021-01-0{day}" for row, day in enumerate(days)]
    _import(write("\n".join(["email,joined_at", *rows])), now)
    assert _waiting() == [f"p{row}@example.org" for row in (3, 1, 5, 0, 4, 6, 2)]
    assert tables.line_in_redis(redis, "preorder") == tables.line_in_sql(PREORDER)


def test_a_file_imported_again_uses_up_no_arrivals(app: Flask, write: Write, now: datetime) -> None:
    path = write(f"email\n{ALICE}\n{BOB}\n")
    _import(path, now)
    _import(path, now)
    assert people.join(CAROL, now=now).arrival == people.find(BOB).arrival + 1


def test_a_reader_that_is_killed_is_no_end_of_the_file(
    app: Flask, write: Write, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever comes after it in the file would be left out, and nobody told."""
    monkeypatch.setattr(staging, "BATCH", 2)
    _as_read = reader._as_read

    def killed_at_the_fourth(row: people_file.Row) -> reader.Read:
        if row.number == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return _as_read(row)

    monkeypatch.setattr(reader, "_as_read", killed_at_the_fourth)
    before = tables.everything()
    with pytest.raises(FileRefused, match="broke off"):
        _import(write("\n".join(["email", *(f"p{n}@example.org" for n in range(5))])), now)
    db.session.rollback()
    assert tables.everything() == before


def test_a_reader_ends_with_who_stores(write: Write, tmp_path: Path) -> None:
    path = write("\n".join(["email", *(f"p{number}@example.org" for number in range(50_000))]))
    batches = reader.batches(path, 1_000)
    next(batches)
    assert isinstance(batches, Generator)
    batches.close()
    assert multiprocessing.active_children() == []


def test_who_joins_while_a_file_enters_is_a_duplicate(
    app: Flask, write: Write, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P2."""
    put_in_order = staging.put_in_order

    def then_join(run: Import) -> None:
        put_in_order(run)
        people.at_once(app, [lambda: people.wait_in_line(ALICE, now=now)])

    monkeypatch.setattr(staging, "put_in_order", then_join)
    summary = _import(write(f"email\n{ALICE}\n{BOB}\n"), now)
    assert _counts(summary) == (2, 1, 1, 0)
    assert people.find(ALICE).cohort_id == 1


def test_undo_takes_back_those_who_still_wait_and_nobody_else(
    app: Flask, redis: Redis, write: Write, now: datetime
) -> None:
    people.wait_in_line(CAROL, now=now)
    summary = _import(write(f"email\n{ALICE}\n{BOB}\ndora@example.org\n"), now)
    people.open_gate(1, now=now)
    waves.admit(1, cohort="preorder", actor="test", now=now)
    assert summary.import_id is not None
    assert importing.undo(summary.import_id, actor="test", now=now) == 2
    db.session.rollback()
    assert _waiting() == []
    assert people.find(ALICE).state == "invited"
    assert people.find(CAROL).state == "waiting"
    assert tables.line_in_redis(redis, "preorder") == []
    assert gate.verify() == {}
    with pytest.raises(ValueRefused):
        importing.undo(summary.import_id, actor="test", now=now)


@pytest.mark.parametrize("mailed", [False, True])
def test_undo_takes_back_who_was_moved_or_mailed_too(
    app: Flask, write: Write, now: datetime, deliver: Deliver, mailed: bool
) -> None:
    summary = _import(write(f"email\n{ALICE}\n"), now)
    if mailed:
        people.join(ALICE, now=now)
        deliver(now)
    assert summary.import_id is not None
    assert importing.undo(summary.import_id, actor="test", now=now) == 1


def test_undo_keeps_who_had_joined_before_the_file_came(
    app: Flask, write: Write, now: datetime
) -> None:
    """Who joined by themselves isn't deleted with a file that only confirmed them."""
    people.join(ALICE, now=now)
    summary = _import(write(f"email\n{ALICE}\n{BOB}\n"), now)
    assert summary.import_id is not None
    importing.undo(summary.import_id, actor="test", now=now)
    db.session.rollback()
    query = select(Entry.address_key).order_by(Entry.id)
    assert list(db.session.scalars(query)) == [ALICE]


BAD_FILES = {
    "no address column": ("name,country\nAda,FR\n", "no column holds addresses"),
    "empty": ("", "empty"),
    "blank": ("\n\n", "empty"),
    "header only": ("email,name\n", "no people"),
    "latin-1": ("email,name\nada@example.org,Bjørk\n".encode("latin-1"), "UTF-8"),
    "cp1252": ("email,name\nada@example.org,Ada – L\n".encode("cp1252"), "UTF-8"),
    "utf-16": ("email,name\nada@example.org,Ada\n".encode("utf-16"), "UTF-8"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_wrong_file_is_refused_with_a_sentence_and_nothing_is_imported(
    app: Flask, write: Write, now: datetime, kind: str
) -> None:
    content, sentence = BAD_FILES[kind]
    before = tables.everything()
    with pytest.raises(FileRefused, match=sentence):
        _import(write(content), now)
    db.session.rollback()
    assert tables.everything() == before


def test_a_file_that_turns_out_wrong_late_leaves_nobody(
    app: Flask, write: Write, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "BATCH", 1_000)
    before = tables.everything()
    lines = "".join(f"p{number}@example.org,Ada\n" for number in range(20_000))
    with pytest.raises(FileRefused):
        _import(write(b"email,name\n" + lines.encode()[:200_000] + b"x@example.org,\xe9\n"), now)
    db.session.rollback()
    assert tables.everything() == before


def test_a_folder_or_a_file_that_isnt_there_is_refused(
    app: Flask, tmp_path: Path, now: datetime
) -> None:
    with pytest.raises(FileRefused, match="folder"):
        _import(tmp_path, now)
    with pytest.raises(FileRefused, match="can't be read"):
        _import(tmp_path / "none.csv", now)


def test_an_unknown_cohort_is_refused_and_the_known_are_named(
    app: Flask, write: Write, now: datetime
) -> None:
    before = tables.everything()
    with pytest.raises(CohortUnknown, match="general, preorder"):
        importing.import_people(write(f"email\n{ALICE}\n"), cohort="vip", actor="t", now=now)
    db.session.rollback()
    assert tables.everything() == before


@pytest.mark.parametrize(
    "row,reason",
    [
        ("not-an-address,Ada,2021-01-01", "@"),
        (f"{ALICE},Ada,yesterday", "joined_at"),
        (f"{ALICE},Ada,2021-01-01,more", "4 fields"),
        (f"{ALICE},{'x' * 1_001},2021-01-01", "longer than 1000"),
        (",Ada,2021-01-01", "@"),
    ],
)
def test_a_wrong_row_is_rejected_with_its_reason_and_the_others_come_in(
    app: Flask, write: Write, now: datetime, row: str, reason: str
) -> None:
    summary = _import(write(f"email,name,joined_at\n{BOB},Bob,2021-01-01\n{row}\n"), now)
    assert _counts(summary) == (2, 1, 0, 1)
    assert summary.rejects_file is not None
    with Path(summary.rejects_file).open(encoding="utf-8", newline="") as file:
        (reject,) = csv.DictReader(file)
    assert reject["row"] == "3"
    assert reason in reject["reason"]


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_of_the_rejects_file_is_never_a_formula(
    app: Flask, write: Write, now: datetime, sign: str
) -> None:
    cell = f"{sign}cmd|' /C calc'!A0"
    path = write("")
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["email", "name"], ["nobody", cell]])
    summary = _import(path, now)
    assert summary.rejects_file is not None
    with Path(summary.rejects_file).open(encoding="utf-8", newline="") as file:
        (reject,) = csv.DictReader(file)
    assert not reject["name"].startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize(
    "content",
    [
        f"\ufeffEMAIL,Name\r\n{ALICE},Ada\r\n".encode(),
        f"email address,name\n{ALICE},Ada\n\n\n".encode(),
        f'"E-Mail","Name"\n"{ALICE}","Ada"'.encode(),
        f" Mail ,name\n{ALICE},Ada\n,,\n".encode(),
        f'name,email\n"Ada\nL., the 1st",{ALICE}\n'.encode(),
    ],
    ids=["bom and crlf", "blank lines", "quoted", "spaces and an empty row", "a break in a cell"],
)
def test_a_file_is_read_as_stores_and_mailing_tools_write_it(
    app: Flask, write: Write, now: datetime, content: bytes
) -> None:
    assert _counts(_import(write(content), now)) == (1, 1, 0, 0)
    assert people.find(ALICE).name.startswith("Ada")


def test_a_nul_in_a_cell_is_stored_as_a_sign_that_sql_can_hold(
    app: Flask, write: Write, now: datetime
) -> None:
    summary = _import(write(f"email,name,\x00note\n{ALICE},A\x00da,\x00\n"), now)
    assert _counts(summary) == (1, 1, 0, 0)


def test_the_command_prints_counts_that_programs_can_read(
    runner: Operator, write: Write, app: Flask
) -> None:
    path = str(write(f"email\n{ALICE}\nnobody\n"))
    rehearsed = runner.json("import", path, "--cohort", "preorder", "--dry-run")
    assert (rehearsed["dry_run"], rehearsed["accepted"]) == (True, 1)
    done = runner.json("import", path, "--cohort", "preorder")
    expected = {"rows": 2, "accepted": 1, "duplicate": 0, "rejected": 1, "upgraded": 0}
    assert {name: done[name] for name in expected} == expected
    again = runner.run("import", path, "--cohort", "preorder")
    assert again.exit_code == 0
    assert "2 rows, 0 accepted, 1 duplicate, 1 rejected" in again.stdout
    undone = runner.json("import-undo", str(done["import_id"]), "--reason", "wrong file")
    assert undone == {"taken_back": 1}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_the_command_refuses_a_wrong_file_with_status_1_and_a_sentence(
    runner: Operator, write: Write, kind: str
) -> None:
    result = runner.run("import", str(write(BAD_FILES[kind][0])), "--cohort", "preorder")
    assert result.exit_code == 1
    assert BAD_FILES[kind][1] in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_the_command_refuses_what_isnt_there_with_a_sentence(
    runner: Operator, write: Write, tmp_path: Path
) -> None:
    path = str(write(f"email\n{ALICE}\n"))
    for words, sentence in (
        (["import", str(tmp_path), "--cohort", "preorder"], "folder"),
        (["import", str(tmp_path / "none"), "--cohort", "preorder"], "can't be read"),
        (["import", path, "--cohort", "vip"], "no cohort"),
        (["import-undo", "77"], "no finished import"),
    ):
        result = runner.run(*words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert sentence in result.stderr
    assert runner.run("import", path).exit_code == 2
    assert projection.check(PREORDER) == []


def test_a_quotation_mark_that_isnt_closed_swallows_nobody_silently(
    app: Flask, tmp_path: Path, now: datetime
) -> None:
    path = tmp_path / "open.csv"
    path.write_text('email,name\n"unterminated@example.org,foo\nbob@example.org,c\n')
    with pytest.raises(FileRefused, match="isn't closed"):
        importing.import_people(path, cohort="general", actor="test", now=now)
