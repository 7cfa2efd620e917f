"""SQLite's write lock is waited for, whatever keeps it busy."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from waitlist.extensions import _took_write_lock


class _Driver:
    """A connection that is refused with this code once."""

    def __init__(self, code: int) -> None:
        self.code, self.said = code, list[str]()

    def execute(self, words: str) -> None:
        self.said.append(words)
        if len(self.said) == 1:
            error = sqlite3.OperationalError("no")
            error.sqlite_errorcode = self.code
            raise error


@pytest.mark.parametrize(
    "code,waits",
    [
        (sqlite3.SQLITE_BUSY, True),
        (sqlite3.SQLITE_BUSY_RECOVERY, True),  # after another was killed
        (sqlite3.SQLITE_BUSY_SNAPSHOT, True),
        (sqlite3.SQLITE_READONLY, False),
    ],
)
def test_a_busy_database_is_asked_again_and_a_broken_one_is_not(code: int, waits: bool) -> None:
    driver: Any = _Driver(code)
    assert _took_write_lock(driver) is waits
    assert len(driver.said) == (2 if waits else 1)
