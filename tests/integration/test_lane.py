"""The express lane: what it answers is what Flask answers, and many are answered at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import time_machine
from flask import Flask
from redis import Redis
from sqlalchemy import event, func, select, text

from tests import people, servers, tables
from tests.conftest import POSTGRES, MakeApp
from tests.people import ALICE, BOB
from tests.visitors import in_a_loop
from waitlist import extensions, limits, links
from waitlist.extensions import db
from waitlist.models import Entry, Message
from waitlist.tokens import Purpose
from waitlist.web import lane as lanes
from waitlist.web import urgent
from waitlist.web.lane import Lane

OURS = "https://join.example.com"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Accept": "application/json"}
FRENCH = {"Accept-Language": "fr-CA, en;q=0.5"}
Ask = Callable[..., list[httpx.Response]]


@pytest.fixture
def lane(app: Flask) -> Lane:
    return Lane(app)


def ask(lane: Lane, *requests: tuple[Any, ...], peer: str = "203.0.113.7") -> list[httpx.Response]:
    """The answers to requests (method, path, headers, body) that are sent at once."""

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(lane, client=(peer, 1234))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url=OURS) as client:
            return await asyncio.gather(
                *(
                    client.request(
                        method, path, headers=dict(*headers[:1]), content="".join(headers[1:])
                    )
                    for method, path, *headers in requests
                )
            )

    db.session.rollback()
    return in_a_loop(send())


def joins(*addresses: str) -> list[tuple[Any, ...]]:
    return [("POST", "/join", FORM, f"address={address}&lang=en") for address in addresses]


@contextmanager
def commits(app: Flask) -> Iterator[list[int]]:
    """As many items as there were commits meanwhile."""
    seen: list[int] = []

    def note(_connection: object) -> None:
        seen.append(1)

    event.listen(db.engine, "commit", note)
    yield seen
    event.remove(db.engine, "commit", note)


def test_beside_who_finishes_fewer_join_in_one_transaction(
    app: Flask, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P24: who is next to finish waits for a short one."""
    monkeypatch.setattr(lanes, "JOINS_BESIDE", 5)
    addresses = [f"p{number}@example.org" for number in range(20)]
    with commits(app) as seen:
        _, *answers = ask(lane, ("GET", "/invite/nobodys"), *joins(*addresses))
    assert {answer.status_code for answer in answers} == {202}
    assert len(seen) >= 20 / 5


def test_who_joins_waits_until_somebody_has_finished(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P24."""
    seen: list[str] = []
    by_flask = lane._flask

    def slowly(environ: Any) -> Any:
        time.sleep(urgent.GIVE_WAY / 4)
        seen.append(environ["PATH_INFO"])
        return by_flask(environ)

    monkeypatch.setattr(lane, "_flask", slowly)
    monkeypatch.setattr(lane, "_done", _noting(lane._done, seen))
    ask(lane, ("GET", "/invite/nobodys"), *joins(ALICE))
    assert seen == ["/invite/nobodys", "join"]


def _noting(done: Any, seen: list[str]) -> Any:
    async def note(*args: Any) -> Any:
        seen.append("join")
        return await done(*args)

    return note


def test_people_who_join_at_once_share_transactions(app: Flask, lane: Lane) -> None:
    addresses = [f"p{number}@example.org" for number in range(60)]
    with commits(app) as seen:
        answers = ask(lane, *joins(*addresses))
    assert {answer.status_code for answer in answers} == {202}
    assert len(seen) < 10
    stored = db.session.execute(select(Entry.address, Entry.state, Entry.nonce)).all()
    assert {address for address, *_ in stored} == set(addresses)
    assert len({nonce for *_, nonce in stored}) == 60
    owed = db.session.execute(select(Message.entry_id, Message.kind, Message.nonce)).all()
    assert len({entry_id for entry_id, *_ in owed}) == 60
    assert len({nonce for *_, nonce in owed}) == 60
    assert len(set(db.session.scalars(select(Entry.arrival)))) == 60


def test_one_address_many_times_at_once_is_one_entry_and_one_mail(lane: Lane) -> None:
    """P2."""
    spellings = [ALICE.upper(), ALICE, f" {ALICE}", "Alice@Example.ORG"]
    answers = ask(lane, *joins(*spellings, *spellings))
    assert {answer.status_code for answer in answers} == {202}
    assert db.session.scalar(select(func.count()).select_from(Entry)) == 1
    assert db.session.scalar(select(func.count()).select_from(Message)) == 1


def test_a_wrong_address_is_told_and_spoils_nobody_elses_joining(lane: Lane) -> None:
    answers = ask(lane, *joins(ALICE, "nonsense", BOB))
    assert [answer.status_code for answer in answers] == [202, 422, 202]
    assert {entry.address for entry in db.session.scalars(select(Entry))} == {ALICE, BOB}


def test_a_row_that_sql_refuses_spoils_nobody_elses_joining(lane: Lane) -> None:
    _refuse_in_sql("mallory@example.org")
    answers = ask(lane, *joins("zoe@example.org", ALICE, "mallory@example.org", BOB))
    assert [answer.status_code for answer in answers] == [202, 202, 500, 202]
    stored = {entry.address for entry in db.session.scalars(select(Entry))}
    assert stored == {"zoe@example.org", ALICE, BOB}
    assert db.session.scalar(select(func.count()).select_from(Message)) == 3


def _refuse_in_sql(address: str) -> None:
    if POSTGRES:
        refusing = f"ALTER TABLE entries ADD CONSTRAINT c CHECK (address_key <> '{address}')"
    else:
        refusing = (
            f"CREATE TRIGGER t BEFORE INSERT ON entries WHEN NEW.address_key = '{address}'"
            " BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    db.session.execute(text(refusing))
    db.session.commit()


def test_a_transaction_that_fails_is_503_for_each_and_leaves_nothing(
    lane: Lane, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P15."""
    monkeypatch.setattr(extensions, "LOCK_WAIT", 0.2)
    before = tables.everything()
    with servers.locked(database_url):
        answers = ask(lane, *joins(*(f"p{number}@example.org" for number in range(20))))
    assert {answer.status_code for answer in answers} == {503}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
    assert tables.everything() == before
    assert {answer.status_code for answer in ask(lane, *joins(ALICE, BOB))} == {202}


def test_what_has_no_room_is_shed_and_the_rest_is_answered(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P24."""
    monkeypatch.setattr(lanes, "MOST_WAITING", 5)
    answers = ask(lane, *joins(*(f"p{number}@example.org" for number in range(50))))
    shed = [answer for answer in answers if answer.status_code == 503]
    assert shed
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in shed)
    stored = db.session.scalar(select(func.count()).select_from(Entry))
    assert stored == 50 - len(shed)


def test_pages_that_are_in_demand_leave_threads_to_the_last_step(
    make_app: MakeApp, app: Flask
) -> None:
    """P24."""
    lane = Lane(make_app(web_threads=4))
    lane._hot_in_flask = 3
    busy, alive = ask(lane, ("GET", "/?lang=fr"), ("GET", "/healthz"))
    assert busy.status_code == 503
    assert alive.status_code == 200


def test_too_many_of_one_network_are_asked_for_a_proof(make_app: MakeApp, app: Flask) -> None:
    lane = Lane(make_app(joins_a_minute=3))
    four = joins(*(f"p{number}@example.org" for number in range(4)))
    with time_machine.travel(datetime.fromisoformat("2027-03-01T12:00:59Z"), tick=False) as clock:
        answers = ask(lane, *four, peer="2001:db8:1:2::1")
        assert [answer.status_code for answer in answers] == [202, 202, 202, 403]
        assert ask(lane, *four[:1], peer="2001:db8:1:2:ffff::9")[0].status_code == 403
        assert ask(lane, *four[:1], peer="2001:db8:1:3::1")[0].status_code == 202
        clock.shift(1)
        assert ask(lane, *four[:1], peer="2001:db8:1:2::1")[0].status_code == 202


def test_without_redis_each_process_counts_for_itself(make_app: MakeApp, app: Flask) -> None:
    """P14."""
    lane = Lane(make_app(joins_a_minute=3, redis_url="redis://127.0.0.1:1/0"))
    with time_machine.travel(datetime(2027, 3, 1, 12, 7, tzinfo=UTC), tick=False):
        answers = ask(lane, *joins(*(f"p{number}@example.org" for number in range(4))))
    assert [answer.status_code for answer in answers] == [202, 202, 202, 403]


def test_the_counts_of_a_minute_are_forgotten(redis: Redis, app: Flask, now: datetime) -> None:
    assert limits.knock("joins", ["a", None, "a", "b"], now=now) == [1, 0, 2, 1]
    [key] = redis.keys("waitlist:joins:*")
    assert 0 < int(redis.ttl(key)) <= limits.KEPT


def test_a_machine_that_fills_in_the_hidden_field_hears_the_same_and_is_nobody(
    lane: Lane,
) -> None:
    body = f"website=x&address={ALICE}"
    human, machine = ask(lane, *joins(BOB), ("POST", "/join", FORM, body))
    assert (machine.status_code, machine.text) == (human.status_code, human.text)
    assert {entry.address for entry in db.session.scalars(select(Entry))} == {BOB}


def test_what_is_public_is_kept_for_a_second(
    lane: Lane, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waiting() -> int:
        [answer] = ask(lane, ("GET", "/line"))
        return int(answer.json()["waiting"])

    assert waiting() == 0
    people.wait_in_line(ALICE, now=now)
    assert waiting() == 0
    monkeypatch.setattr(time, "monotonic", lambda: 1e12)
    waiting()  # of those who find it too old, one fetches another
    assert waiting() == 1


def test_what_is_kept_is_what_was_asked_for(lane: Lane) -> None:
    ask(lane, ("GET", "/?lang=fr", {}), ("HEAD", "/", {}))
    english, french = ask(lane, ("GET", "/", {}), ("GET", "/", FRENCH))
    assert '<html lang="en">' in english.text
    assert '<html lang="fr">' in french.text


def test_people_who_follow_another_sites_link_get_what_is_kept(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(lane, ("GET", "/", {}))
    monkeypatch.setattr(lane, "_flask", None)
    [answer] = ask(lane, ("GET", "/", {"Sec-Fetch-Site": "cross-site"}))
    assert answer.status_code == 200


def test_who_hangs_up_in_the_midst_of_an_address_doesnt_join_with_half_of_it(lane: Lane) -> None:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/join",
        "query_string": b"",
        "headers": [(b"content-type", FORM["Content-Type"].encode())],
        "client": ("203.0.113.7", 1),
    }
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"address=alice@example.co", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[object] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    in_a_loop(lane(scope, receive, send))
    assert not sent
    assert db.session.scalar(select(func.count()).select_from(Entry)) == 0


def test_a_frozen_redis_is_waited_for_once_and_not_by_each(
    lane: Lane, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P14: fifty who join one after the other."""
    people.join(BOB, now=datetime.now(UTC))
    with servers.stopped(redis):
        begun = time.monotonic()
        for number in range(50):
            [answer] = ask(lane, *joins(f"p{number}@example.org"))
            assert answer.status_code == 202
        assert time.monotonic() - begun < 20  # each would wait for a second, twice


@pytest.fixture
def place(app: Flask, now: datetime) -> str:
    """The address of Alice's place."""
    entry = people.wait_in_line(ALICE, now=now)
    return f"/place/{links.entry_token(Purpose.PLACE, entry)}"


@pytest.mark.parametrize(
    "method,path,headers,body",
    [
        ("GET", "/", {}, ""),
        ("GET", "/", FRENCH, ""),
        ("GET", "/?lang=fr", {}, ""),
        ("HEAD", "/", {}, ""),
        ("GET", "/line", {}, ""),
        ("GET", "/nowhere", FRENCH, ""),
        ("GET", "/static/site.css", {}, ""),
        ("GET", "/join", {}, ""),
        ("POST", "/join", FORM, "address=a@example.org"),
        ("POST", "/join", FORM | FRENCH, "address=a@example.org"),
        ("POST", "/join", FORM | FRENCH, "address=a@example.org&lang=en"),
        ("POST", "/join", FORM | JSON, "address=a@example.org"),
        ("POST", "/join", {"Content-Type": "application/json"}, '{"address": "a@example.org"}'),
        ("POST", "/join", {"Content-Type": "application/json"}, "["),
        ("POST", "/join", {"Content-Type": "application/json"}, "[1]"),
        ("POST", "/join", FORM, "address=nonsense"),
        ("POST", "/join", FORM | JSON, "address=%ff%fe&lang=fr"),
        ("POST", "/join", FORM, "address=b@example.org&address=nonsense"),
        ("POST", "/join", FORM | {"Sec-Fetch-Site": "cross-site"}, "address=a@example.org"),
        ("POST", "/join", FORM | {"Origin": "https://evil.example"}, "address=a@example.org"),
        ("POST", "/join", FORM | {"Origin": OURS}, "address=a@example.org"),
        ("POST", "/join", FORM | {"Origin": "null"}, "address=a@example.org"),
        ("GET", "PLACE", JSON, ""),
        ("GET", "PLACE", {}, ""),
        ("GET", "PLACE", JSON | FRENCH, ""),
        ("GET", "PLACEx", JSON, ""),
        ("GET", "/place/", JSON, ""),
        ("GET", "/place/a/b", JSON, ""),
        ("DELETE", "/line", JSON, ""),
    ],
)
def test_the_lane_answers_what_flask_answers(
    app: Flask, lane: Lane, place: str, method: str, path: str, headers: dict[str, str], body: str
) -> None:
    where = path.replace("PLACE", place)
    request: dict[str, Any] = {"method": method, "headers": headers, "data": body or None}
    with app.test_client(use_cookies=False).open(where, base_url=OURS, **request) as by_flask:
        expected = {name.lower(): value for name, value in by_flask.headers.items()}
        for _ in range(2):  # the second time from what it kept
            [by_lane] = ask(lane, (method, where, headers, body))
            assert by_lane.status_code == by_flask.status_code
            assert by_lane.content == by_flask.get_data()
            assert dict(by_lane.headers) == expected


def test_a_place_that_didnt_change_is_304(lane: Lane, place: str, now: datetime) -> None:
    [first] = ask(lane, ("GET", place, JSON))
    tag = first.headers["ETag"]
    [again] = ask(lane, ("GET", place, JSON | {"If-None-Match": tag}))
    assert (again.status_code, again.content) == (304, b"")
    people.invite(people.find(ALICE), now=now)
    [other] = ask(lane, ("GET", place, JSON | {"If-None-Match": tag}))
    assert other.status_code == 200
    assert other.json()["state"] == "invited"


def test_everybody_who_asks_at_once_gets_their_own_place(
    app: Flask, lane: Lane, now: datetime
) -> None:
    entries = [people.wait_in_line(f"p{number}@example.org", now=now) for number in range(20)]
    tokens = [links.entry_token(Purpose.PLACE, entry) for entry in entries]
    answers = ask(lane, *(("GET", f"/place/{token}", JSON) for token in tokens))
    assert [answer.json()["position"] for answer in answers] == list(range(1, 21))


def test_the_client_is_whom_the_nearest_trusted_proxy_names(make_app: MakeApp, app: Flask) -> None:
    lane = Lane(make_app(joins_a_minute=1, proxy_hops=1))

    def status(forwarded: str) -> int:
        [(method, path, headers, body)] = joins(f"p{status.count}@example.org")  # type: ignore[attr-defined]
        status.count += 1  # type: ignore[attr-defined]
        asked = (method, path, headers | {"X-Forwarded-For": forwarded}, body)
        return ask(lane, asked)[0].status_code

    status.count = 0  # type: ignore[attr-defined]
    with time_machine.travel(datetime(2027, 3, 1, 12, 9, tzinfo=UTC), tick=False):
        assert status("198.51.100.1") == 202
        assert status("forged, 198.51.100.1") == 403
        assert status("198.51.100.1, 198.51.100.2") == 202
