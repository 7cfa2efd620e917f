"""The addresses that are told: adding, changing and removing them, each with who and why."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from sqlalchemy import delete, select

from waitlist import audit
from waitlist.errors import EndpointUnknown, ValueRefused
from waitlist.extensions import db, rows_changed, settings
from waitlist.handover import leasing
from waitlist.handover.events import COMPLETED, DISPUTED, EVENTS
from waitlist.models import Webhook, WebhookEndpoint, WebhookSubscription
from waitlist.policy import reach
from waitlist.rows import ids

SECRET_BYTES = 32  # Standard Webhooks wants 24 to 64
URL_LIMIT = 2_000
BATCH = 1_000  # webhooks of a removed endpoint that one transaction deletes


class Who(NamedTuple):
    """Who changes something, why and when, for the audit."""

    actor: str
    reason: str
    now: datetime


def find(endpoint_id: int, *, lock: bool = False) -> WebhookEndpoint:
    """The endpoint of that id; `EndpointUnknown` if there is none."""
    locking = {"key_share": True} if lock else None
    found = db.session.get(WebhookEndpoint, endpoint_id, with_for_update=locking)
    if found is None:
        raise EndpointUnknown(f"there is no endpoint {endpoint_id}: see flask webhook list")
    return found


def add(
    url: str, *, events: Sequence[str] = (), with_password_hash: bool = False, who: Who
) -> WebhookEndpoint:
    """A new endpoint, told of these events (of registrations, unless others are named).

    `ValueRefused` for an address that can't be told.
    """
    parts = _checked(url, with_password_hash=with_password_hash)
    told = _known(events)
    endpoint = WebhookEndpoint(
        url=url,
        secret=_new_secret(),
        with_password_hash=with_password_hash,
        created_at=who.now,
    )
    db.session.add(endpoint)
    db.session.flush()
    subscribed = [WebhookSubscription(event=one, endpoint_id=endpoint.id) for one in told]
    db.session.add_all(subscribed)
    after = {"host": parts.netloc, "events": told, "with_password_hash": with_password_hash}
    _record("webhook.add", endpoint, who, after=after)
    db.session.commit()
    return endpoint


def enable(endpoint_id: int, *, who: Who) -> WebhookEndpoint:
    """Tell it again from now on; what it missed waits to be replayed."""
    endpoint = _set_state(endpoint_id, "enabled", "", "webhook.enable", who)
    endpoint.failures, endpoint.away_since, endpoint.probe_at = 0, None, None
    db.session.commit()
    return endpoint


def disable(endpoint_id: int, *, who: Who) -> WebhookEndpoint:
    """Tell it nothing more; what it is owed, now and later, waits until it is replayed."""
    why = f"disabled by an operator: {who.reason}" if who.reason else "disabled by an operator"
    endpoint = _set_state(endpoint_id, "disabled", why[:200], "webhook.disable", who)
    db.session.commit()
    leasing.set_aside()
    return endpoint


def rotate(endpoint_id: int, *, overlap: timedelta, who: Who) -> WebhookEndpoint:
    """Sign with a new secret; for the overlap with the former one too.

    `ValueRefused` while a former one overlaps already, unless all former ones are to end now.
    """
    endpoint = find(endpoint_id, lock=True)
    running = len(leasing.secrets_of(endpoint, now=who.now)) > 1
    if running and overlap:
        raise ValueRefused(
            f"the secret before this one signs until {endpoint.former_until:%Y-%m-%d %H:%M} UTC: "
            "rotate after that, or with --overlap 0, which ends all former ones at once"
        )
    former, until = (endpoint.secret, who.now + overlap) if overlap else (None, None)
    endpoint.former_secret, endpoint.former_until = former, until
    endpoint.secret = _new_secret()
    after = {"overlap_seconds": overlap.total_seconds()}
    _record("webhook.rotate", endpoint, who, after=after)
    db.session.commit()
    return endpoint


def remove(endpoint_id: int, *, who: Who) -> int:
    """Remove it, with its log; how many webhooks weren't delivered. Cut off, it can be repeated."""
    endpoint = find(endpoint_id, lock=True)
    if endpoint.state != "removing":
        endpoint.state = "removing"
        _record("webhook.remove", endpoint, who, before={"host": urlsplit(endpoint.url).netloc})
        db.session.commit()
    undelivered = _forget_webhooks(endpoint_id)
    db.session.execute(delete(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id))
    db.session.commit()
    return undelivered


def _forget_webhooks(endpoint_id: int) -> int:
    last, undelivered = 0, 0
    while True:
        some = (
            select(Webhook.id, Webhook.state)
            .where(Webhook.id > last, Webhook.endpoint_id == endpoint_id)
            .order_by(Webhook.id)
            .limit(BATCH)
        )
        found = db.session.execute(some).all()
        if not found:
            db.session.rollback()
            return undelivered
        rows_changed(delete(Webhook).where(Webhook.id.in_(ids(one.id for one in found))))
        db.session.commit()
        last = found[-1].id
        undelivered += sum(one.state not in ("delivered", "cancelled") for one in found)


def _set_state(endpoint_id: int, state: str, why: str, action: str, who: Who) -> WebhookEndpoint:
    endpoint = find(endpoint_id, lock=True)
    if endpoint.state == "removing":
        raise EndpointUnknown(f"endpoint {endpoint_id} is being removed: remove it again")
    before = {"state": endpoint.state}
    endpoint.state, endpoint.why = state, why
    _record(action, endpoint, who, before=before, after={"state": state})
    return endpoint


def _record(
    action: str,
    endpoint: WebhookEndpoint,
    who: Who,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    audit.record(
        action,
        f"webhook_endpoint:{endpoint.id}",
        actor=who.actor,
        now=who.now,
        before=before,
        after=after,
        reason=who.reason,
    )


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def _known(events: Sequence[str]) -> list[str]:
    told = sorted(set(events)) or [COMPLETED, DISPUTED]
    for event in told:
        if event not in EVENTS:
            raise ValueRefused(f"there is no event {event}: there are {', '.join(sorted(EVENTS))}")
    return told


def _checked(url: str, *, with_password_hash: bool) -> SplitResult:
    """The parts of an address that can be told; what its name leads to is seen at each attempt."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueRefused(f"an endpoint is such as https://example.com/hooks, not {url!r}")
    if "@" in parts.netloc or parts.fragment or len(url) > URL_LIMIT:
        raise ValueRefused("an endpoint has neither a user nor a fragment, and 2,000 signs at most")
    plain = parts.scheme == "http"
    if plain and with_password_hash and not settings().development:
        raise ValueRefused("password hashes go by https only")
    allowed = reach.allowed(settings().webhook_allow)
    if plain and not any(allowed):
        raise ValueRefused("use https: plain http goes only to hosts of the setting WEBHOOK_ALLOW")
    host = parts.hostname or ""
    why = reach.refused(host, [host], allowed, plain=plain) if _is_number(host) else None
    if why:
        raise ValueRefused(why)
    return parts


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
