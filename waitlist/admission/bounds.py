"""What bounds a tick: seats, the product's health, mail, bounces, the allowance of the rate."""

from __future__ import annotations

from datetime import datetime

from waitlist import leasing, postage
from waitlist.admission import health
from waitlist.models import Gate
from waitlist.policy import bounces, mailing, pace
from waitlist.policy.pace import Budget
from waitlist.postage import Postage


def rate_in_force(gate: Gate, *, now: datetime) -> float:
    """People an hour at which the allowance grows: those set, slowed by what slows the gate."""
    product = health.read()
    if product.holds_ticks(gate, now=now):
        return 0.0
    return gate.rate * product.factor(gate, now=now) * _by_bounces(postage.read(now=now))


def held(gate: Gate, *, now: datetime) -> str | None:
    """The word for why the product's health lets nobody in now, in `health.WHY`; None if it does.

    A wave by hand isn't bound by it, and its answer tells; a planned one waits.
    """
    return health.read().held(gate, now=now) or None


def of_tick(gate: Gate, *, now: datetime) -> Budget:
    """How many a tick may admit now, and the word for what bounds it; see `gate.LIMITS`."""
    mail = postage.read(now=now)
    bounds = {  # of equal bounds the first is told
        "capacity": gate.capacity - gate.seats_used,
        "mail": mailable(mail, now=now),
        "rate": pace.allowed(gate.allowance),
    }
    if health.read().holds_ticks(gate, now=now):
        bounds = {"health": 0, **bounds}
    if mail.stopped_at is not None:
        bounds = {"bounces": 0, **bounds}
    return pace.tick_budget(paused=gate.paused, bounds=bounds)


def _by_bounces(mail: Postage) -> float:
    return 1 / bounces.SLOWED if mail.is_slowed else 1.0


def mailable(mail: Postage, *, now: datetime) -> int:
    """How many more invitations can be out within a quarter of an hour."""
    most = mail.within_horizon()
    return most - leasing.invitations_queued(until=now + mailing.HORIZON, most=most)
