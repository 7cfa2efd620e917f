"""The estimated wait as it is shown, put to the test and told of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Unpack

import pytest
from flask import Flask
from flask_babel import force_locale
from sqlalchemy import func, insert, select

from tests import people, tables
from tests.conftest import Deliver
from tests.visitors import Browser, Operator
from waitlist import estimates, links, outlook, projection
from waitlist.admission import gate, waves
from waitlist.admission.controls import Wanted
from waitlist.extensions import db
from waitlist.models import Entry, Estimate, Invitation
from waitlist.policy import wait
from waitlist.signup import place
from waitlist.tokens import Purpose
from waitlist.web import words

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
LINE = 200


@pytest.fixture
def launch(app: Flask, now: datetime) -> datetime:
    """When the gate opened, wide, at 3,600 an hour, with two hundred people in the line."""
    rows = [
        {
            "address": f"p{nth}@example.org",
            "address_key": f"p{nth}@example.org",
            "mail_to": f"p{nth}@example.org",
            "arrival": 100 + nth,
            "rank": 100 + nth,
            "cohort_id": 1,
            "state": "waiting",
            "joined_at": now,
            "confirmed_at": now,
        }
        for nth in range(LINE)
    ]
    db.session.execute(insert(Entry), rows)
    db.session.commit()
    projection.rebuild(1)
    people.open_gate(1_000, 3_600, now=now)
    waves.tick(now=now)
    return now


def _person(nth: int) -> Entry:
    return people.find(f"p{nth}@example.org")


def _token(nth: int) -> str:
    token = links.entry_token(Purpose.PLACE, _person(nth))
    db.session.rollback()
    return token


def _shown(nth: int, now: datetime) -> place.ShownPlace:
    outlook.forget()
    return people.place_of(_person(nth), now=now)


def _set(now: datetime, **settings: Unpack[Wanted]) -> None:
    gate.change(actor="test", now=now, **settings)


def _told() -> Sequence[Estimate]:
    """Every estimate as the database has it now."""
    db.session.rollback()
    every = select(Estimate).order_by(Estimate.id).execution_options(populate_existing=True)
    found = db.session.scalars(every).all()
    db.session.rollback()
    return found


def _sweep_often(now: datetime) -> None:
    """Sweeps enough that people all along the line are taken, whom chance picks."""
    for _ in range(8):
        estimates.sweep(now=now)


def _play(launch: datetime, seconds: range, *, every: int = 5) -> datetime:
    """A tick each second, and a sweep now and then; the moment of the end."""
    for second in seconds:
        at = launch + SECOND * second
        waves.tick(now=at)
        if second % every == 0:
            outlook.forget()
            estimates.sweep(now=at)
    return launch + SECOND * seconds[-1]


def test_who_is_further_back_is_told_of_a_longer_wait(launch: datetime) -> None:
    near, far = _shown(20, launch), _shown(190, launch)
    assert near.wait is not None
    assert far.wait is not None
    assert near.wait.seconds[1] < far.wait.seconds[1]
    assert far.wait.seconds[0] <= 190 <= far.wait.seconds[1]


def test_nobody_is_told_anything_while_the_gate_is_paused(launch: datetime) -> None:
    assert _shown(50, launch).wait is not None
    _set(launch, paused=True)
    assert people.place_of(_person(50), now=launch).wait is None, "at once, whatever was kept"
    assert _shown(50, launch).wait is None


def test_nobody_is_told_anything_at_a_rate_of_nought(launch: datetime) -> None:
    _set(launch, rate=0)
    assert _shown(50, launch).wait is None


def test_nobody_is_told_anything_who_finds_no_seat(launch: datetime) -> None:
    _set(launch, capacity=20)
    assert _shown(10, launch).wait is not None
    assert _shown(50, launch).wait is None


def test_nobody_is_told_anything_of_a_line_that_cant_be_read(launch: datetime, app: Flask) -> None:
    app.extensions["redis"].flushall()
    assert _shown(50, launch).wait is None


def test_a_line_without_a_date_tells_nothing_and_one_with_a_date_a_wait_from_then_on(
    app: Flask, now: datetime
) -> None:
    people.add_cohort("beta", now=now, opened=False)
    people.crowd(3, now=now, cohort="beta")
    people.open_gate(1_000, 60, now=now)
    assert people.place_of(people.find("p2@example.org"), now=now).wait is None
    runner = Operator(app)
    opens = now + 3 * timedelta(days=1)
    runner.json("cohort", "set", "beta", "--opens", opens.isoformat())
    outlook.forget()
    shown = people.place_of(people.find("p2@example.org"), now=now)
    assert shown.wait is not None
    low, high = (timedelta(seconds=seconds) for seconds in shown.wait.seconds)
    assert now + low <= opens <= now + high <= opens + timedelta(days=1)


def test_the_json_has_the_range_and_stays_the_same_for_a_second_and_more(
    launch: datetime, client: Browser
) -> None:
    path = f"/place/{_token(150)}"
    first = client.get(path, headers={"Accept": "application/json"})
    assert first.json is not None
    told = first.json["wait"]
    assert set(told) == {"low_seconds", "high_seconds"}
    assert told["low_seconds"] < told["high_seconds"]
    outlook.forget()
    again = client.get(
        path, headers={"Accept": "application/json", "If-None-Match": first.headers["ETag"]}
    )
    assert again.status_code == 304


def test_a_place_costs_no_statement_more_than_without_a_range(launch: datetime) -> None:
    token = _token(50)

    def asking() -> int:
        with tables.counting() as work:
            place.by_token(token, now=launch)
        return work.statements

    _set(launch, paused=True)
    without = asking()
    _set(launch, paused=False)
    outlook.forget()
    assert asking() > without, "drawn for all who ask within a second or two"
    assert asking() == without


@pytest.mark.parametrize(
    "locale, words",
    [
        ("en", r"Estimated wait: (about \d+ to \d+ minutes|up to \d+ minutes)\."),
        ("fr", r"Attente estimée\s: (environ \d+ à \d+ minutes|jusqu’à \d+ minutes)\."),
    ],
)
def test_the_page_says_it_in_words(
    launch: datetime, client: Browser, locale: str, words: str
) -> None:
    people.make(_person(150), locale=locale)
    page = client.get(f"/place/{_token(150)}").text
    assert re.search(words, page)


def test_the_page_says_why_nobody_can_tell(launch: datetime, client: Browser) -> None:
    _set(launch, capacity=20)
    outlook.forget()
    assert "Estimated wait: we can’t say yet." in client.get(f"/place/{_token(150)}").text
    _set(launch, paused=True)
    page = client.get(f"/place/{_token(150)}").text
    assert "So we can’t say yet how long it takes." in page
    assert "Estimated wait" not in page


def test_a_mail_that_says_where_somebody_stands_says_the_range_too(
    launch: datetime, deliver: Deliver
) -> None:
    people.join("p150@example.org", now=launch)
    [mail] = deliver(launch)
    said = people.words_of(mail)
    assert "as of March 1, 2027" in said
    assert re.search(r"Estimated wait from then on: (about \d+ to \d+|up to \d+) minutes\.", said)


def test_who_is_let_in_scores_what_was_told(launch: datetime) -> None:
    end = _play(launch, range(1, 60))
    told = _told()
    scored = [one for one in told if one.scored_at is not None]
    assert len(scored) >= 5
    for one in scored:
        assert one.waited_seconds == pytest.approx(one.ahead + 1, abs=3)
        assert not one.settings_changed
    fared = estimates.coverage()
    assert fared.scored == len(scored)
    assert fared.share == sum(
        one.low_seconds <= (one.waited_seconds or 0) <= one.high_seconds for one in scored
    ) / len(scored)
    assert {one.ahead > 100 for one in told} == {True, False}, "all along the line"
    assert end > launch


def test_what_was_told_before_the_settings_changed_is_scored_apart(launch: datetime) -> None:
    estimates.sweep(now=launch)
    _set(launch, rate=7_200)
    _play(launch, range(1, 120))
    fared = estimates.coverage()
    before = [one for one in _told() if one.made_at == launch]
    assert all(one.settings_changed for one in before)
    assert fared.changed_scored == len([one for one in before if one.scored_at])
    assert fared.changed_scored > 0
    assert fared.scored > 0


def test_a_change_that_was_taken_back_is_a_change(launch: datetime) -> None:
    estimates.sweep(now=launch)
    _set(launch, rate=7_200)
    estimates.sweep(now=launch + SECOND)
    _set(launch, rate=3_600)
    _play(launch, range(2, 200))
    assert all(one.settings_changed for one in _told() if one.made_at == launch)


def test_whoever_leaves_is_dropped_from_the_score(launch: datetime, deliver: Deliver) -> None:
    _sweep_often(launch)
    leaver = next(one for one in _told() if one.ahead > 10)
    entry = db.session.get_one(Entry, leaver.entry_id)
    people.make(entry, state="withdrawn", left_at=launch + SECOND)
    _play(launch, range(2, 220))
    [again] = [one for one in _told() if one.id == leaver.id]
    assert again.scored_at is None


def test_a_former_invitation_scores_nothing(launch: datetime) -> None:
    """Who came back to the line waits anew."""
    waves.tick(now=launch + SECOND)
    first = db.session.scalars(select(Invitation.entry_id)).first()
    assert first is not None
    people.make(db.session.get_one(Entry, first), state="waiting")
    outlook.forget()
    for nth in range(200):  # whom it takes is chance
        estimates.sweep(now=launch + MINUTE + SECOND * nth)
        if first in {one.entry_id for one in _told()}:
            break
    else:
        pytest.fail("nobody asked whoever stands at the front")
    assert estimates.coverage().scored == 0


def test_who_moved_to_another_line_is_forgotten(launch: datetime) -> None:
    estimates.sweep(now=launch)
    moved, whose = [(one.id, one.entry_id) for one in _told()][-1]
    other = people.add_cohort("beta", now=launch)
    people.make(db.session.get_one(Entry, whose), cohort_id=other.id)
    estimates.sweep(now=launch + SECOND)
    assert moved not in {one.id for one in _told()}


def test_what_is_kept_is_bounded(launch: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "KEPT", 8)
    _play(launch, range(1, 120), every=3)
    told = _told()
    scored = [one for one in told if one.scored_at]
    assert len(scored) == 8
    assert len(told) <= 16
    assert max(one.made_at for one in told) > launch + 100 * SECOND


def test_long_waits_are_taken_rarely_once_there_are_enough(
    launch: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "WAITING", 5)
    _set(launch, rate=1)
    for nth in range(20):
        estimates.sweep(now=launch + SECOND * nth)
    assert len(_told()) < 20


def test_a_second_clock_that_sweeps_at_once_scores_nobody_twice(
    launch: datetime, app: Flask
) -> None:
    estimates.sweep(now=launch)
    waves.tick(now=launch + 5 * SECOND)
    people.at_once(app, [lambda: estimates.sweep(now=launch + 6 * SECOND)] * 2)
    scored = [one for one in _told() if one.scored_at]
    assert estimates.coverage().scored == len(scored)


def test_redis_away_takes_nothing_and_breaks_nothing(launch: datetime, app: Flask) -> None:
    app.extensions["redis"].flushall()
    estimates.sweep(now=launch)
    assert _told() == []


def test_a_rate_that_isnt_kept_is_noticed(launch: datetime) -> None:
    """A tick every ten seconds counts for five, so half of the rate is lost."""
    _sweep_often(launch)
    for second in range(10, 160, 10):
        waves.tick(now=launch + SECOND * second)
    now = launch + 160 * SECOND
    estimates.sweep(now=now)
    outlook.forget()
    told = wait.estimate(99, outlook.of_cohorts(now=now)[1])
    assert told is not None
    assert told.foretold == pytest.approx(100 / 0.55, rel=0.1)


def test_ranges_follow_those_who_were_let_in(launch: datetime) -> None:
    """So many took three times as long as was foretold that the next are told so."""
    before = _shown(150, launch).wait
    ids = db.session.scalars(select(Entry.id).order_by(Entry.rank).limit(100)).all()
    told = {"cohort_id": 1, "ahead": 150, "made_at": launch - HOUR, "scored_at": launch}
    seconds = {"low_seconds": 60, "middle_seconds": 150, "high_seconds": 300}
    took = {"foretold_seconds": 150, "waited_seconds": 450, "settings_mark": ""}
    db.session.execute(
        insert(Estimate), [{"entry_id": id_, **told, **seconds, **took} for id_ in ids]
    )
    db.session.commit()
    estimates.sweep(now=launch)
    after = _shown(150, launch).wait
    assert before is not None
    assert after is not None
    assert before.seconds[0] < 150 < before.seconds[1]
    assert 150 < after.seconds[0] < 450 < after.seconds[1]


def test_gate_show_tells_how_ranges_fared(launch: datetime, app: Flask) -> None:
    runner = Operator(app)
    assert runner.json("gate", "show")["estimates"]["share"] is None
    assert "none was put to the test yet" in runner.run("gate", "show").stdout
    _play(launch, range(1, 60))
    shown = runner.json("gate", "show")["estimates"]
    assert shown["scored"] == estimates.coverage().scored
    assert 0 <= shown["share"] <= 1
    assert "were right" in runner.run("gate", "show").stdout


def test_metrics_tell_the_gate_and_how_ranges_fared(launch: datetime, client: Browser) -> None:
    _play(launch, range(1, 60))
    response = client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain")
    figures = dict(re.findall(r"^(waitlist_\S+) (\S+)$", response.text, re.MULTILINE))
    assert float(figures["waitlist_gate_capacity_seats"]) == 1_000
    assert float(figures["waitlist_gate_rate_people_per_hour"]) == 3_600
    assert float(figures["waitlist_gate_paused"]) == 0
    assert float(figures["waitlist_gate_used_seats"]) == gate.show(now=launch).seats_used
    assert float(figures["waitlist_estimates_scored"]) == estimates.coverage().scored


def test_metrics_change_by_no_join(launch: datetime, client: Browser) -> None:
    """P21."""
    before = client.get("/metrics").text
    people.join("stranger@example.org", now=launch)
    people.join("p7@example.org", now=launch)
    assert client.get("/metrics").text == before


def test_a_strangers_join_changes_nobodys_range(launch: datetime) -> None:
    """P21."""
    before = outlook.of_cohorts(now=launch)[1]
    people.join("stranger@example.org", now=launch)
    outlook.forget()
    after = outlook.of_cohorts(now=launch)[1]
    assert (after.course, after.spread) == (before.course, before.spread)


def test_an_erased_persons_estimates_go_with_them(launch: datetime) -> None:
    """P19."""
    estimates.sweep(now=launch)
    gone = _told()[0].entry_id
    db.session.delete(db.session.get_one(Entry, gone))
    db.session.commit()
    left = db.session.scalar(
        select(func.count()).select_from(Estimate).where(Estimate.entry_id == gone)
    )
    assert left == 0


@pytest.mark.parametrize(
    "locale, low, high, said",
    [
        ("en", 20, 30, "up to 1 minute"),
        ("en", 7_300, 14_000, "about 2 to 4 hours"),
        ("en", 60_000, 200_000, "about 15 hours to 3 days"),
        ("en", 45_000, 118_000, "tomorrow"),
        ("en", 24 * 86_400, 34 * 86_400, "about 3 to 5 weeks"),
        ("fr", 7_300, 14_000, "environ 2 à 4 heures"),
        ("fr", 20, 30, "jusqu’à 1 minute"),
        ("fr", 45_000, 118_000, "demain"),
        ("fr", 24 * 86_400, 34 * 86_400, "environ 3 à 5 semaines"),
    ],
)
def test_a_range_is_told_as_people_say_it(
    app: Flask, now: datetime, locale: str, low: float, high: float, said: str
) -> None:
    """At noon; of what begins after midnight and ends before the next one it is said that day."""
    shown = wait.shown_range(wait.Range(low, low, high, low))
    with app.test_request_context(), force_locale(locale):
        assert words.wait(shown, "UTC", now).replace("\u00a0", " ") == said


def test_tomorrow_is_that_of_the_lines_own_clocks(app: Flask, now: datetime) -> None:
    shown = wait.shown_range(wait.Range(45_000, 50_000, 118_000, 50_000))
    with app.test_request_context():
        assert words.wait(shown, "Asia/Tokyo", now) == "about 12 to 33 hours"
