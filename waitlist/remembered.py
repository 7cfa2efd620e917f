"""What one mail worker learned and the others should know for a while, kept in Redis.

Without Redis it is forgotten, which costs a try or a line of the log and nothing else.
"""

from __future__ import annotations

from datetime import timedelta

import structlog
from redis.exceptions import RedisError

from waitlist import extensions

log = structlog.get_logger()


def remember(what: str, lifetime: timedelta) -> None:
    """Let it stand for so long from now."""
    try:
        extensions.redis().set(what, "1", ex=lifetime)
    except RedisError:
        log.warning("Redis away, so this is forgotten", what=what)


def stands(what: str) -> bool:
    """Whether it was remembered, and its time isn't over."""
    try:
        return bool(extensions.redis().exists(what))
    except RedisError:
        return False


def is_news(what: str, lifetime: timedelta) -> bool:
    """Whether nobody remembered it yet; from now on it stands for so long."""
    try:
        return bool(extensions.redis().set(what, "1", ex=lifetime, nx=True))
    except RedisError:
        return True
