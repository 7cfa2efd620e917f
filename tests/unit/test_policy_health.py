"""The loop's decisions, one by one; whole launches are in test_loop_launches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitlist.policy import health
from waitlist.policy.health import FLOOR, LOW, PERIOD, Flow, Loop, Marks, Signal
from waitlist.policy.survival import NOTHING_KNOWN, Share

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
MARKS = Marks(load=0.8, p95_ms=None, stale=timedelta(seconds=60))
BY_LATENCY = MARKS._replace(p95_ms=200.0)
KNOWN = Share(0.5, 0.45, 0.55)


def _signal(load: float | None = None, *, healthy: bool = True, at: datetime = NOW) -> Signal:
    return Signal(healthy, load, None, at)


def _loop(trusted: float, strain: float, **more: bool) -> Loop:
    return Loop(trusted, strain, NOW - timedelta(minutes=1), NOW - PERIOD, **more)


def _flow(arrivals: int, rate: int = 1_000, share: Share = KNOWN, busiest: float = 0) -> Flow:
    return Flow(rate, arrivals, share, busiest)


def _next(loop: Loop, load: float, flow: Flow) -> Loop:
    return health.step(loop, _signal(load), MARKS, flow, NOW)


@pytest.mark.parametrize(
    "signal,marks,word",
    [
        (_signal(0.99), MARKS, ""),
        (_signal(), MARKS, ""),
        (_signal(at=NOW - timedelta(seconds=60)), MARKS, ""),
        (_signal(at=NOW - timedelta(seconds=61)), MARKS, "stale"),
        (_signal(at=NOW + timedelta(seconds=61)), MARKS, "stale"),
        (_signal(healthy=False, at=NOW - timedelta(hours=1)), MARKS, "stale"),
        (_signal(0.1, healthy=False), MARKS, "unhealthy"),
        (_signal(1.0), MARKS, "overload"),
        (_signal(0.5)._replace(p95_ms=399.0), BY_LATENCY, ""),
        (_signal(0.5)._replace(p95_ms=400.0), BY_LATENCY, "overload"),
        (_signal(0.5)._replace(p95_ms=9e9), MARKS, ""),
    ],
)
def test_what_holds_the_gate(signal: Signal, marks: Marks, word: str) -> None:
    assert health.held(signal, marks, NOW) == word


def test_the_worse_of_load_and_latency_counts() -> None:
    assert health.strain(_signal(0.4), MARKS) == pytest.approx(0.5)
    assert health.strain(_signal(0.4)._replace(p95_ms=150.0), BY_LATENCY) == pytest.approx(0.75)
    assert health.strain(_signal(0.8)._replace(p95_ms=150.0), BY_LATENCY) == pytest.approx(1.0)
    assert health.strain(_signal(), BY_LATENCY) == 0


def test_it_begins_with_a_tenth_of_the_rate_or_with_what_comes_already() -> None:
    few = health.begin(_signal(0.1), MARKS, _flow(0, share=NOTHING_KNOWN), NOW)
    assert (few.trusted, health.factor(few, _flow(0, share=NOTHING_KNOWN))) == (100, 0.1)
    assert health.begin(_signal(0.1), MARKS, _flow(400), NOW).trusted == 400


def test_far_below_the_target_it_doubles_once_what_is_trusted_came() -> None:
    assert _next(_loop(100, 0.1), 0.08, _flow(100)).trusted == 200
    assert _next(_loop(100, 0.1), 0.08, _flow(30)).trusted == 100
    assert _next(_loop(100, 0.1), 0.08, _flow(100, busiest=180)).trusted == 100, "more is to come"


def test_it_doubles_no_further_than_to_half_of_what_the_product_carries() -> None:
    assert _next(_loop(100, 0.3), 0.24, _flow(100)).trusted == pytest.approx(100 / 0.3 / 2)
    assert _next(_loop(100, 0.4), 0.32, _flow(100)).trusted == pytest.approx(100 + 27.5)


def test_of_a_load_that_rises_the_last_is_believed() -> None:
    assert _next(_loop(100, 0.1), 0.24, _flow(100)).trusted == pytest.approx(100 / 0.3 / 2)


def test_near_the_target_it_grows_by_equal_steps() -> None:
    grown = [_next(_loop(trusted, 0.6), 0.48, _flow(trusted)).trusted for trusted in (200, 400)]
    assert grown == pytest.approx([200 + 27.5, 400 + 27.5]), "a twentieth of what the rate brings"


@pytest.mark.parametrize("strain", [LOW, 0.9, 1.0])
def test_between_the_marks_it_stays_as_it_is(strain: float) -> None:
    assert _next(_loop(100, strain), strain * 0.8, _flow(100)).trusted == 100


def test_above_the_target_it_falls_to_what_the_product_carries() -> None:
    assert _next(_loop(100, 1.2), 0.96, _flow(100)).trusted == pytest.approx(100 * 0.9 / 1.2)
    assert _next(_loop(100, 3.0), 0.96, _flow(100)).trusted == 50, "by half at most"


def test_what_is_seen_well_bounds_what_was_trusted_untried() -> None:
    loop = _loop(1_000, 0.2)
    assert _next(loop, 0.16, _flow(50)).trusted == pytest.approx(250)
    assert _next(loop._replace(slow_start=False), 0.16, _flow(50)).trusted == 1_000


def test_after_a_fall_one_that_says_no_load_grows_by_equal_steps_only() -> None:
    blind = _loop(100, 0.0)
    assert _next(blind, 0.0, _flow(100)).trusted == 200
    assert _next(blind._replace(slow_start=False), 0.0, _flow(100)).trusted == pytest.approx(127.5)


def test_a_failure_halves_at_once_and_then_once_an_hour() -> None:
    loop = Loop(100, 0.5, NOW, NOW)
    fails = [_signal(0.4, healthy=False), _signal(1.5)]
    for signal in fails:
        fell = health.step(loop, signal, MARKS, _flow(100), NOW + timedelta(seconds=10))
        assert (fell.trusted, fell.fell, fell.slow_start) == (50, True, False)
        soon = NOW + timedelta(minutes=30)
        again = health.step(fell, signal._replace(at=soon), MARKS, _flow(100), soon)
        assert again.trusted == 50
        late = NOW + timedelta(minutes=61)
        assert health.step(fell, signal._replace(at=late), MARKS, _flow(9), late).trusted == 25


def test_a_silence_halves_each_hour_that_it_lasts_but_not_at_once() -> None:
    loop = Loop(100, 0.5, NOW, NOW)
    assert health.step(loop, _signal(0.4), MARKS, _flow(9), NOW + 0.9 * PERIOD).trusted == 100
    assert health.step(loop, _signal(0.4), MARKS, _flow(9), NOW + PERIOD).trusted == 50


def test_the_factor_goes_by_how_many_may_come_of_those_invited() -> None:
    loop = _loop(110, 0.5)
    assert health.factor(loop, _flow(0)) == pytest.approx(110 / 550)
    assert health.factor(loop, _flow(0, share=NOTHING_KNOWN)) == pytest.approx(0.11)
    assert health.factor(loop, _flow(0, rate=50)) == 1
    assert health.factor(loop, _flow(0, rate=10**6)) == FLOOR
    assert health.factor(loop, _flow(0, rate=0)) == 1


def test_the_pipeline_is_full_once_it_will_use_all_in_an_hour_to_come() -> None:
    loop = _loop(100, 0.5)
    assert not health.is_full(loop, _flow(0, busiest=99.9))
    assert health.is_full(loop, _flow(0, busiest=100))
    assert not health.is_full(loop._replace(trusted=0), _flow(0, busiest=5)), "the floor is 5.5"


def test_the_busiest_hour_to_come_is_told_with_care() -> None:
    curve = [Share(0.1, 0.05, 0.2), Share(0.3, 0.2, 0.5)]
    told = health.flow(100, 7, curve, {0: 10.0})
    assert told._replace(busiest=0) == Flow(100, 7, curve[1], 0)
    assert told.busiest == pytest.approx(3), "in the second hour, of half of them at most"
    nothing = health.flow(100, 0, [NOTHING_KNOWN] * 3, {0: 10.0})
    assert nothing.busiest == 10


shares = st.floats(0.001, 1).flatmap(
    lambda high: st.floats(0, high).map(lambda of: Share(of, 0.0, high))
)


@given(
    trusted=st.floats(0, 1e6),
    strain=st.floats(0, 50),
    load=st.one_of(st.none(), st.floats(0, 50)),
    healthy=st.booleans(),
    arrivals=st.integers(0, 10**6),
    rate=st.integers(0, 10**6),
    share=shares,
    minutes=st.floats(0, 300),
    fell=st.booleans(),
    slow=st.booleans(),
)
def test_whatever_happens_it_never_leaps(
    trusted: float,
    strain: float,
    load: float | None,
    healthy: bool,
    arrivals: int,
    rate: int,
    share: Share,
    minutes: float,
    fell: bool,
    slow: bool,
) -> None:
    now = NOW + timedelta(minutes=minutes)
    flow = Flow(rate, arrivals, share, 0)
    floor = FLOOR * flow.careful
    loop = Loop(max(trusted, floor), strain, NOW, NOW, fell, slow)
    then = health.step(loop, _signal(load, healthy=healthy, at=now), MARKS, flow, now)
    assert floor <= then.trusted <= max(2 * loop.trusted, floor)
    assert FLOOR <= health.factor(then, flow) <= 1
    assert 0 <= then.strain <= max(strain, (load or 0) / MARKS.load) + 1e-9
    if then.trusted > loop.trusted:
        assert healthy
        assert max(then.strain, (load or 0) / MARKS.load) < LOW
        assert minutes >= 60
    if minutes < 60 and (fell or (healthy and (load or 0) < 1)):
        assert then.trusted == loop.trusted
