"""What SQL can't take is set aside, within bounds, and nothing of it is lost on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from redis import Redis
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from tests import people
from tests.conftest import MakeApp
from waitlist import aside, extensions

DEAD = "unix:///nonexistent/redis.sock"


@pytest.fixture
def without_redis(make_app: MakeApp, app: Flask) -> Iterator[Flask]:
    """An app on the same instance folder whose Redis isn't there."""
    lonely = make_app(redis_url=DEAD)
    with lonely.app_context():
        yield lonely


def _all() -> list[str]:
    return [record for records in aside.batches("tests") for record in records]


def test_what_is_set_aside_comes_back_once_and_in_its_order(app: Flask) -> None:
    records = [f"record {number}" for number in range(aside.BATCH + 3)]
    for one in records:
        aside.put("tests", one)
    assert _all() == records
    assert _all() == []


def test_who_is_killed_before_the_next_finds_all_of_it_again(app: Flask) -> None:
    aside.put("tests", "kept")
    assert next(aside.batches("tests")) == ["kept"]
    assert _all() == ["kept"]


def test_of_a_file_too_all_of_it_is_found_again(without_redis: Flask) -> None:
    aside.put("tests", "kept")
    assert next(aside.batches("tests")) == ["kept"]
    aside.put("tests", "another")
    assert sorted(_all()) == ["another", "kept"]
    assert _all() == []


def test_when_redis_breaks_before_it_lets_go_nothing_is_lost_and_nothing_raised(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside.put("tests", "kept")
    batches = aside.batches("tests")
    assert next(batches) == ["kept"]
    with monkeypatch.context() as broken:

        def away() -> Redis:
            raise RedisError

        broken.setattr(extensions, "redis", away)
        assert list(batches) == []
    assert _all() == ["kept"]


def test_while_the_file_is_moved_away_whoever_writes_loses_nothing(
    app: Flask, without_redis: Flask
) -> None:
    """Sixteen write, two take, all at once."""
    written = [f"{number}-{line}" for number in range(16) for line in range(20)]

    def write(number: int) -> list[str]:
        for line in range(20):
            aside.put("tests", f"{number}-{line}")
        return []

    def take() -> list[str]:
        return [record for _ in range(20) for record in _all()]

    calls = [*(lambda n=number: write(n) for number in range(16)), take, take]
    found = [one for taken in people.at_once(without_redis, calls) for one in taken]
    assert set(found) | set(_all()) == set(written)


def test_redis_and_the_file_hold_no_more_than_they_may(
    app: Flask, make_app: MakeApp, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aside, "MOST", 3)
    monkeypatch.setattr(aside, "LARGEST", 10)
    with capture_logs() as logged:
        for number in range(5):
            aside.put("tests", f"record {number}")
    assert redis.llen("waitlist:aside:tests") == 3
    assert len(logged) == 2
    lonely = make_app(redis_url=DEAD)
    with lonely.app_context(), capture_logs() as logged:
        for number in range(5):
            aside.put("tests", f"record {number}")
    assert [one["log_level"] for one in logged] == ["error"] * 3


def test_where_nothing_can_keep_it_only_the_log_says_so(
    make_app: MakeApp, app: Flask, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    lonely = make_app(redis_url=DEAD, instance=tmp_path / "file")
    with lonely.app_context(), capture_logs() as logged:
        aside.put("tests", "lost")
        assert _all() == []
    assert logged[0]["log_level"] == "error"
    assert "lost" not in repr({**logged[0], "event": ""})
