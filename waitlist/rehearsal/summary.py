"""The figures of a rehearsal that was played."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import numpy as np

from waitlist.rehearsal.arrays import Numbers
from waitlist.rehearsal.record import LIMITS, Played
from waitlist.rehearsal.scenario import HOUR

HALF = 0.5


def summary(played: Played) -> dict[str, Any]:
    """Everything that is told of a rehearsal, as JSON. Times are hours, shares 0 to 1."""
    scenario = played.scenario
    imported = sum(cohort.imported for cohort in scenario.cohorts)
    seats = played.total("unmailed") + played.total("invited") + played.total("in")
    peak = float(played.series["load"].max())
    return {
        "scenario": scenario.name,
        "seed": played.seed,
        "hours": scenario.duration / HOUR,
        "people": imported + int(played.total("came").sum()),
        "imported": imported,
        "joined": int(played.total("joined").sum()),
        "refused": int(played.total("refused").sum()),
        "turned_away": _last(played, "turned_away"),
        "confirmed": int(played.total("confirmed").sum()),
        "invited": int(played.total("admitted").sum()),
        "registered": _last(played, "in"),
        "no_shows": int(played.total("expired").sum()),
        "still_waiting": _last(played, "waiting"),
        "longest_line": int(played.total("waiting").max()),
        "left": _last(played, "left"),
        "bounced": _last(played, "bounced"),
        "wait_median": _wait(played, 0.5),
        "wait_p90": _wait(played, 0.9),
        "seats_used": int(seats[-1]),
        "capacity": int(played.series["capacity"][-1]),
        "seats_over_capacity": played.seats_over_capacity,
        "load_peak": peak if scenario.product else None,
        "load_peak_over_limit": max(0.0, peak - 1) if scenario.product else None,
        "capacity_use": _capacity_use(played, seats),
        **_estimates(played),
        "mails": int(played.series["mails"].sum()),
        "limited_hours": _limited(played),
        "cohorts": {
            cohort.name: {
                "invited": int(played.series["admitted"][nth].sum()),
                "registered": int(played.series["in"][nth, -1]),
                "still_waiting": int(played.series["waiting"][nth, -1]),
            }
            for nth, cohort in enumerate(scenario.cohorts)
        },
    }


def _last(played: Played, name: str) -> int:
    return int(played.total(name)[-1])


def _wait(played: Played, share: float) -> float | None:
    """The hours that so many of those let in waited at most, since they joined."""
    people = played.waits.sum()
    if not people:
        return None
    steps = int(np.searchsorted(np.cumsum(played.waits), share * people))
    return steps * (played.scenario.step / HOUR)


def _capacity_use(played: Played, seats: Numbers) -> float | None:
    """How much of what there was is used while people wait and the gate is open.

    That is the product's limit or the seats, whichever is nearer to its end; and it counts
    from when half of it was used for the first time, as nobody can come before they are asked.
    """
    capacity = np.maximum(1, played.series["capacity"])
    use = np.minimum(1.0, np.maximum(seats / capacity, played.series["load"]))
    limits = [LIMITS.index(word) for word in ("nobody", "paused")]
    wanted = ~np.isin(played.series["limit"], limits)
    begun = np.maximum.accumulate(use >= HALF)
    return float(use[wanted & begun].mean()) if (wanted & begun).any() else None


def _estimates(played: Played) -> dict[str, Any]:
    """How often the wait lay in the range that was told, where the settings stayed the same."""
    told = [one for one in played.watched if one.estimate and one.admitted_at is not None]
    scored = [one for one in told if not one.settings_changed]
    return {
        "estimates": len(scored),
        "estimates_settings_changed": len(told) - len(scored),
        "estimate_coverage": (
            sum(one.was_right for one in scored) / len(scored) if scored else None
        ),
    }


def _limited(played: Played) -> dict[str, float]:
    """For how many hours each limit was what held people back."""
    steps = Counter(LIMITS[int(code)] for code in played.series["limit"])
    hours = played.scenario.step / timedelta(hours=1)
    return {limit: round(number * hours, 2) for limit, number in steps.most_common()}
