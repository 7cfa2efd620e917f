"""The ranges of 80% in simulated launches: how many of the waits they cover.

Every launch differs: rate, seats, no-shows, renewals, leavers, bounces, cohorts and their
opening, the product's health, an operator who changes the rate halfway. What is told is learned
in the same launch only, as the service does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

import pytest

from waitlist.rehearsal.engine import play
from waitlist.rehearsal.record import Watched
from waitlist.rehearsal.scenario import (
    Action,
    Cohort,
    Completing,
    Confirming,
    Gate,
    Joining,
    Mail,
    Product,
    Scenario,
    Steady,
    Surge,
)

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
LASTS = 6 * HOUR
LAUNCHES = 100  # of each kind


def launch(kind: str, seed: int) -> Scenario:
    """A launch of six hours, in which nobody has longer than four to finish."""
    dice = random.Random(f"{kind} {seed}")
    rate = round(10 ** dice.uniform(2.3, 4))
    share = dice.uniform(0.5, 0.9)
    changes = Action(at=dice.uniform(1.5, 4.5) * HOUR, rate=round(rate * dice.uniform(0.5, 2)))
    return Scenario(
        kind,
        duration=LASTS,
        step=5 * MINUTE,
        watched=100,
        cohorts=_cohorts(dice, rate),
        arrivals=(_arrivals(kind, dice, rate),),
        gate=Gate(round(rate * 6 * dice.choice([0.4, 0.7, 2, 2])), rate),
        confirming=Confirming(share=dice.uniform(0.7, 0.95), median=dice.uniform(2, 15) * MINUTE),
        completing=Completing(
            share=share,
            median=dice.uniform(10, 60) * MINUTE,
            sigma=1.2,
            within=dice.choice([2, 3, 4]) * HOUR,
            renewing=dice.uniform(0, 0.3),
            renewing_median=dice.uniform(20, 120) * MINUTE,
        ),
        joining=Joining(leave_a_day=dice.uniform(0, 0.2)),
        mail=Mail(
            a_minute=max(1, round(rate * dice.uniform(2, 20) / 60)), bounces=dice.uniform(0, 0.04)
        ),
        product=_product(dice, rate * share) if dice.random() < 0.3 else None,
        operator=(changes,) if dice.random() < 0.3 else (),
    )


def _cohorts(dice: random.Random, rate: int) -> tuple[Cohort, ...]:
    if dice.random() < 0.65:
        return (Cohort("general"),)
    return (
        Cohort("general", weight=dice.randint(1, 3)),
        Cohort(
            "preorder",
            opens=dice.choice([timedelta(), dice.uniform(0.5, 3) * HOUR]),
            weight=dice.randint(1, 3),
            imported=round(rate * dice.uniform(0.2, 3)),
            quota=dice.choice([None, None, rate * 2]),
        ),
    )


def _arrivals(kind: str, dice: random.Random, rate: int) -> Steady | Surge:
    if kind == "steady":
        return Steady(an_hour=rate * dice.uniform(0.8, 2.2))
    return Surge(
        an_hour=rate * dice.uniform(2, 8),
        peak=dice.uniform(0.3, 1.5) * HOUR,
        decay=dice.uniform(0.5, 2) * HOUR,
        rise=dice.uniform(5, 40) * MINUTE,
    )


def _product(dice: random.Random, an_hour: float) -> Product:
    limit = max(1, round(an_hour * dice.uniform(0.4, 1.5)))
    return Product(limit=limit, busy_for=HOUR, residual=dice.uniform(0, 0.03))


def _scored(kind: str) -> Iterator[Watched]:
    for seed in range(LAUNCHES):
        for one in play(launch(kind, seed), seed).watched:
            if one.estimate is not None and one.waited is not None:
                yield one


@pytest.mark.timeout(900)  # half a minute where nothing else runs
@pytest.mark.parametrize("kind", ["steady", "surge"])
def test_four_of_five_wait_as_they_were_told_if_the_settings_stay(kind: str) -> None:
    scored = list(_scored(kind))
    same = [one for one in scored if not one.settings_changed]
    others = [one for one in scored if one.settings_changed]
    covered = sum(one.was_right for one in same) / len(same)
    apart = sum(one.was_right for one in others) / len(others)
    print(
        f"{kind}: {covered:.1%} of {len(same):,} covered, "
        f"{sum(one.off < 0 for one in same) / len(same):.1%} were sooner; "
        f"{apart:.1%} of {len(others)} others"
    )
    assert len(same) > 30 * LAUNCHES
    assert len(others) > LAUNCHES
    assert 0.75 <= covered <= 0.90
