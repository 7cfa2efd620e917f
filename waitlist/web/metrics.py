"""The gate's figures for Prometheus: nothing here changes when a stranger joins."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from sqlalchemy import select

from waitlist import estimates, leasing, postage, undelivered
from waitlist.admission import bounds
from waitlist.extensions import db, reading
from waitlist.models import Gate
from waitlist.policy.routes import SECOND
from waitlist.web import asked

bp = Blueprint("metrics", __name__)

Figure = tuple[str, str, float | None]  # name, what it is, and how much


@bp.get("/metrics")
def metrics() -> Response:
    """The figures as they stand, in Prometheus' text format."""
    registry = CollectorRegistry()
    with reading():
        for name, what, value in _figures():
            if value is not None:
                Gauge(f"waitlist_{name}", what, registry=registry).set(value)
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _figures() -> Iterator[Figure]:
    gate = db.session.scalars(select(Gate)).one()
    yield "gate_capacity_seats", "Seats in all.", gate.capacity
    yield "gate_used_seats", "Seats held or taken.", gate.seats_used
    yield "gate_paused", "1 while nobody is admitted.", gate.paused
    yield "gate_rate_people_per_hour", "The admission rate as it was set.", gate.rate
    in_force = bounds.rate_in_force(gate, now=asked.now())
    yield "gate_rate_in_force_people_per_hour", "The rate that ticks go by now.", in_force
    yield "outbox_dead_messages", "Mails that can't go on by themselves.", undelivered.dead()
    mail = postage.read(now=asked.now())
    oldest = leasing.oldest_due(mail.held, now=asked.now(), most=leasing.INVITATIONS)
    waits = (asked.now() - oldest).total_seconds() if oldest else 0
    yield "outbox_oldest_invitation_seconds", "Since when the oldest invitation is due.", waits
    yield "mail_second_route", "1 while mail goes by the second route.", mail.route == SECOND
    fared = estimates.coverage()
    yield "estimates_scored", "Estimates put to the test, settings unchanged.", fared.scored
    yield "estimates_covered_ratio", "Of these, waits within the range.", fared.share
    yield "estimates_changed_scored", "The same, settings changed.", fared.changed_scored
    yield "estimates_changed_covered_ratio", "Of these likewise.", fared.changed_share
