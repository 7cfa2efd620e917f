"""Passwords, hashed by as many threads as there are cores, of all web processes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from flask import Flask

from waitlist.extensions import elsewhere, settings
from waitlist.onboarding import passwords

SHARE = 3  # of the cores


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


@pytest.fixture
def counting(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Counting]:
    """A hasher in a process whose share of the cores is three."""
    hasher, cores = _Counting(), SHARE * settings().web_processes + 1
    monkeypatch.setattr(passwords, "HASHER", hasher)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    passwords._threads.cache_clear()
    yield hasher
    passwords._threads.cache_clear()


def test_a_process_hashes_as_many_at_once_as_its_share_of_the_cores(counting: _Counting) -> None:
    asked = [f"password {number}" for number in range(64)]
    with ThreadPoolExecutor(32) as threads:
        calls = [threads.submit(elsewhere(partial(passwords.hashed, one))) for one in asked]
        assert [call.result() for call in calls] == asked
    assert counting.most == SHARE


@pytest.mark.usefixtures("app")
def test_a_password_is_verified_by_its_hash_alone() -> None:
    kept = passwords.hashed("correct horse battery staple")
    assert passwords.verifies(kept, "correct horse battery staple")
    assert not passwords.verifies(kept, "correct horse battery stapler")
