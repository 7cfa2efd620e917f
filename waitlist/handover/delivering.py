"""Sending what endpoints are owed: each by a thread of its own, so that none waits for another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import attrgetter

import structlog

from waitlist.extensions import db, elsewhere, reading
from waitlist.failpoints import failpoint
from waitlist.handover import events, leasing
from waitlist.handover.leasing import Turn
from waitlist.handover.sending import AT_ONCE, Answer, Connections, Letter
from waitlist.handover.settling import Leased, Tried
from waitlist.models import WebhookEndpoint
from waitlist.policy.retrying import Verdict

log = structlog.get_logger()
ENDPOINTS = 32  # that are served at a time
LOOK_AGAIN = 0.25  # seconds between two looks for endpoints to which something became due
TOGETHER = 0.02  # seconds in which answers come that are marked by one transaction

Clock = Callable[[], datetime]


def deliver(clock: Clock, *, until: datetime) -> bool:
    """Send what is due until `until`; whether some may be left."""
    leasing.take_over(now=clock())
    leasing.set_aside()
    at_work: dict[int, Future[None]] = {}
    with ThreadPoolExecutor(ENDPOINTS, "handover") as threads:
        while True:
            is_over = clock() >= until
            with reading():
                due = leasing.due(now=clock())
            if not is_over:
                for endpoint in set(due) - at_work.keys():
                    serving = elsewhere(partial(_serve, endpoint, clock, until=until))
                    at_work[endpoint] = threads.submit(serving)
            if not at_work:
                break
            ended = wait(at_work.values(), LOOK_AGAIN, FIRST_COMPLETED).done
            for future in ended:
                future.result()  # what went wrong in it is ours
            at_work = {one: work for one, work in at_work.items() if work not in ended}
    leasing.set_aside()
    return bool(due)


def _serve(endpoint_id: int, clock: Clock, *, until: datetime) -> None:
    """Send what is due at this endpoint, some at once, and mark each as soon as it is answered."""
    tried: list[Tried] = []
    on_the_way: dict[Future[Answer], tuple[Leased, datetime]] = {}
    with ThreadPoolExecutor(AT_ONCE, "webhook") as posting, Connections(_url(endpoint_id)) as there:
        while True:
            most = AT_ONCE - len(on_the_way) if clock() < until else 0
            turn = leasing.turn(endpoint_id, tried, most=most, now=clock())
            _log(endpoint_id, tried)
            tried = []
            if turn.leased:
                failpoint("handover.leased")
            at = clock()
            for leased, body in _bodies(turn):
                if body is None:
                    tried.append(Tried(leased, None, at))
                    continue
                letter = Letter(leased.webhook_id, body, turn.secrets, at)
                on_the_way[posting.submit(there.post, letter)] = leased, at
            if not on_the_way and not tried:
                return
            tried += _answered(on_the_way)


def _answered(on_the_way: dict[Future[Answer], tuple[Leased, datetime]]) -> list[Tried]:
    """Those that are answered; the first is waited for, and others that come with it."""
    if not on_the_way:
        return []
    wait(on_the_way, return_when=FIRST_COMPLETED)
    tried = []
    for future in wait(on_the_way, TOGETHER).done:
        leased, at = on_the_way.pop(future)
        tried.append(Tried(leased, future.result(), at))
        if future.result().verdict is Verdict.DELIVERED:
            failpoint("handover.delivered")
    return tried


def _bodies(turn: Turn) -> list[tuple[Leased, bytes | None]]:
    """What is said of each that was leased; None of one that is gone with its person."""
    found: list[tuple[Leased, bytes | None]] = []
    by_event = groupby(sorted(turn.leased, key=attrgetter("event")), attrgetter("event"))
    with reading():
        for event, group in by_event:
            leased = list(group)
            subjects = [one.subject_id for one in leased]
            said = events.bodies(event, subjects, with_password_hash=turn.with_password_hash)
            found += ((one, said.get(one.subject_id)) for one in leased)
    return found


def _url(endpoint_id: int) -> str:
    with reading():
        endpoint = db.session.get(WebhookEndpoint, endpoint_id)
        return endpoint.url if endpoint else "https://removed.invalid"


def _log(endpoint_id: int, tried: Sequence[Tried]) -> None:
    """A line for each outcome, with the webhooks that had it."""
    told: dict[str, list[str]] = {}
    for leased, answer, _ in tried:
        told.setdefault(answer.words if answer else "cancelled", []).append(leased.webhook_id)
    for words, webhooks in told.items():
        log.info("webhooks", endpoint=endpoint_id, webhooks=webhooks, outcome=words)
