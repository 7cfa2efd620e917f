"""What bounds a tick: seats, the product's health, mail, bounces, the rate and what slows it."""

from __future__ import annotations

from datetime import datetime

from waitlist import leasing, postage
from waitlist.admission import health
from waitlist.models import Gate
from waitlist.policy import mailing, pace
from waitlist.policy.pace import Budget
from waitlist.postage import Postage


def rate_in_force(gate: Gate, *, now: datetime) -> float:
    """People an hour at which the allowance grows: those set, slowed by what slows the gate."""
    product = health.read()
    return pace.rate_in_force(
        gate.rate,
        factor=product.factor(gate, now=now),
        is_held=bool(product.holds_ticks(gate, now=now)),
        is_slowed=postage.read(now=now).is_slowed,
    )


def held(gate: Gate, *, now: datetime) -> str | None:
    """The word for why the product's health lets nobody in now, in `health.WHY`; None if it does.

    A wave by hand isn't bound by it, and its answer tells; a planned one waits.
    """
    return health.read().held(gate, now=now) or None


def of_tick(gate: Gate, *, now: datetime) -> Budget:
    """How many a tick may admit now, and the word for what bounds it; see `gate.LIMITS`."""
    mail = postage.read(now=now)
    return pace.tick_budget(
        paused=gate.paused,
        is_stopped=mail.stopped_at is not None,
        is_held=bool(health.read().holds_ticks(gate, now=now)),
        free=gate.capacity - gate.seats_used,
        mails=mailable(mail, now=now),
        by_rate=pace.allowed(gate.allowance),
        is_alarmed=mail.is_alarmed,
    )


def mailable(mail: Postage, *, now: datetime) -> int:
    """How many more invitations can be out within a quarter of an hour."""
    most = mail.within_horizon()
    return most - leasing.invitations_queued(until=now + mailing.HORIZON, most=most)
