"""Passwords, hashed and verified by a thread a core.

Each hash fills 19 MiB twice. More at once than there are cores would only slow each other,
and so would as many that take turns in the threads of requests: memory that was hashed in a
moment ago is still in the processor's cache, and a thread of its own uses the same again.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

HASHER = PasswordHasher(memory_cost=19456, time_cost=2, parallelism=1)  # OWASP, 2024: 19 MiB

_threads = ThreadPoolExecutor(os.cpu_count() or 1, "passwords")


def hashed(password: str) -> str:
    """What is stored of a password."""
    return _threads.submit(HASHER.hash, password).result()


def verifies(password_hash: str, password: str) -> bool:
    """Whether this is the password that was hashed."""
    try:
        return _threads.submit(HASHER.verify, password_hash, password).result()
    except VerifyMismatchError:
        return False
