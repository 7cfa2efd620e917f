"""What past invitations teach: how many finish, how soon, and how many still will."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from flask import Flask

from tests import people
from tests.conftest import Deliver
from tests.visitors import Operator
from waitlist.admission import noshows
from waitlist.models import Entry
from waitlist.onboarding import invitations

HOUR = timedelta(hours=1)
EXPIRED = 72 * HOUR + timedelta(minutes=30)


def _invited(name: str, *, now: datetime, deliver: Deliver) -> list[Entry]:
    """Ten people whose invitations were mailed now."""
    entries = [people.wait_in_line(f"{name}{n}@example.org", now=now) for n in range(10)]
    people.invite(*entries, now=now)
    deliver(now)
    return entries


def _finish(entries: list[Entry], *, now: datetime) -> None:
    for entry in entries:
        people.register(entry, f"guest_{entry.id}", now=now)


@pytest.mark.usefixtures("app")
def test_nothing_is_claimed_before_anybody_was_mailed(now: datetime) -> None:
    found = noshows.learned(now=now)
    assert (found.mailed, found.open, found.expected) == (0, 0, 0)
    assert (found.share.low, found.share.high) == (0, 1)
    assert (found.half_within, found.suggested_expiry) == (None, None)


@pytest.mark.usefixtures("app")
def test_who_still_can_come_is_told_from_who_came_after_as_long(
    now: datetime, deliver: Deliver
) -> None:
    """Of twenty 5 came in hour 3; of the 5 who were seen for longer 2 came in hour 20."""
    old = _invited("old", now=now, deliver=deliver)
    _finish(old[:5], now=now + 3 * HOUR)
    _finish(old[5:7], now=now + 20 * HOUR)
    invitations.lapse(now=now + EXPIRED)
    later = now + 100 * HOUR
    _invited("new", now=later, deliver=deliver)
    found = noshows.learned(now=later + 5 * HOUR)
    assert (found.mailed, found.completed, found.open) == (20, 7, 10)
    assert found.share.of == pytest.approx(1 - 0.75 * 0.6)
    assert found.expected == pytest.approx(10 * (0.55 - 0.25) / 0.75)
    assert found.half_within == 21
    assert found.suggested_expiry is None, "too few to suggest anything"


@pytest.mark.usefixtures("app")
def test_an_expiry_is_suggested_once_enough_have_come(now: datetime, deliver: Deliver) -> None:
    for name in ("a", "b", "c"):
        _finish(_invited(name, now=now, deliver=deliver), now=now + 7 * HOUR)
    assert noshows.learned(now=now + EXPIRED).suggested_expiry == 8


def test_the_command_tells_it(runner: Operator, app: Flask) -> None:
    assert runner.json("gate", "no-shows")["share"] == {"of": 0.0, "low": 0.0, "high": 1.0}
    assert "who finishes" in runner.run("gate", "no-shows").stdout
