"""What becomes of a webhook that was tried, and of its endpoint; decided by `policy.retrying`."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import update

from waitlist.extensions import db, rows_changed
from waitlist.handover.sending import Answer
from waitlist.models import Webhook, WebhookAttempt, WebhookEndpoint
from waitlist.policy import retrying
from waitlist.policy.retrying import Verdict


class Leased(NamedTuple):
    """A webhook under lease: which, by which lease, how often it was refused, and of what."""

    id: int
    lease: int
    attempts: int
    webhook_id: str
    event: str
    subject_id: int
    since_at: datetime


class Tried(NamedTuple):
    """A leased webhook and its answer; None where there was nothing to send any more."""

    leased: Leased
    answer: Answer | None
    at: datetime


def settle(endpoint: WebhookEndpoint, tried: Tried, *, now: datetime) -> None:
    """Mark one that was tried, if its lease still holds; and note how the endpoint fares.

    In the caller's transaction, which has locked the endpoint.
    """
    leased, answer, _ = tried
    if answer is None:
        _mark(leased, state="cancelled", reason="no longer true")
        return
    was_away = endpoint.away_since is not None
    match answer.verdict:
        case Verdict.DELIVERED:
            marked = _mark(leased, state="delivered", reason="", delivered_at=now)
            _works(endpoint, now=now)
        case Verdict.GONE:
            why = f"{answer.words}: the endpoint wants no more"
            marked = _mark(leased, state="attention", reason=why)
            endpoint.state, endpoint.why = "disabled", why
        case Verdict.AWAY:
            marked = _wait_for(endpoint, leased, answer, now=now)
        case Verdict.REFUSED:
            endpoint.failures += 1
            marked = _try_again(leased, answer, now=now)
    if marked and not (was_away and answer.verdict is Verdict.AWAY):  # or a row every 15 s
        _note(tried, answer)


def _works(endpoint: WebhookEndpoint, *, now: datetime) -> None:
    """It answered well. Was it broken before, then all goes now that waits for its next try."""
    if endpoint.away_since is not None or endpoint.failures >= retrying.MANY:
        waits = Webhook.endpoint_id == endpoint.id, Webhook.state == "pending", Webhook.due_at > now
        db.session.execute(update(Webhook).where(*waits).values(due_at=now))
    endpoint.failures, endpoint.why = 0, ""
    endpoint.away_since = endpoint.probe_at = None


def _wait_for(endpoint: WebhookEndpoint, leased: Leased, answer: Answer, *, now: datetime) -> bool:
    """It is about the endpoint, which is probed, with another webhook each time."""
    wait = retrying.next_probe(answer.retry_after)
    endpoint.away_since = endpoint.away_since or now
    endpoint.probe_at, endpoint.why = now + wait, answer.words
    if now - leased.since_at >= retrying.GIVE_UP_AFTER:
        return _mark(leased, state="attention", reason=answer.words)
    due_at = now + retrying.PROBE_EVERY
    return _mark(leased, state="pending", reason=answer.words, due_at=due_at)


def _try_again(leased: Leased, answer: Answer, *, now: datetime) -> bool:
    """It may be about this webhook alone, which goes again later each time."""
    failed = leased.attempts + 1
    wait = retrying.next_try(failed, jitter=random.random(), retry_after=answer.retry_after)
    ahead = {"state": "attention"} if wait is None else {"state": "pending", "due_at": now + wait}
    return _mark(leased, **ahead, reason=answer.words, attempts=failed)


def _mark(leased: Leased, **values: Any) -> bool:
    held = Webhook.id == leased.id, Webhook.state == "sending", Webhook.lease == leased.lease
    return bool(rows_changed(update(Webhook).where(*held).values(**values)))


def _note(tried: Tried, answer: Answer) -> None:
    attempt = WebhookAttempt(
        of_id=tried.leased.id,
        at=tried.at,
        status=answer.status,
        milliseconds=answer.milliseconds,
        words=answer.words[:200],
    )
    db.session.add(attempt)
