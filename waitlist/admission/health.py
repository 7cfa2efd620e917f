"""The product's health: what it said of itself last, and how fast people may come by that.

One row. Signals write the one half of it; the other is the loop's, which the admission job
steps once a minute. What is decided stands in `policy.health`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Select, func, select, update

from waitlist import audit
from waitlist.admission import noshows
from waitlist.admission.noshows import Known
from waitlist.errors import FieldsInvalid
from waitlist.extensions import db, settings
from waitlist.models import Gate, Health, Registration
from waitlist.policy import health as policy
from waitlist.policy.health import Flow, Loop, Marks, Signal
from waitlist.policy.survival import NOTHING_KNOWN, Share

log = structlog.get_logger()
MOST = {"load": 1_000.0, "p95_ms": 1e7}

WHY = {
    "silent": "it hasn't said anything yet; see HEALTH_URL and HEALTH_TOKEN",
    "stale": "its last signal is too old: what it carries isn't known",
    "unhealthy": "it says that it is unhealthy, or doesn't answer",
    "overload": "it carries all that it can",
    "full": "those who are invited already will use all that it is trusted with",
}


class Said(NamedTuple):
    """What the product says of itself."""

    healthy: bool
    load: float | None = None
    p95_ms: float | None = None


class Standing(NamedTuple):
    """The row as it stands. `signal` None: the product never said anything."""

    signal: Signal | None
    source: str
    loop: Loop | None
    flow: Flow  # but for the rate

    def held(self, gate: Gate, *, now: datetime) -> str:
        """The word for why nobody may be let in by the product's signal; empty if people may."""
        if _is_ignored(gate, now=now):
            return ""
        if self.signal is None:
            return "silent" if settings().health_url or settings().health_token else ""
        return policy.held(self.signal, marks(), now)

    def holds_ticks(self, gate: Gate, *, now: datetime) -> str:
        """The same, or that those who are invited already will use all that there is."""
        if self.signal is None or _is_ignored(gate, now=now):
            return self.held(gate, now=now)
        flow = self.flow._replace(rate=gate.rate)
        return policy.holds_ticks(self.loop, self.signal, marks(), flow, now)

    def factor(self, gate: Gate, *, now: datetime) -> float:
        """The factor on the rate: 1 where the product never said anything, or isn't minded."""
        if self.signal is None or _is_ignored(gate, now=now):
            return 1.0
        flow = self.flow._replace(rate=gate.rate)
        return policy.factor(self.loop or policy.begin(self.signal, marks(), flow, now), flow)


@dataclass(frozen=True)
class Shown:
    """The product's health as an operator sees it."""

    source: str | None
    healthy: bool | None
    load: float | None
    p95_ms: float | None
    age_seconds: float | None
    held: str  # the word for why the ticks admit nobody, if they don't
    why: str
    factor: float
    trusted: float | None  # completions an hour
    arrivals: int  # of the last hour
    expected_1h: float  # completions, of open invitations
    expected_24h: float


def said(fields: Mapping[str, Any]) -> Said:
    """What these fields say; `FieldsInvalid` with a code for each that can't be right."""
    reasons = {"healthy": "boolean"} if not isinstance(fields.get("healthy"), bool) else {}
    figures = {name: fields.get(name) for name in MOST}
    for name, value in figures.items():
        if value is not None and not _is_figure(value, MOST[name]):
            reasons[name] = "figure"
    if reasons:
        raise FieldsInvalid(reasons)
    return Said(fields["healthy"], **figures)


def report(what: Said, *, source: str, now: datetime) -> None:
    """Take note of what the product says of itself; the next tick goes by it."""
    _write(**what._asdict(), source=source[:80], reported_at=now)
    db.session.commit()


def report_by_hand(what: Said, *, actor: str, reason: str, now: datetime) -> None:
    """The same by an operator, for the audit."""
    before = _told(read())
    _write(**what._asdict(), source=actor, reported_at=now)
    _record("health.report", before, what._asdict(), actor=actor, reason=reason, now=now)


def forget(*, actor: str, reason: str, now: datetime) -> None:
    """Forget what the product said, and what was made of it."""
    before = _told(read())
    nothing = dict.fromkeys(("healthy", "load", "p95_ms", "reported_at", "stepped_at"))
    _write(**nothing, source="", factor=1.0, state={})
    _record("health.forget", before, {}, actor=actor, reason=reason, now=now)


def watch(*, now: datetime) -> None:
    """Learn no-shows and step the loop: once a minute, whoever asks and how often."""
    known = noshows.learn(now=now)
    if known is None:
        db.session.rollback()
        return
    standing = read()
    if standing.signal is not None:  # the row of no-shows is locked: nobody steps beside us
        _step(standing, standing.signal, known, now=now)
    db.session.commit()


def read() -> Standing:
    """The row, at whatever time of a transaction."""
    row = db.session.execute(_reading()).one()
    signal = None
    if row.reported_at is not None:
        signal = Signal(bool(row.healthy), row.load, row.p95_ms, row.reported_at)
    flow = row.state.get("flow", {"arrivals": 0, "share": NOTHING_KNOWN, "busiest": 0.0})
    loop = row.state.get("loop")
    return Standing(
        signal,
        row.source,
        loop and Loop(**loop | {"seen_at": row.stepped_at, "stepped_at": _time(loop)}),
        Flow(0, flow["arrivals"], Share(*flow["share"]), flow["busiest"]),
    )


def shown(gate: Gate, *, now: datetime) -> Shown:
    """The product's health, what it makes of the rate, and who is expected."""
    standing, known = read(), noshows.known()
    signal, word = standing.signal, standing.holds_ticks(gate, now=now)
    return Shown(
        source=standing.source or None,
        healthy=signal and signal.healthy,
        load=signal and signal.load,
        p95_ms=signal and signal.p95_ms,
        age_seconds=signal and (now - signal.at).total_seconds(),
        held=word,
        why=WHY.get(word, ""),
        factor=standing.factor(gate, now=now),
        trusted=standing.loop and standing.loop.trusted,
        arrivals=_arrivals(now),
        expected_1h=known.expected(1),
        expected_24h=known.expected(noshows.AHEAD),
    )


def marks() -> Marks:
    """The marks that operators set."""
    of = settings()
    return Marks(of.health_load, of.health_p95_ms, of.health_stale)


def _step(standing: Standing, signal: Signal, known: Known, *, now: datetime) -> None:
    rate = db.session.scalars(select(Gate.rate)).one()
    flow = policy.flow(rate, _arrivals(now), known.curve, known.open_by_age)
    loop = policy.begin(signal, marks(), flow, now)
    if standing.loop is not None:
        loop = policy.step(standing.loop, signal, marks(), flow, now)
        if loop.trusted < standing.loop.trusted:
            log.warning("the product is trusted with less", **_figures(standing.loop, loop, flow))
    of_loop = {**loop._asdict(), "stepped_at": loop.stepped_at.isoformat()}
    of_flow = {"arrivals": flow.arrivals, "share": flow.share, "busiest": flow.busiest}
    del of_loop["seen_at"]  # it has a column
    state = {"loop": of_loop, "flow": of_flow}
    _write(factor=policy.factor(loop, flow), stepped_at=now, state=state)


def _figures(before: Loop, after: Loop, flow: Flow) -> dict[str, float]:
    figures = {"before": before.trusted, "after": after.trusted, "strain": after.strain}
    return {name: round(value, 2) for name, value in figures.items()} | {"arrivals": flow.arrivals}


def _arrivals(now: datetime) -> int:
    lately = Registration.created_at > now - policy.PERIOD
    return db.session.scalar(select(func.count()).select_from(Registration).where(lately)) or 0


def _is_ignored(gate: Gate, *, now: datetime) -> bool:
    until = gate.health_ignored_until
    return until is not None and now < until


def _is_figure(value: object, most: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0 <= value <= most  # where NaN isn't


def _time(loop: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(loop["stepped_at"])


def _told(standing: Standing) -> dict[str, Any]:
    signal = standing.signal
    return {} if signal is None else Said(signal.healthy, signal.load, signal.p95_ms)._asdict()


def _record(
    act: str,
    before: dict[str, Any],
    after: dict[str, Any],
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> None:
    audit.record(act, "health", actor=actor, now=now, before=before, after=after, reason=reason)
    db.session.commit()


def _write(**values: Any) -> None:
    db.session.execute(update(Health.__table__).values(**values))


@cache
def _reading() -> Select[Any]:
    row = Health.__table__.c
    return select(
        row.healthy, row.load, row.p95_ms, row.reported_at, row.source, row.stepped_at, row.state
    )
