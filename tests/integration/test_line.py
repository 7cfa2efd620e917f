"""The line in Redis: always what SQL says, or silent (P6, P13)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import func, select, update

from tests import people, tables
from tests.conftest import Deliver
from waitlist import extensions, links, members, notes, projection, standing
from waitlist import line as lines
from waitlist.admission import rounds, waves
from waitlist.errors import LineUnavailable
from waitlist.extensions import db
from waitlist.line import Change
from waitlist.models import Cohort, Entry, Gate, LineChange, PlaceChange
from waitlist.signup import leaving
from waitlist.signup import people as moving
from waitlist.tokens import Purpose

GENERAL = 1
DAY = timedelta(days=1)


def _notes() -> int:
    found = db.session.scalar(select(func.count()).select_from(LineChange)) or 0
    db.session.rollback()
    return found


def _mixed(now: datetime, deliver: Deliver) -> list[int]:
    """A line after a bit of everything; the ids of who waits in `general`."""
    people.add_cohort("beta", now=now, opened=False)
    ids = people.crowd(8, now=now)
    for address in ("p1@example.org", "p4@example.org", "p5@example.org"):
        people.leave(people.find(address), now=now, deliver=deliver)
    undo = links.entry_token(Purpose.UNDO, people.find("p4@example.org"))
    leaving.come_back(undo, now=now)
    undo = links.entry_token(Purpose.UNDO, people.find("p5@example.org"))
    leaving.come_back(undo, now=now + 8 * DAY)
    people.invite(people.find("p0@example.org"), now=now)
    moving.move(
        ["p2@example.org"], source="general", target="beta", actor="test", reason="", now=now
    )
    people.make(people.find("p3@example.org"), suppressed_at=now)
    late = people.join("late@example.org", now=now)
    deliver(now)
    people.confirm(late, now=now + 3 * DAY)
    return [ids[4], ids[6], ids[7], ids[5], late.id]


def test_after_a_bit_of_everything_the_line_equals_sql(
    app: Flask, redis: Redis, now: datetime, deliver: Deliver
) -> None:
    """P13."""
    waiting = _mixed(now, deliver)
    assert [entry_id for entry_id, _ in tables.line_in_sql()] == waiting
    assert tables.line_in_redis(redis) == tables.line_in_sql()
    assert tables.line_in_redis(redis, "beta") == tables.line_in_sql(2)
    assert projection.check(GENERAL) == []
    assert _notes() == 0


def test_a_line_rebuilt_equals_the_line_that_grew(
    app: Flask, redis: Redis, now: datetime, deliver: Deliver
) -> None:
    """P13."""
    _mixed(now, deliver)
    grown = tables.line_in_redis(redis)
    assert projection.rebuild(GENERAL) == len(grown)
    assert tables.line_in_redis(redis) == grown


def test_every_rank_follows_from_the_records_alone(
    app: Flask, now: datetime, deliver: Deliver
) -> None:
    """P6: rank = the last arrival of the entry or of its changes, less the places earned."""
    _mixed(now, deliver)
    entries = db.session.scalars(select(Entry)).all()
    for entry in entries:
        query = select(PlaceChange).where(PlaceChange.entry_id == entry.id)
        changes = db.session.scalars(query.order_by(PlaceChange.id)).all()
        arrivals = [change.arrival for change in changes if change.arrival is not None]
        earned = sum(change.places for change in changes)
        assert entry.rank == [entry.arrival, *arrivals][-1] - earned, entry.address
        assert all(change.reason for change in changes)


def test_people_who_confirm_after_a_flush_are_noted_and_not_put_in_a_line_that_lost_others(
    app: Flask, redis: Redis, now: datetime
) -> None:
    """P13."""
    people.crowd(3, now=now)
    redis.flushall()
    people.wait_in_line(people.ALICE, now=now)
    assert tables.line_in_redis(redis) == []
    assert _notes() == 1


def test_after_a_flush_joins_and_a_tick_everyone_is_back_in_order(
    app: Flask, redis: Redis, now: datetime
) -> None:
    """P13."""
    people.crowd(4, now=now)
    people.open_gate(2, 3_600_000, now=now)
    redis.flushall()
    people.crowd(3, now=now, name="late")
    first = waves.tick(now=now)
    second = waves.tick(now=now + timedelta(seconds=1))
    assert (first.admitted, second.admitted) == (0, 2)  # the first tick starts the pace
    assert people.find("p0@example.org").state == "invited"
    assert people.find("p1@example.org").state == "invited"
    assert tables.line_in_redis(redis) == tables.line_in_sql()
    assert len(tables.line_in_sql()) == 5


@pytest.mark.parametrize("planted", [False, True], ids=["empty", "one planted"])
def test_nobody_is_drawn_from_a_line_that_was_lost(
    app: Flask, redis: Redis, now: datetime, planted: bool
) -> None:
    """P13: not even after one more ZADD."""
    ids = people.crowd(3, now=now)
    run_id = projection.require_valid()
    redis.flushall()
    if planted:
        redis.zadd("{waitlist:general}:line", {members.member(ids[2]): 3})
    with pytest.raises(LineUnavailable):
        projection.of_cohort(GENERAL).heads(1, run_id=run_id)
    with pytest.raises(LineUnavailable):
        projection.of_cohort(GENERAL).place(ids[2])
    with pytest.raises(LineUnavailable):
        projection.check(GENERAL)


def test_nobody_is_drawn_from_another_server(app: Flask, now: datetime) -> None:
    """P13: a replica that took over may lack the last writes, whatever its epoch says."""
    people.crowd(1, now=now)
    with pytest.raises(LineUnavailable):
        projection.of_cohort(GENERAL).heads(1, run_id="0" * 40)


def test_a_line_lost_between_check_and_draw_admits_nobody(
    app: Flask, redis: Redis, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P13."""
    people.crowd(3, now=now)
    people.open_gate(3, now=now)
    require_valid = projection.require_valid

    def then_flush() -> str:
        run_id = require_valid()
        redis.flushall()
        return run_id

    monkeypatch.setattr(projection, "require_valid", then_flush)
    with pytest.raises(LineUnavailable):
        waves.admit(3, cohort=None, actor="test", now=now)
    db.session.rollback()
    assert people.find("p0@example.org").state == "waiting"


def test_another_run_of_redis_is_rebuilt_even_if_its_epoch_agrees(
    app: Flask, redis: Redis, now: datetime
) -> None:
    """P13: a Redis that came back from its disk may have lost its last second."""
    ids = people.crowd(3, now=now)
    redis.zadd("{waitlist:general}:line", {members.member(999): 0})
    redis.zrem("{waitlist:general}:line", members.member(ids[0]))
    db.session.execute(update(Gate).values(line_run_id="0" * 40))
    db.session.commit()
    run_id = projection.require_valid()
    assert tables.line_in_redis(redis) == tables.line_in_sql()
    assert db.session.scalar(select(Gate.line_run_id)) == run_id


@pytest.mark.parametrize("moment", ["rebuild.filled", "rebuild.before-swap"])
def test_what_happens_during_a_rebuild_is_not_lost(
    app: Flask,
    redis: Redis,
    now: datetime,
    deliver: Deliver,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    """P13: somebody comes and somebody goes while the line is filled."""
    people.crowd(4, now=now)
    leaver = people.find("p2@example.org")
    leaving.ask_to_act(links.entry_token(Purpose.PLACE, leaver), now=now)
    deliver(now)
    token = people.act_token(leaver)

    def change() -> None:
        people.wait_in_line(people.ALICE, now=now)
        leaving.leave(token, now=now)

    _at(moment, monkeypatch, lambda: people.at_once(app, [change]))
    assert projection.rebuild(GENERAL) == 4
    assert tables.line_in_redis(redis) == tables.line_in_sql()
    assert _notes() == 0


@pytest.mark.parametrize("moment", ["rebuild.filled", "rebuild.before-swap"])
def test_a_redis_that_is_lost_during_a_rebuild_ends_in_no_half_line(
    app: Flask, redis: Redis, now: datetime, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """P13."""
    people.crowd(4, now=now)
    _at(moment, monkeypatch, redis.flushall)
    with pytest.raises(LineUnavailable):
        projection.rebuild(GENERAL)
    assert not projection.of_cohort(GENERAL).is_valid()
    monkeypatch.undo()
    projection.require_valid()
    assert tables.line_in_redis(redis) == tables.line_in_sql()


@pytest.mark.parametrize("moment", ["rebuild.filled", "rebuild.before-swap"])
def test_a_rebuild_that_was_stopped_leaves_the_line_of_a_later_one_alone(
    app: Flask, redis: Redis, now: datetime, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """P13: else admission waits for a third one."""
    people.crowd(4, now=now)
    _at(moment, monkeypatch, lambda: projection.rebuild(GENERAL))
    with pytest.raises(LineUnavailable):
        projection.rebuild(GENERAL)
    assert projection.of_cohort(GENERAL).is_valid()
    assert tables.line_in_redis(redis) == tables.line_in_sql()


def test_a_line_that_was_spelled_otherwise_is_rebuilt(
    app: Flask, redis: Redis, now: datetime
) -> None:
    """P13: as an older release left it, whose epoch is still the one that SQL names."""
    ids = people.crowd(3, now=now)
    epoch = projection.of_cohort(GENERAL).epoch
    redis.delete("{waitlist:general}:line")
    redis.zadd("{waitlist:general}:line", {f"{entry_id:010d}": 1 for entry_id in ids})
    redis.set("{waitlist:general}:epoch", epoch)
    with pytest.raises(LineUnavailable):
        projection.of_cohort(GENERAL).place(ids[0])
    projection.require_valid()
    assert tables.line_in_redis(redis) == tables.line_in_sql()


def test_a_rebuild_frees_the_line_it_replaces_before_it_fills_another(
    app: Flask, redis: Redis, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the server would need room for everybody twice."""
    people.crowd(2, now=now)
    seen: list[object] = []
    _at("rebuild.filled", monkeypatch, lambda: seen.append(redis.exists("{waitlist:general}:line")))
    projection.rebuild(GENERAL)
    assert seen == [0]
    assert tables.line_in_redis(redis) == tables.line_in_sql()


def test_a_line_that_was_rebuilt_meanwhile_isnt_freed(
    app: Flask, redis: Redis, now: datetime
) -> None:
    """P13: who gives up an epoch late may find the line of a newer one."""
    people.crowd(2, now=now)
    given_up = projection.of_cohort(GENERAL)
    projection.rebuild(GENERAL)
    given_up.drop()
    assert projection.of_cohort(GENERAL).is_valid()
    assert tables.line_in_redis(redis) == tables.line_in_sql()


def test_a_line_of_many_pages_is_rebuilt_and_checked_whole(
    app: Flask, redis: Redis, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P13: everybody on a border between two pages, too."""
    for module in (lines, standing):
        monkeypatch.setattr(module, "PAGE", 2)
    ids = people.crowd(7, now=now)
    people.make(people.find("p3@example.org"), rank=2)
    assert projection.rebuild(GENERAL) == 7
    assert tables.line_in_redis(redis) == tables.line_in_sql()
    redis.zrem("{waitlist:general}:line", members.member(ids[2]))
    redis.zadd("{waitlist:general}:line", {members.member(999): 6})
    assert [one.entry_id for one in projection.check(GENERAL)] == [ids[2], 999]


def test_what_guards_against_ghosts_passes_by_itself(
    app: Flask, redis: Redis, now: datetime
) -> None:
    """Else the versions of a large import would stay until enough others come."""
    people.crowd(1, now=now)
    for name in ("versions", "applied"):
        assert 60 < redis.ttl(f"{{waitlist:general}}:{name}") <= 120


def test_two_rebuilds_at_once_end_in_one_whole_line(
    app: Flask, redis: Redis, now: datetime
) -> None:
    """P13: the later wins, and what the earlier filled is never taken for it."""
    people.crowd(6, now=now)

    def rebuild() -> None:
        with suppress(LineUnavailable):
            projection.rebuild(GENERAL)

    people.at_once(app, [rebuild] * 3)
    projection.require_valid()
    assert tables.line_in_redis(redis) == tables.line_in_sql()


def test_a_late_write_brings_back_no_ghost(app: Flask, redis: Redis, now: datetime) -> None:
    """P13."""
    people.crowd(2, now=now)
    line, read_at = projection.of_cohort(GENERAL), lines.clock(extensions.redis())
    line.apply([Change(77, version=1_005, rank=None)], read_at=read_at)
    line.apply([Change(77, version=1_004, rank=3)], read_at=read_at)
    assert 77 not in dict(tables.line_in_redis(redis))
    line.apply([Change(77, version=1_006, rank=3)], read_at=read_at)
    assert dict(tables.line_in_redis(redis))[77] == 3


def test_a_write_that_was_read_long_ago_is_refused(app: Flask, redis: Redis) -> None:
    """P13: versions are kept for two minutes only, so older news must not come at all."""
    line, read_at = projection.of_cohort(GENERAL), lines.clock(extensions.redis())
    with pytest.raises(LineUnavailable):
        line.apply([Change(77, version=1, rank=3)], read_at=read_at - 62)
    assert tables.line_in_redis(redis) == []


def test_people_of_one_rank_stand_in_the_order_of_their_ids(app: Flask, redis: Redis) -> None:
    line, read_at = projection.of_cohort(GENERAL), lines.clock(extensions.redis())
    line.apply([Change(i, version=i, rank=5) for i in (1_000, 99, 100)], read_at=read_at)
    assert [entry_id for entry_id, _ in tables.line_in_redis(redis)] == [99, 100, 1_000]


def test_a_planted_difference_is_found_and_a_rebuild_mends_it(
    app: Flask, redis: Redis, now: datetime
) -> None:
    """P13."""
    ids = people.crowd(3, now=now)
    redis.zincrby("{waitlist:general}:line", 40, members.member(ids[0]))
    redis.zrem("{waitlist:general}:line", members.member(ids[1]))
    redis.zadd("{waitlist:general}:line", {members.member(999): 1_000})
    found = projection.check(GENERAL)
    assert {one.entry_id for one in found} == {ids[0], ids[1], 999}
    assert {one.in_redis for one in found} >= {1_000}
    assert {one.in_sql for one in found} >= {1, 2}
    projection.rebuild(GENERAL)
    assert projection.check(GENERAL) == []


def _at(moment: str, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something at a failpoint of the projection, once."""
    done: list[str] = []

    def failpoint(name: str) -> None:
        if name == moment and not done:
            done.append(name)
            act()

    monkeypatch.setattr(projection, "failpoint", failpoint)


def test_a_line_of_another_encoding_is_rebuilt(app: Flask, redis: Redis, now: datetime) -> None:
    entry = people.wait_in_line("alice@example.org", now=now)
    epoch = db.session.scalar(select(Cohort.line_epoch).where(Cohort.id == entry.cohort_id))
    redis.delete("{waitlist:general}:line")
    redis.zadd("{waitlist:general}:line", {f"{entry.id:010d}": 1})
    redis.set("{waitlist:general}:epoch", epoch or "")
    projection.require_valid()
    assert tables.line_in_redis(redis) == tables.line_in_sql()


def test_who_came_back_isnt_taken_out_by_an_older_note(app: Flask, now: datetime) -> None:
    """P13: a wave takes out whom it took without reading them again."""
    entry, read_at = people.wait_in_line(people.ALICE, now=now), notes.clock()
    older = notes.leave(GENERAL, [entry.id])
    projection.note_people([entry.id])
    db.session.commit()
    projection.catch_up(GENERAL)
    line = projection.of_cohort(GENERAL)
    assert set(notes.take_out(line, older, read_at=read_at)) == set(older.values())
    assert line.place(entry.id).position == 1
    newer = notes.leave(GENERAL, [entry.id])
    db.session.rollback()
    notes.take_out(line, newer, read_at=read_at)
    assert line.place(entry.id).position is None


def test_what_a_wave_noted_is_worked_off_when_it_ends(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P13: though each round's notes are forgotten by the next one."""
    monkeypatch.setattr(rounds, "ROUND", 2)
    for number in range(7):
        people.wait_in_line(f"p{number}@example.org", now=now)
    people.admit(5, now=now)
    assert db.session.scalars(select(LineChange)).all() == []
    assert projection.of_cohort(GENERAL).length() == 2
