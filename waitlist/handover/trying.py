"""A test webhook: sent at once, whatever the endpoint's state, and kept nowhere."""

from __future__ import annotations

import secrets
from datetime import datetime

from waitlist.extensions import db, reading
from waitlist.handover import endpoints, events, leasing
from waitlist.handover.sending import Answer, Connections, Letter


def send_test(endpoint_id: int, *, now: datetime) -> Answer:
    """What the endpoint answers to `webhook.test`, signed as any other."""
    with reading():
        endpoint = endpoints.find(endpoint_id)
        url, signing = endpoint.url, leasing.secrets_of(endpoint, now=now)
    db.session.rollback()
    body = events.body(events.TEST, now, {})
    with Connections(url) as there:
        return there.post(Letter(f"msg_test_{secrets.token_hex(8)}", body, signing, now))
