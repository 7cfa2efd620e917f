"""Waking workers. A wake-up that is lost costs time, never a duty: the clock sweeps SQL."""

from __future__ import annotations

import time

import structlog
from flask import current_app
from redis.exceptions import RedisError
from rq import Queue
from rq.serializers import JSONSerializer

from waitlist import extensions

log = structlog.get_logger()
QUEUES = {
    "admission": "workers.jobs.run_admission",
    "mail": "workers.jobs.run_mail",
    "handover": "workers.jobs.run_handover",
}
JOB_TIMEOUT = 900  # seconds
MOST_WAITING = 2  # jobs of a queue that wait to be begun
MOMENT = 0.02  # seconds
ASKED_TTL = 5  # seconds after which a wake-up that nobody answered may be asked again


def wake(queue: str) -> None:
    """Ask for one run of a queue's job, unless one is asked for already.

    Call it after the commit. Redis away: logged, and the clock asks again. So it does where a
    process asks twice in a moment, and the first was answered at once: hundreds of groups of
    joins a second would ask Redis each.
    """
    asked: dict[str, float] = current_app.extensions.setdefault("asked", {})
    if time.monotonic() < asked.get(queue, 0) + MOMENT:
        return
    asked[queue] = time.monotonic()
    client = extensions.redis()
    try:
        if client.set(asked_key(queue), "1", nx=True, ex=ASKED_TTL) and _has_room(queue):
            _queue(queue).enqueue(
                QUEUES[queue], job_timeout=JOB_TIMEOUT, result_ttl=0, failure_ttl=3600
            )
    except RedisError as error:
        log.warning("wake-up lost", queue=queue, error=type(error).__name__)


def answered(queue: str) -> None:
    """The job has begun: what comes from now on may ask again."""
    extensions.redis().delete(asked_key(queue))


def asked_key(queue: str) -> str:
    """The key that stands while a wake-up is under way."""
    return f"waitlist:asked:{queue}"


def _has_room(queue: str) -> bool:
    """Whether the queue is short enough: where no worker works, wake-ups mustn't pile up."""
    return bool(_queue(queue).count < MOST_WAITING)


def _queue(name: str) -> Queue:
    return Queue(name, connection=extensions.redis_for_rq(), serializer=JSONSerializer)
