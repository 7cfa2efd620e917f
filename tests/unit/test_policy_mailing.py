"""The pace of mail: a bucket for the minute, a budget for the day, and when the nth is out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitlist.policy import mailing
from waitlist.policy.mailing import MINUTE, Pace, Spent

NOON = datetime(2027, 2, 21, 12, 0, tzinfo=UTC)
MIDNIGHT = datetime(2027, 2, 22, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
FRESH = Spent()
STEPS = st.lists(
    st.tuples(st.timedeltas(timedelta(), 2 * MINUTE), st.integers(1, 100), st.booleans()),
    max_size=60,
)


def _fresh(pace: Pace, now: datetime = NOON) -> Spent:
    return mailing.refilled(pace, FRESH, now)


def _send(pace: Pace, spent: Spent, now: datetime, most: int = 10**6) -> tuple[int, Spent]:
    """How many invitations go at `now`, and what is spent then."""
    spent = mailing.refilled(pace, spent, now)
    people = min(most, mailing.grant(pace, spent).invitations)
    return people, mailing.spend(pace, spent, invitations=people, others=0)


def _sent_at(pace: Pace, how_many: int, now: datetime, step: timedelta) -> Sequence[datetime]:
    """When each of so many invitations goes, if a worker looks every `step`."""
    spent, sent = FRESH, list[datetime]()
    while len(sent) < how_many:
        people, spent = _send(pace, spent, now, how_many - len(sent))
        sent += [now] * people
        now += step
    return sent


@given(st.integers(1, 500), STEPS)
def test_no_minute_sees_more_than_its_budget_wherever_it_begins(
    per_minute: int, steps: list[tuple[timedelta, int, bool]]
) -> None:
    pace, now, spent = Pace(per_minute), NOON, FRESH
    went: list[tuple[datetime, int]] = []
    for wait, most, are_invitations in steps:
        now += wait
        spent = mailing.refilled(pace, spent, now)
        people = min(most, mailing.grant(pace, spent).mails)
        these = {"invitations": people * are_invitations, "others": people * (not are_invitations)}
        spent = mailing.spend(pace, spent, **these)
        went.append((now, people))
    for begin, _ in went:
        assert sum(n for at, n in went if begin <= at < begin + MINUTE) <= per_minute


@pytest.mark.parametrize("per_minute", [1, 2, 29, 30, 31, 60, 600, 6_000, 100_000])
def test_in_the_long_run_nearly_all_of_the_budget_is_used(per_minute: int) -> None:
    pace, spent, sent = Pace(per_minute), FRESH, 0
    for second in range(600):
        people, spent = _send(pace, spent, NOON + second * SECOND)
        sent += people
    assert per_minute * 10 * 0.96 <= sent <= per_minute * 10


def test_what_is_granted_and_not_used_stays() -> None:
    pace = Pace(60)
    spent = _fresh(pace)
    assert mailing.grant(pace, spent).mails == 3
    assert mailing.grant(pace, mailing.refilled(pace, spent, NOON)).mails == 3


def test_two_who_share_the_budget_get_no_more_than_one() -> None:
    pace = Pace(600)
    first, spent = _send(pace, FRESH, NOON, 15)
    second, spent = _send(pace, spent, NOON - timedelta(milliseconds=300))
    assert (first, second) == (15, 6)
    assert _send(pace, spent, NOON)[0] == 0


def test_what_didnt_go_after_all_is_given_back() -> None:
    pace = Pace(60, per_day=100)
    went = mailing.spend(pace, _fresh(pace), invitations=2, others=0)
    back = mailing.spend(pace, went, invitations=-2, others=0)
    assert back == _fresh(pace)
    assert back.first_day is None


def test_a_clock_that_steps_an_hour_on_gives_no_lump() -> None:
    """P18."""
    pace = Pace(600)
    _, spent = _send(pace, FRESH, NOON)
    assert _send(pace, spent, NOON + HOUR)[0] == 21


def test_a_clock_that_steps_back_stops_no_mail() -> None:
    """P18."""
    pace = Pace(600, per_day=1_000)
    _, spent = _send(pace, FRESH, NOON + 400 * 24 * HOUR)
    assert _send(pace, spent, NOON)[0] == 0
    _, spent = _send(pace, spent, NOON)
    assert _send(pace, spent, NOON + MINUTE)[0] == 21


def test_of_a_day_no_more_goes_than_its_budget_and_the_last_tenth_isnt_for_invitations() -> None:
    pace = Pace(6_000, per_day=100)
    spent = mailing.spend(pace, _fresh(pace), invitations=85, others=0)
    spent = mailing.refilled(pace, spent, NOON + MINUTE)
    assert mailing.grant(pace, spent)[:2] == (15, 5)
    spent = mailing.spend(pace, spent, invitations=5, others=9)
    assert mailing.grant(pace, spent)[:2] == (1, 0)
    assert mailing.left_today(pace, spent) == 1
    spent = mailing.spend(pace, spent, invitations=0, others=1)
    assert mailing.grant(pace, spent)[:2] == (0, 0)
    assert mailing.waits_until(pace, spent) == MIDNIGHT


def test_it_tells_when_mail_goes_on() -> None:
    pace = Pace(60, per_day=100)
    spent = _fresh(pace)
    assert mailing.waits_until(pace, spent) is None
    spent = mailing.spend(pace, spent, invitations=3, others=0)
    at = mailing.waits_until(pace, spent)
    assert at is not None
    assert mailing.grant(pace, mailing.refilled(pace, spent, at - SECOND / 100)).mails == 0
    assert mailing.grant(pace, mailing.refilled(pace, spent, at)).mails == 1
    spent = mailing.spend(pace, spent, invitations=0, others=87)
    assert mailing.waits_until(pace, spent, for_invitations=True) == MIDNIGHT


def test_a_day_is_one_of_utc() -> None:
    pace = Pace(6_000, per_day=10)
    spent = mailing.spend(pace, _fresh(pace, MIDNIGHT - SECOND), invitations=9, others=1)
    assert _send(pace, spent, MIDNIGHT - timedelta(microseconds=1))[0] == 0
    assert _send(pace, spent, MIDNIGHT)[0] == 9
    paris = (MIDNIGHT - HOUR / 2).astimezone(datetime.fromisoformat("2027-01-01T00+01:00").tzinfo)
    assert mailing.refilled(pace, spent, paris).sent_today == 10


def test_the_first_days_have_budgets_of_their_own() -> None:
    pace = Pace(6_000, per_day=1_000, warm_up=(50, 200))
    first = date(2027, 2, 21)
    days = [mailing.most_on(pace, first + timedelta(days=n), first) for n in range(4)]
    assert days == [50, 200, 1_000, 1_000]
    assert mailing.most_on(pace, first, None) == 50
    assert mailing.most_on(pace._replace(per_day=None), first + timedelta(days=2), first) is None


def test_the_first_day_is_the_first_on_which_mail_went() -> None:
    pace = Pace(6_000, warm_up=(50, 200))
    spent = mailing.refilled(pace, _fresh(pace), NOON + 48 * HOUR)
    assert mailing.left_today(pace, spent) == 50
    spent = mailing.spend(pace, spent, invitations=1, others=0)
    assert spent.first_day == date(2027, 2, 23)
    later = mailing.refilled(pace, spent, NOON + 72 * HOUR)
    assert mailing.left_today(pace, later) == 200


def test_in_one_turn_of_ten_what_people_ask_for_goes_first() -> None:
    pace = Pace(6_000)
    spent, first = _fresh(pace), 0
    for _ in range(1_000):
        first += mailing.grant(pace, spent).asked_first
        spent = mailing.spend(pace, spent._replace(allowance=10), invitations=1, others=0)
    assert first == 100


def test_slowed_to_a_quarter_invitations_go_at_a_quarter_and_others_as_before() -> None:
    usual, slowed = Pace(600), Pace(600, cost=4)
    assert len(_within_a_minute(usual)) == pytest.approx(4 * len(_within_a_minute(slowed)), abs=9)
    assert mailing.grant(slowed, _fresh(slowed)).mails == mailing.grant(usual, _fresh(usual)).mails


@pytest.mark.parametrize("per_minute", [1, 2, 6, 60])
def test_slowed_to_a_quarter_invitations_still_go(per_minute: int) -> None:
    sent = _sent_at(Pace(per_minute, cost=4), 3, NOON, SECOND)
    assert sent[-1] - sent[0] >= timedelta(seconds=2 * 4 * 60 / per_minute) * 0.8


def _within_a_minute(pace: Pace) -> list[datetime]:
    sent = _sent_at(pace, 1_000, NOON, SECOND)
    return [at for at in sent if at < NOON + MINUTE]


@given(
    st.integers(1, 2_000),
    st.none() | st.integers(1, 900),
    st.lists(st.integers(1, 300), max_size=3),
    st.integers(1, 600),
    st.timedeltas(timedelta(), timedelta(hours=24)),
)
def test_foretold_and_sent_agree(
    per_minute: int, per_day: int | None, warm_up: list[int], people: int, passed: timedelta
) -> None:
    """The dry run's times are those at which a worker that never sleeps can send."""
    now = MIDNIGHT - passed
    pace = Pace(per_minute, per_day, tuple(warm_up))
    at = mailing.out_at(pace, _fresh(pace, now), people)
    spent, sent, moment = FRESH, 0, now
    while moment <= at + SECOND:
        went, spent = _send(pace, spent, moment, people - sent)
        sent += went
        if sent == people:
            break
        assert mailing.grant(pace, spent).invitations == 0
        moment = mailing.waits_until(pace, spent, for_invitations=True) or moment
        moment += timedelta(milliseconds=1)
    assert sent == people
    assert abs(moment - at) <= SECOND


def test_what_mail_leaves_of_a_rate_is_what_its_minutes_let_out() -> None:
    by_mail = mailing.foreseen(Pace(60), _fresh(Pace(60)), 10_000, is_stopped=False)
    assert by_mail.rate == pytest.approx(3_600, rel=0.04)
    assert by_mail.by_day == ()
    slowed = Pace(60, cost=4)
    assert mailing.foreseen(slowed, _fresh(slowed), 10_000, is_stopped=False).rate < 900
    assert mailing.foreseen(Pace(60), _fresh(Pace(60)), 10, is_stopped=False).rate == 10
    assert mailing.foreseen(Pace(60), _fresh(Pace(60)), 10, is_stopped=True).rate == 0


def test_what_each_day_lets_out_begins_with_what_is_left_of_today() -> None:
    pace = Pace(60, per_day=1_000, warm_up=(100, 200))
    spent = mailing.spend(pace, _fresh(pace), invitations=30, others=10)
    by_mail = mailing.foreseen(pace, spent, 3_600, is_stopped=False)
    assert by_mail.by_day[:4] == (50, 180, 900, 900)
    assert by_mail.day_ends == 12 * 3_600
    too_many = mailing.spend(pace, spent, invitations=60, others=0)
    assert mailing.foreseen(pace, too_many, 3_600, is_stopped=False).by_day[0] == 0


@given(st.integers(1, 2_000), st.integers(0, 2_000), st.integers(1, 5_000))
def test_what_is_foreseen_of_today_is_what_will_be_granted(
    per_day: int, went: int, per_minute: int
) -> None:
    pace = Pace(per_minute, per_day=per_day)
    spent = mailing.spend(pace, _fresh(pace), invitations=0, others=went)._replace(allowance=9e9)
    granted = mailing.grant(pace, spent).invitations
    assert mailing.foreseen(pace, spent, 1, is_stopped=False).by_day[0] == granted
