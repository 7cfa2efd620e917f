"""Passwords, hashed and verified by as many threads as there are cores, of all web processes.

Each hash fills 19 MiB twice. More at once than there are cores would only slow each other.
Threads of their own hash a little faster than those of requests that take turns.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from waitlist.extensions import settings

HASHER = PasswordHasher(memory_cost=19456, time_cost=2, parallelism=1)  # OWASP, 2024: 19 MiB


def hashed(password: str) -> str:
    """What is stored of a password."""
    return _threads().submit(HASHER.hash, password).result()


def verifies(password_hash: str, password: str) -> bool:
    """Whether this is the password that was hashed."""
    try:
        return _threads().submit(HASHER.verify, password_hash, password).result()
    except VerifyMismatchError:
        return False


@cache
def _threads() -> ThreadPoolExecutor:
    """This process's share of the cores."""
    share = (os.cpu_count() or 1) // settings().web_processes
    return ThreadPoolExecutor(max(1, share), "passwords")
