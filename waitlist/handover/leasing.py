"""Which webhooks of an endpoint go next, and what became of those that went.

Each is leased by a guarded update with a number, and only the lease's holder may mark it, as with
mail. The endpoint's row is locked meanwhile, so of those that are away one probe goes at a time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, or_, select, update

from waitlist.extensions import db, rows_changed
from waitlist.handover.events import EVENTS
from waitlist.handover.sending import Answer
from waitlist.handover.staging import DISABLED
from waitlist.models import Webhook, WebhookAttempt, WebhookEndpoint
from waitlist.policy import retrying
from waitlist.policy.retrying import Verdict
from waitlist.rows import ids

LEASE = timedelta(seconds=55)  # longer than an attempt can take: see reaching.ANSWER_WITHIN
BATCH = 1_000  # webhooks that one transaction sets aside


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


class Turn(NamedTuple):
    """What goes next to an endpoint, signed by which secrets."""

    leased: Sequence[Leased]
    secrets: Sequence[str] = ()
    with_password_hash: bool = False


def turn(endpoint_id: int, tried: Sequence[Tried], *, most: int, now: datetime) -> Turn:
    """Mark what was tried, and lease at most so many of those that are due. Commits."""
    endpoint = _locked(endpoint_id)
    if endpoint is None:
        db.session.rollback()
        return Turn(())
    for one in tried:
        _settle(endpoint, one, now=now)
    leased = _lease(endpoint, most=most, now=now)
    found = Turn(leased, secrets_of(endpoint, now=now), endpoint.with_password_hash)
    db.session.commit()
    return found


def secrets_of(endpoint: WebhookEndpoint, *, now: datetime) -> tuple[str, ...]:
    """The secrets that sign now, the newest first."""
    former = endpoint.former_secret
    overlaps = former and endpoint.former_until is not None and now < endpoint.former_until
    return (endpoint.secret, former) if former and overlaps else (endpoint.secret,)


def due(*, now: datetime) -> list[int]:
    """The endpoints to which something is to go now."""
    found = select(WebhookEndpoint.id).where(
        _may_be_told(now), _owed(_is_known(), Webhook.due_at <= now)
    )
    return list(db.session.scalars(found.order_by(WebhookEndpoint.id)))


def is_due(*, now: datetime) -> bool:
    """Whether a worker would find something to do."""
    left = select(Webhook.id).where(Webhook.state == "sending", Webhook.leased_until < now)
    aside = select(WebhookEndpoint.id).where(WebhookEndpoint.state == "disabled", _owed())
    return bool(
        due(now=now) or db.session.scalar(left.limit(1)) or db.session.scalar(aside.limit(1))
    )


def take_over(*, now: datetime) -> None:
    """Owe again what is leased by someone who didn't come back in time. Commits."""
    late = Webhook.state == "sending", Webhook.leased_until < now
    why = "its worker didn't come back"
    db.session.execute(update(Webhook).where(*late).values(state="pending", reason=why, due_at=now))
    db.session.commit()


def set_aside() -> None:
    """Of disabled endpoints, let what is owed wait until it is replayed. Commits, in batches."""
    while True:
        some = (
            select(Webhook.id)
            .join(WebhookEndpoint, WebhookEndpoint.id == Webhook.endpoint_id)
            .where(WebhookEndpoint.state == "disabled", Webhook.state == "pending")
            .limit(BATCH)
        )
        found = db.session.scalars(some).all()
        changed = found and rows_changed(
            update(Webhook)
            .where(Webhook.id.in_(ids(found)), Webhook.state == "pending")
            .values(state="attention", reason=DISABLED)
        )
        db.session.commit()
        if not changed:
            return


def _locked(endpoint_id: int) -> WebhookEndpoint | None:
    """The endpoint's row; whoever is registering meanwhile may still refer to it."""
    found: WebhookEndpoint | None = db.session.scalars(
        select(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    return found


def _lease(endpoint: WebhookEndpoint, *, most: int, now: datetime) -> list[Leased]:
    if endpoint.state != "enabled" or most < 1:
        return []
    if endpoint.away_since is not None:
        if endpoint.probe_at is not None and endpoint.probe_at > now:
            return []
        endpoint.probe_at, most = now + retrying.PROBE_EVERY, 1
    chosen = (
        select(Webhook.id)
        .where(_of(endpoint), _is_known(), Webhook.state == "pending", Webhook.due_at <= now)
        .order_by(Webhook.due_at, Webhook.id)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    leasing = (
        update(Webhook.__table__)
        .where(Webhook.id.in_(chosen.scalar_subquery()))
        .values(state="sending", lease=Webhook.lease + 1, leased_until=now + LEASE)
        .returning(*(getattr(Webhook, name) for name in Leased._fields))
    )
    return sorted(Leased(*row) for row in db.session.execute(leasing))


def _settle(endpoint: WebhookEndpoint, tried: Tried, *, now: datetime) -> None:
    """Mark one that was tried, if its lease still holds; and note how the endpoint fares."""
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
        waits = _of(endpoint), Webhook.state == "pending", Webhook.due_at > now
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


def _of(endpoint: WebhookEndpoint) -> ColumnElement[bool]:
    return Webhook.endpoint_id == endpoint.id


def _is_known() -> ColumnElement[bool]:
    """Whether this release knows the event: what a newer one left is for its own workers."""
    return Webhook.event.in_(sorted(EVENTS))


def _may_be_told(now: datetime) -> ColumnElement[bool]:
    at_hand = or_(WebhookEndpoint.away_since.is_(None), WebhookEndpoint.probe_at <= now)
    return and_(WebhookEndpoint.state == "enabled", at_hand)


def _owed(*which: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a webhook of the endpoint is owed."""
    owed = Webhook.endpoint_id == WebhookEndpoint.id, Webhook.state == "pending"
    return select(Webhook.id).where(*owed, *which).exists()
