"""What bounds a tick: free seats, mail that can still go, the allowance of the rate."""

from __future__ import annotations

from waitlist import outbox
from waitlist.extensions import settings
from waitlist.models import Gate
from waitlist.policy import pace
from waitlist.policy.pace import Budget


def of_tick(gate: Gate) -> Budget:
    """How many a tick may admit now, and the word for what bounds it; see `gate.LIMITS`."""
    return pace.tick_budget(
        paused=gate.paused,
        bounds={  # of equal bounds the first is told
            "capacity": gate.capacity - gate.seats_used,
            "mail": pace.mail_budget(settings().mail_per_hour, outbox.invitations_queued()),
            "rate": pace.allowed(gate.allowance),
        },
    )
