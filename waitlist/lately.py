"""What was read a moment ago: values that everyone needs and that may be a second old."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from flask import current_app

Value = TypeVar("Value")

KEPT = 1.0  # seconds


def read(name: str, look: Callable[[], Value], *, kept_for: float = KEPT) -> Value:
    """What `look` gave this process so many seconds ago at most; else what it gives now."""
    kept: dict[str, tuple[float, Any]] = current_app.extensions.setdefault("lately", {})
    until, value = kept.get(name, (0.0, None))
    if time.monotonic() >= until:
        value = look()
        kept[name] = (time.monotonic() + kept_for, value)
    found: Value = value
    return found


def forget(name: str) -> None:
    """Have this process look anew, as what it knows was changed."""
    current_app.extensions.get("lately", {}).pop(name, None)
