"""Crowds: those who come in with a file are on the line once, and nobody is a ghost (P13)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import func, select

from tests import people, tables
from waitlist import crowds, extensions, projection
from waitlist import line as lines
from waitlist.errors import LineUnavailable
from waitlist.extensions import db
from waitlist.line import Change
from waitlist.models import Crowd
from waitlist.signup import entering, importing

GENERAL = 1
NAMES = [f"p{number}@example.org" for number in range(5)]


@pytest.fixture
def crowd(app: Flask, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five people came in with a file, and Redis wasn't told of them yet."""
    monkeypatch.setattr(projection, "settle", lambda *_ids, by: None)
    path = tmp_path / "people.csv"
    path.write_text("\n".join(["email", *NAMES]))
    importing.import_people(path, cohort="general", actor="test", now=now)
    monkeypatch.undo()


def _noted() -> int:
    found = db.session.scalar(select(func.count()).select_from(Crowd)) or 0
    db.session.rollback()
    return found


def _at(moment: str, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    monkeypatch.setattr(projection, "failpoint", lambda name: act() if name == moment else None)


@pytest.mark.usefixtures("crowd")
def test_a_crowd_that_was_left_over_is_taken_in_by_the_clock_and_forgotten(redis: Redis) -> None:
    assert (tables.line_in_redis(redis), _noted()) == ([], 1)
    projection.require_valid()
    assert tables.line_in_redis(redis) == tables.line_in_sql()
    assert (len(tables.line_in_sql()), _noted()) == (5, 0)


@pytest.mark.usefixtures("crowd")
def test_a_crowd_of_many_pages_is_taken_in_whole(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowds, "PAGE", 2)
    projection.take_in(GENERAL)
    assert tables.line_in_redis(redis) == tables.line_in_sql()


@pytest.mark.usefixtures("crowd")
def test_a_crowd_stays_noted_while_the_line_is_lost(redis: Redis) -> None:
    redis.flushall()
    with pytest.raises(LineUnavailable):
        projection.take_in(GENERAL)
    assert _noted() == 1
    projection.require_valid()
    assert tables.line_in_redis(redis) == tables.line_in_sql()
    assert _noted() == 0


@pytest.mark.usefixtures("crowd")
def test_who_left_before_the_crowd_was_taken_in_is_no_ghost(app: Flask, redis: Redis) -> None:
    """Somebody read SQL while they all still waited, and writes after who left was taken off."""
    late, read_at = projection.of_cohort(GENERAL), lines.clock(extensions.redis())
    read = [(rank, entry_id) for entry_id, rank in tables.line_in_sql()]
    leaver = people.make(people.find(NAMES[2]), state="withdrawn")
    projection.note(GENERAL, [leaver.id])
    db.session.commit()
    projection.settle(GENERAL)
    late.welcome(read, read_at=read_at)
    assert tables.line_in_redis(redis) == tables.line_in_sql()
    assert len(tables.line_in_sql()) == 4


def test_a_newer_rank_isnt_undone_by_a_late_welcome(app: Flask, redis: Redis) -> None:
    line, read_at = projection.of_cohort(GENERAL), lines.clock(extensions.redis())
    line.apply([Change(77, version=5, rank=3)], read_at=read_at)
    line.welcome([(9, 77), (10, 78)], read_at=read_at)
    assert tables.line_in_redis(redis) == [(77, 3), (78, 10)]


def test_a_welcome_that_was_read_long_ago_or_of_another_epoch_is_refused(
    app: Flask, redis: Redis
) -> None:
    line, read_at = projection.of_cohort(GENERAL), lines.clock(extensions.redis())
    with pytest.raises(LineUnavailable):
        line.welcome([(9, 77)], read_at=read_at - 62)
    projection.rebuild(GENERAL)
    with pytest.raises(LineUnavailable):
        line.welcome([(9, 77)], read_at=read_at)
    assert tables.line_in_redis(redis) == []


@pytest.mark.parametrize("moment", ["rebuild.filled", "rebuild.before-swap"])
def test_a_crowd_that_comes_during_a_rebuild_is_not_lost(
    app: Flask,
    redis: Redis,
    now: datetime,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    people.crowd(2, now=now, name="before")
    path = tmp_path / "people.csv"
    path.write_text("\n".join(["email", *NAMES]))

    def come() -> None:
        importing.import_people(path, cohort="general", actor="test", now=now)

    _at(moment, monkeypatch, lambda: people.at_once(app, [come]))
    assert projection.rebuild(GENERAL) == 7
    assert tables.line_in_redis(redis) == tables.line_in_sql()
    assert _noted() == 0


def test_a_rebuilt_line_has_the_crowds_as_soon_as_it_answers(
    app: Flask, redis: Redis, now: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a wave right after the swap would draw people who stand behind them."""
    path = tmp_path / "people.csv"
    path.write_text("\n".join(["email", *NAMES]))

    def come() -> None:
        importing.import_people(path, cohort="general", actor="test", now=now)

    _at("rebuild.filled", monkeypatch, lambda: people.at_once(app, [come]))
    monkeypatch.setattr(projection, "take_in", lambda _cohort_id: None)
    assert projection.rebuild(GENERAL) == 5


def test_an_import_goes_on_while_redis_is_away(
    app: Flask, redis: Redis, now: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P14."""
    path = tmp_path / "people.csv"
    path.write_text("\n".join(["email", *NAMES]))
    monkeypatch.setattr(entering, "failpoint", lambda _name: redis.flushall())
    summary = importing.import_people(path, cohort="general", actor="test", now=now)
    assert (summary.accepted, _noted()) == (5, 1)
    projection.require_valid()
    assert tables.line_in_redis(redis) == tables.line_in_sql()
