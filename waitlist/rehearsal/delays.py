"""How soon people do what they were asked to, by steps since they were asked."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np

from waitlist.rehearsal.arrays import Numbers
from waitlist.rehearsal.scenario import DAY, Completing, Confirming

RENEWED_WITHIN = 7 * DAY
RENEWING_SIGMA = 1.0


def of_confirming(confirming: Confirming, step: timedelta) -> Numbers:
    """When people confirm, after the mail that asks them to."""
    delay = confirming.median, confirming.sigma, confirming.within
    return chances(confirming.share, *delay, step)


def of_completing(completing: Completing, step: timedelta) -> Numbers:
    """When people finish, after their invitation."""
    delay = completing.median, completing.sigma, completing.within
    return chances(completing.share, *delay, step)


def of_renewing(completing: Completing, step: timedelta) -> Numbers:
    """When those who were late ask for a fresh invitation."""
    delay = completing.renewing_median, RENEWING_SIGMA, RENEWED_WITHIN
    return chances(completing.renewing, *delay, step)


def chances(
    share: float, median: timedelta, sigma: float, within: timedelta, step: timedelta
) -> Numbers:
    """For each step since: of those who haven't yet, the share who do it in that step.

    The delay is log-normal, and `share` of all people ever do it; `within` ends it.
    """
    edges = np.arange(math.ceil(within / step) + 1) * (step / median)
    logs = np.log(edges, where=edges > 0, out=np.full_like(edges, -math.inf))
    done = share * np.array([(1 + math.erf(log / (sigma * math.sqrt(2)))) / 2 for log in logs])
    left = 1 - done[:-1]
    return np.divide(np.diff(done), left, where=left > 0, out=np.zeros_like(left)).clip(0, 1)
