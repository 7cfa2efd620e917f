"""What a check found: pass, warn or fail, and one sentence that says what to do."""

from __future__ import annotations

from typing import NamedTuple

PASS, WARN, FAIL = "pass", "warn", "fail"


class Finding(NamedTuple):
    """One thing that was looked at, how it is, and what that means."""

    check: str
    result: str
    sentence: str
