"""A rehearsed launch: everybody is somewhere, seats hold, and the same seed gives the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waitlist.rehearsal import (
    Action,
    Cohort,
    Completing,
    Gate,
    Joining,
    Mail,
    Product,
    Scenario,
    Silence,
    Steady,
    Surge,
    play,
)
from waitlist.rehearsal.engine import Launch
from waitlist.rehearsal.record import STANDING

AN_HOUR = 12  # steps
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SILENCE = Silence(at=10 * HOUR, lasts=3 * HOUR)

times = st.integers(0, 1_300).map(lambda minutes: minutes * MINUTE)
actions = st.one_of(
    st.builds(Action, at=times, capacity=st.integers(0, 3_000)),
    st.builds(Action, at=times, rate=st.integers(0, 2_000)),
    st.builds(Action, at=times, do=st.sampled_from(["pause", "resume", "halt"])),
    st.builds(
        Action, at=times, do=st.sampled_from(["open", "close"]), cohort=st.sampled_from("ab")
    ),
    st.builds(
        Action,
        at=times,
        wave=st.integers(1, 900),
        over=st.none() | st.just(5 * HOUR),
        cohort=st.none() | st.sampled_from("ab"),
    ),
    st.builds(Action, at=times, joining=st.sampled_from(["open", "closed"])),
)
cohorts = st.tuples(
    *(
        st.builds(
            Cohort,
            name=st.just(name),
            opens=st.none() | times,
            quota=st.none() | st.integers(0, 900),
            weight=st.integers(1, 5),
            imported=st.integers(0, 2_000),
            hours=st.sampled_from([None, "09:00-17:00", "22:00-06:00"]),
            zone=st.sampled_from(["UTC", "Pacific/Auckland"]),
        )
        for name in "ab"
    )
)
scenarios = st.builds(
    Scenario,
    name=st.just("any"),
    duration=st.just(DAY),
    step=st.sampled_from([HOUR, 10 * MINUTE, 37 * MINUTE]),
    cohorts=cohorts,
    arrivals=st.tuples(
        st.builds(Steady, an_hour=st.integers(1, 40), cohort=st.just("a")),
        st.builds(
            Surge,
            an_hour=st.integers(1, 900),
            peak=times,
            decay=st.just(4 * HOUR),
            cohort=st.just("b"),
        ),
    ),
    gate=st.builds(Gate, st.integers(0, 3_000), st.integers(0, 2_000), st.booleans()),
    completing=st.builds(
        Completing,
        share=st.floats(0, 1),
        median=st.just(HOUR),
        within=st.just(5 * HOUR),
        renewing=st.floats(0, 1),
        renewing_median=st.just(2 * HOUR),
    ),
    joining=st.builds(
        Joining, a_second=st.just(1), again=st.floats(0, 1), leave_a_day=st.floats(0, 0.5)
    ),
    mail=st.builds(
        Mail,
        a_minute=st.integers(1, 100),
        a_day=st.none() | st.integers(1, 2_000),
        bounces=st.floats(0, 0.3),
        refused=st.floats(0, 0.3),
        silences=st.sampled_from([(), (SILENCE,)]),
    ),
    product=st.none() | st.builds(Product, limit=st.integers(1, 300), silences=st.just((SILENCE,))),
    operator=st.lists(actions, max_size=6).map(tuple),
)


def _played(scenario: Scenario, seed: int = 1) -> Iterator[tuple[int, Launch]]:
    """Each step after it was played, and the launch as it is then."""
    launch = Launch(scenario, seed)
    for step in range(scenario.steps):
        launch.play_step(step)
        yield step, launch


@given(scenarios)
@settings(deadline=None, max_examples=40)
def test_at_each_step_everybody_is_somewhere_and_every_seat_is_somebodys(
    scenario: Scenario,
) -> None:
    """P3 and P4, in a rehearsal."""
    came = np.array([cohort.imported for cohort in scenario.cohorts])
    for step, launch in _played(scenario):
        came += launch.series["came"][:, step]
        standing = [launch.series[name][:, step] for name in STANDING]
        assert (np.sum(standing, axis=0) == came).all()
        assert np.min(standing) >= 0
        seats = sum(launch.series[name][:, step] for name in ("unmailed", "invited", "in"))
        assert [row.seats_used for row in launch.gate.cohorts] == seats.tolist()
        assert launch.gate.seats_used == seats.sum()
        admitted = launch.series["admitted"][:, step]
        assert not (launch.gate.paused and admitted.any())
        for used, cohort, people in zip(seats, scenario.cohorts, admitted, strict=True):
            assert cohort.quota is None or not people or used <= cohort.quota
    assert launch.played.seats_over_capacity == 0


def _launch(**changes: object) -> Scenario:
    values: dict[str, object] = {
        "duration": DAY,
        "step": 5 * MINUTE,
        "arrivals": (Steady(an_hour=500),),
        "gate": Gate(10_000, 200),
        "product": Product(limit=500),
        "completing": Completing(median=20 * MINUTE),
    }
    return Scenario("launch", **values | changes)  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_launch_and_another_one_another() -> None:
    first, again, other = play(_launch(), 7), play(_launch(), 7), play(_launch(), 8)
    for name, values in first.series.items():
        assert np.array_equal(values, again.series[name], equal_nan=True), name
    assert [one.admitted_at for one in first.watched] == [one.admitted_at for one in again.watched]
    assert not np.array_equal(first.series["waiting"], other.series["waiting"])


def test_the_rate_is_kept_whatever_the_step() -> None:
    for step in (timedelta(seconds=1), MINUTE, 10 * MINUTE):
        played = play(
            _launch(
                duration=HOUR * 2,
                step=step,
                cohorts=(Cohort("general", imported=900),),
                product=None,
            )
        )
        assert played.total("admitted").sum() == pytest.approx(400, abs=1)


def test_who_is_watched_waits_as_long_as_those_before_them_take() -> None:
    """At 360 an hour one person enters every ten seconds."""
    line = (Cohort("general", imported=500),)
    played = play(
        _launch(cohorts=line, arrivals=(), gate=Gate(500, 360), product=None, duration=2 * HOUR,
                joining=Joining(leave_a_day=0.0), completing=Completing(renewing=0.0))
    )  # fmt: skip
    assert len(played.watched) > 200
    for one in played.watched:
        assert one.waited == pytest.approx(10 * (one.ahead + 1), abs=11)


def test_of_those_invited_as_many_finish_as_the_scenario_says_and_seats_of_others_come_back() -> (
    None
):
    scenario = _launch(
        cohorts=(Cohort("general", imported=20_000),),
        arrivals=(),
        gate=Gate(5_000, 60_000),
        product=None,
        duration=6 * DAY,
        step=10 * MINUTE,
        completing=Completing(share=0.6, renewing=0.0),
    )
    played = play(scenario)
    hours_later = played.series["in"][0, 24 * 6 * 3]
    assert hours_later == pytest.approx(0.6 * 5_000, rel=0.05)
    assert played.total("expired").sum() > 1_900
    assert played.total("admitted").sum() > 6_900, "the seats that came back were given away again"


def test_who_comes_back_late_goes_before_the_line() -> None:
    scenario = _launch(
        cohorts=(Cohort("general", imported=50_000),),
        arrivals=(),
        gate=Gate(50_000, 300),
        product=None,
        duration=8 * DAY,
        step=10 * MINUTE,
        completing=Completing(share=0.0, renewing=1.0),
    )
    played = play(scenario)
    lapsed, waiting = played.total("lapsed"), played.total("waiting")
    assert played.total("expired").sum() > 10_000
    assert lapsed[-1] < played.total("expired").sum() / 2
    a_day = 6 * 24  # steps
    assert waiting[6 * a_day] - waiting[7 * a_day] < (waiting[0] - waiting[a_day]) / 2


def test_a_product_at_its_limit_is_never_driven_past_it_and_is_used() -> None:
    played = play(
        _launch(
            duration=4 * DAY,
            cohorts=(Cohort("general", imported=200_000),),
            gate=Gate(200_000, 2_000),
            product=Product(limit=400, residual=0.0),
        )
    )
    load = played.series["load"]
    assert load.max() < 1
    assert load[len(load) // 2 :].mean() > 0.6


def test_while_the_products_signal_is_away_nobody_is_let_in() -> None:
    away = Silence(at=10 * HOUR, lasts=2 * HOUR)
    played = play(_launch(product=Product(limit=5_000, silences=(away,))))
    admitted = played.total("admitted")
    assert admitted[9 * AN_HOUR : 10 * AN_HOUR].sum() > 0
    assert admitted[10 * AN_HOUR + 2 : 12 * AN_HOUR].sum() == 0
    assert admitted[12 * AN_HOUR : 14 * AN_HOUR].sum() > 0


def test_while_the_mail_server_is_away_no_more_are_let_in_than_can_be_mailed_soon() -> None:
    away = Silence(at=10 * HOUR, lasts=5 * HOUR)
    mail = Mail(a_minute=10, silences=(away,))
    line = (Cohort("general", imported=20_000),)
    played = play(_launch(mail=mail, cohorts=line, gate=Gate(20_000, 400), product=None))
    assert played.total("unmailed")[15 * AN_HOUR - 1] == pytest.approx(150, abs=10)
    assert played.total("unmailed")[17 * AN_HOUR] < 60


def test_too_many_bounces_stop_the_mail_and_hold_the_gate() -> None:
    good, bad = (play(_launch(mail=Mail(bounces=share), product=None)) for share in (0.0, 0.5))
    assert bad.total("admitted").sum() < good.total("admitted").sum() / 4


def test_stopped_by_bounces_it_goes_on_when_the_operator_has_looked() -> None:
    looked = Action(at=12 * HOUR, do="accept-bounces")
    played = play(_launch(mail=Mail(bounces=0.5), product=None, operator=(looked,)))
    admitted = played.total("admitted")
    assert admitted[6 * AN_HOUR : 12 * AN_HOUR].sum() == 0
    assert admitted[12 * AN_HOUR :].sum() > 0


def test_joining_that_is_closed_turns_everyone_away() -> None:
    closed = Action(at=HOUR, joining="closed")
    played = play(_launch(operator=(closed,), product=None))
    assert played.total("joined")[AN_HOUR:].sum() == 0
    assert played.total("turned_away")[-1] == played.total("came")[AN_HOUR:].sum()


@pytest.mark.parametrize("mail", [Mail(a_minute=1), Mail(a_day=600), Mail(warm_up=(600, 600))])
def test_what_is_foretold_counts_with_the_budgets_of_mail(mail: Mail) -> None:
    """From the start: else it would foretell that the last comes in within an hour, at the rate."""
    line, gate = (Cohort("general", imported=1_000),), Gate(1_000, 1_000)
    more = {"cohorts": line, "arrivals": (), "gate": gate, "product": None, "watched": 2_000}

    def foretold(mail: Mail) -> float:
        watched = play(_launch(mail=mail, **more)).watched
        return max(one.foretold for one in watched if one.at == 0) / HOUR.total_seconds()

    assert foretold(Mail()) < 1.1
    assert foretold(mail) > 6
