"""The gate's figures for Prometheus: nothing here changes when a stranger joins."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from sqlalchemy import select

from waitlist import estimates, lately, leasing, postage, undelivered
from waitlist.admission import bounds, laststep
from waitlist.extensions import db, reading
from waitlist.handover import showing
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
        for name, what, value in (*_figures(), *_of_last_step(), *_handover()):
            if value is not None:
                Gauge(f"waitlist_{name}", what, registry=registry).set(value)
        _add_kinds(registry)
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


def _handover() -> Iterator[Figure]:
    found = showing.figures()
    age = 0.0 if found.oldest_at is None else (asked.now() - found.oldest_at).total_seconds()
    yield "webhooks_pending", "Webhooks that are owed to the product.", found.pending
    yield "webhooks_attention", "Webhooks that wait for an operator.", found.attention
    yield "webhooks_oldest_pending_seconds", "For how long the longest is owed.", age
    yield "webhook_endpoints_away", "Endpoints that don't answer or are disabled.", found.away


def _of_last_step() -> Iterator[Figure]:
    tries = lately.read("last step", lambda: laststep.seen(now=asked.now()))
    alarm_at = db.session.scalars(select(Gate.last_step_alarm_at)).one()
    yield "last_step_people", "Who tried the last step within ten minutes.", tries.people
    yield "last_step_failing_ratio", "Of these, who met an error of ours.", tries.share
    yield "last_step_alarm", "1 while these are too many, and the gate goes slower.", bool(alarm_at)


def _add_kinds(registry: CollectorRegistry) -> None:
    kinds = lately.read("last step kinds", lambda: laststep.kinds(now=asked.now()))
    name, what = "waitlist_last_step_failures", "Tries that failed within ten minutes."
    gauge = Gauge(name, what, ["kind"], registry=registry)
    for kind, times in kinds.items():
        gauge.labels(kind).set(times)
