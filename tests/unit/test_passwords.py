"""Passwords, hashed by a thread a core."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from waitlist.onboarding import passwords


class _Counting:
    """A hasher that notes how many hash at the same time at most."""

    def __init__(self) -> None:
        self.most = self._now = 0
        self._lock = threading.Lock()

    def hash(self, password: str) -> str:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.01)
        with self._lock:
            self._now -= 1
        return password


def test_as_many_hash_at_the_same_time_as_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = _Counting()
    monkeypatch.setattr(passwords, "HASHER", counting)
    with ThreadPoolExecutor(32) as threads:
        asked = [f"password {number}" for number in range(64)]
        assert list(threads.map(passwords.hashed, asked)) == asked
    assert counting.most == os.cpu_count()


def test_a_password_is_verified_by_its_hash_alone() -> None:
    kept = passwords.hashed("correct horse battery staple")
    assert passwords.verifies(kept, "correct horse battery staple")
    assert not passwords.verifies(kept, "correct horse battery stapler")
