"""Which webhooks of an endpoint go next.

Each is leased by a guarded update with a number, and only the lease's holder may mark it, as with
mail. The endpoint's row is locked meanwhile, so of those that are away one probe goes at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, or_, select, update

from waitlist.extensions import db, reading, rows_changed
from waitlist.handover.events import EVENTS
from waitlist.handover.settling import Leased, Tried, settle
from waitlist.handover.staging import DISABLED
from waitlist.models import Webhook, WebhookEndpoint
from waitlist.policy import retrying
from waitlist.rows import ids

LEASE = timedelta(seconds=55)  # longer than an attempt can take: see reaching.ANSWER_WITHIN
BATCH = 1_000  # webhooks that one transaction sets aside


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
        settle(endpoint, one, now=now)
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
    rest = (left, _disabled_but_owed())
    return bool(due(now=now)) or any(db.session.scalar(one.limit(1)) for one in rest)


def take_over(*, now: datetime) -> None:
    """Owe again what is leased by someone who didn't come back in time. Commits."""
    late = Webhook.state == "sending", Webhook.leased_until < now
    with reading():
        any_late = db.session.scalar(select(Webhook.id).where(*late).limit(1))
    if any_late is None:
        return
    why = "its worker didn't come back"
    db.session.execute(update(Webhook).where(*late).values(state="pending", reason=why, due_at=now))
    db.session.commit()


def set_back(gap: timedelta, *, now: datetime) -> None:
    """Owe in time, in the caller's transaction, what a clock put off that was ahead and went back.

    `gap` is below zero. Who is away is probed at once, and no lease is longer than one from now on.
    """
    waits = select(Webhook).where(
        Webhook.state == "pending", Webhook.due_at > now, Webhook.created_at > now
    )
    for webhook in db.session.scalars(waits.order_by(Webhook.id).with_for_update()):
        webhook.due_at += gap
    quietly = {"synchronize_session": False}
    leased = Webhook.state == "sending", Webhook.leased_until > now + LEASE
    late = update(Webhook).where(*leased).values(leased_until=now + LEASE)
    away = update(WebhookEndpoint).where(WebhookEndpoint.probe_at > now).values(probe_at=now)
    for statement in (late, away):
        db.session.execute(statement, execution_options=quietly)


def set_aside() -> None:
    """Of disabled endpoints, let what is owed wait until it is replayed. Commits, in batches."""
    with reading():
        disabled = list(db.session.scalars(_disabled_but_owed()))
    for endpoint_id in disabled:
        while _set_aside_some(endpoint_id):
            pass


def _set_aside_some(endpoint_id: int) -> int:
    endpoint = _locked(endpoint_id)
    if endpoint is None or endpoint.state != "disabled":  # not any more
        db.session.rollback()
        return 0
    owed = Webhook.endpoint_id == endpoint_id, Webhook.state == "pending"
    found = db.session.scalars(select(Webhook.id).where(*owed).limit(BATCH)).all()
    aside = update(Webhook).where(Webhook.id.in_(ids(found)), *owed)
    changed = rows_changed(aside.values(state="attention", reason=DISABLED))
    db.session.commit()
    return changed


def _disabled_but_owed() -> Select[Any]:
    """Endpoints that were disabled since, or by somebody who died before all was set aside."""
    return select(WebhookEndpoint.id).where(WebhookEndpoint.state == "disabled", _owed())


def _locked(endpoint_id: int) -> WebhookEndpoint | None:
    """The endpoint's row; `key_share`, as who registers meanwhile refers to it and mustn't wait."""
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
        .where(
            Webhook.endpoint_id == endpoint.id,
            _is_known(),
            Webhook.state == "pending",
            Webhook.due_at <= now,
        )
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
