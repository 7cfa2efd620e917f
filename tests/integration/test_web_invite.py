"""The pages of invitees: the form, what it keeps, and every way that it can end."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from tests import people, tables
from tests.conftest import MakeApp
from tests.people import ALICE, BOB, PASSWORD
from tests.visitors import Browser
from waitlist.admission import gate
from waitlist.extensions import db
from waitlist.models import Entry, Invitation, Registration
from waitlist.onboarding import invitations

PARALLEL = 32
YES = {"word": "yes"}
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def form_url(token: str) -> str:
    """The path of Alice's invitation."""
    return f"/invite/{token}"


def _fields(**changes: str) -> dict[str, str]:
    right = {"handle": "ada", "display_name": "Ada L.", "password": PASSWORD, "terms": "yes"}
    return {**right, **changes}


def _value(response: TestResponse, name: str) -> str:
    """What stands in a field of the page."""
    found = re.search(rf'<input[^>]*name="{name}"[^>]*>', response.text)
    assert found, f"no field {name}"
    value = re.search(r'value="([^"]*)"', found.group())
    return html.unescape(value.group(1)) if value else ""


def _registrations() -> int:
    found = db.session.scalar(select(func.count()).select_from(Registration)) or 0
    db.session.rollback()
    return found


def test_the_form_shows_whose_it_is_and_until_when(client: Browser, form_url: str) -> None:
    response = client.get(form_url)
    assert response.status_code == 200
    assert ALICE in response.text
    assert "March 4, 2027" in response.text
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "same-origin"


def test_opening_it_ten_times_changes_nothing(client: Browser, form_url: str) -> None:
    """P17: mail scanners open links."""
    before = tables.everything()
    for _ in range(5):
        client.get(form_url)
        client.head(form_url)
        client.options(form_url)
    assert tables.everything() == before


def test_a_success_leads_to_the_welcome_page_and_so_does_the_same_again(
    client: Browser, form_url: str
) -> None:
    """P10."""
    first, again = client.post(form_url, data=_fields()), client.post(form_url, data=_fields())
    assert (first.status_code, again.status_code) == (303, 303)
    assert first.headers["Location"] == again.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Ada L." in client.get(first.headers["Location"]).text


def test_something_else_after_a_success_is_409_and_shows_the_way_to_sign_in(
    client: Browser, form_url: str
) -> None:
    client.post(form_url, data=_fields())
    for changes in ({"handle": "eve"}, {"password": "another horse battery staple"}):
        response = client.post(form_url, data=_fields(**changes))
        assert response.status_code == 409
        assert "Ada L." not in response.text
        assert "https://aurora.example.com" in response.text
    assert client.get(form_url).status_code == 200
    assert "You’re in already" in client.get(form_url).text


@pytest.mark.parametrize("field", ["handle", "display_name", "password", "terms"])
def test_nothing_typed_is_lost_when_a_field_is_missing(
    client: Browser, form_url: str, field: str
) -> None:
    """P11: but the password, which is never sent back."""
    opened = _value(client.get(form_url), "opened")
    typed = _fields(handle="ada_l", display_name="Zoë <O’Neil>", opened=opened)
    del typed[field]
    response = client.post(form_url, data=typed)
    assert response.status_code == 422
    assert _value(response, "opened") == opened
    for name in {"handle", "display_name"} - {field}:
        assert _value(response, name) == typed[name]
    assert ("checked" in response.text) == (field != "terms")
    assert PASSWORD not in response.text
    assert f'id="{field}-error"' in response.text
    assert _registrations() == 0


def test_what_was_typed_cant_break_out_of_its_field(client: Browser, form_url: str) -> None:
    evil = '"><script>alert(1)</script>'
    response = client.post(form_url, data=_fields(handle=evil, display_name=evil))
    assert "<script>" not in response.text
    assert _value(response, "handle") == evil


def test_a_taken_handle_offers_free_ones_and_keeps_the_rest(
    client: Browser, alice: Entry, form_url: str, now: datetime
) -> None:
    """P11."""
    bob = people.wait_in_line(BOB, now=now)
    people.invite(bob, now=now)
    people.register(bob, "ada", now=now)
    response = client.post(form_url, data=_fields())
    assert response.status_code == 422
    assert "ada_2" in response.text
    assert _value(response, "display_name") == "Ada L."
    assert client.post(form_url, data=_fields(handle="ada_2")).status_code == 303


def test_a_french_person_is_told_in_french(client: Browser, alice: Entry, form_url: str) -> None:
    people.make(alice, locale="fr-CA")
    response = client.post(form_url, data=_fields(password="short", handle="a b"))
    assert response.status_code == 422
    assert '<html lang="fr">' in response.text
    assert "Please" not in response.text
    assert "mot de passe" in response.text.lower()


@pytest.mark.parametrize(
    "path", ["/invite/x", "/invite/WzEsMSwiYSJd.abc", "/welcome/x", "/invite/%00", "/invite/é"]
)
def test_a_link_that_isnt_ours_is_404_on_one_page(
    client: Browser, form_url: str, path: str
) -> None:
    """P22."""
    assert client.get(path).status_code == 404
    assert "We don’t know this link" in client.get(path).text
    if path.startswith("/invite"):
        assert client.post(path, data=_fields()).status_code == 404
        assert client.post(f"{path}/renew", data=YES).status_code == 404


def test_one_letter_less_or_more_is_404(client: Browser, form_url: str) -> None:
    """P22."""
    assert client.post(form_url[:-1], data=_fields()).status_code == 404
    assert client.post(f"{form_url}A", data=_fields()).status_code == 404
    assert _registrations() == 0


@pytest.mark.parametrize(
    "state,words",
    [
        ("superseded", "There is a newer invitation"),
        ("revoked", "This invitation was taken back"),
        ("expired", "Your invitation has run out"),
    ],
)
def test_each_way_of_being_over_is_410_with_its_own_page(
    client: Browser, form_url: str, state: str, words: str
) -> None:
    db.session.execute(update(Invitation).values(state=state))
    db.session.commit()
    for response in (client.get(form_url), client.post(form_url, data=_fields())):
        assert response.status_code == 410
        assert words in response.text


def test_the_form_opened_in_time_completes_half_an_hour_later(
    client: Browser, form_url: str, now: datetime, clock: time_machine.Traveller
) -> None:
    """P11: also after an error on the way."""
    clock.move_to(now + 72 * HOUR - MINUTE)
    opened = _value(client.get(form_url), "opened")
    clock.move_to(now + 72 * HOUR + 29 * MINUTE)
    assert client.get(form_url).status_code == 410
    wrong = client.post(form_url, data=_fields(password="short", opened=opened))
    assert wrong.status_code == 422
    again = _fields(opened=_value(wrong, "opened"))
    assert client.post(form_url, data=again).status_code == 303


def test_not_opened_in_time_the_page_offers_to_renew(
    client: Browser, alice: Entry, form_url: str, now: datetime, clock: time_machine.Traveller
) -> None:
    """P11."""
    clock.move_to(now + 72 * HOUR)
    response = client.post(form_url, data=_fields())
    assert response.status_code == 410
    assert f'action="{form_url}/renew"' in response.text
    renewed = client.post(f"{form_url}/renew", data=YES)
    assert renewed.status_code == 202
    assert "A fresh link is on its way" in renewed.text
    assert "/place/" in renewed.text
    again = client.post(f"{form_url}/renew", data=YES)
    assert (again.status_code, again.text) == (202, renewed.text), "twice is the same as once"
    assert people.invitation_of(alice).generation == 2
    assert gate.verify() == {}


def test_without_a_free_seat_the_page_says_that_they_are_back_in_line(
    client: Browser, alice: Entry, form_url: str, now: datetime, clock: time_machine.Traveller
) -> None:
    clock.move_to(now + 73 * HOUR)
    invitations.lapse(now=now + 73 * HOUR)
    people.open_gate(0, now=now)
    renewed = client.post(f"{form_url}/renew", data=YES)
    assert renewed.status_code == 202
    assert "You’re back in line" in renewed.text
    again = client.post(f"{form_url}/renew", data=YES)
    assert (again.status_code, again.text) == (202, renewed.text), "twice is the same as once"
    assert people.find(ALICE).state == "waiting"
    assert people.find(ALICE).rank == alice.rank
    page = client.get(form_url)
    assert page.status_code == 410
    assert "You are in line, at the place you had before" in page.text
    assert "/renew" not in page.text


def test_programs_that_renew_are_told_what_was_done(
    client: Browser, alice: Entry, form_url: str, now: datetime, clock: time_machine.Traveller
) -> None:
    clock.move_to(now + 73 * HOUR)
    accept = {"Accept": "application/json"}
    invitations.lapse(now=now + 73 * HOUR)
    people.make(alice, renewals=3)
    refused = client.post(f"{form_url}/renew", headers=accept)
    assert refused.status_code == 410
    assert refused.get_json()["type"] == "urn:waitlist:invitation-expired"
    people.make(alice, renewals=2)
    renewed = client.post(f"{form_url}/renew", headers=accept)
    assert (renewed.status_code, renewed.get_json()) == (202, {"renewed": "reissued"})


@pytest.mark.parametrize("word", ["", "test", "aaaaaaaa", "no"])
def test_one_press_alone_renews_nothing(
    client: Browser,
    alice: Entry,
    form_url: str,
    now: datetime,
    clock: time_machine.Traveller,
    word: str,
) -> None:
    """Programs that check mail press buttons, and each renewal is one of three."""
    people.make(alice, locale="fr")
    clock.move_to(now + 73 * HOUR)
    invitations.lapse(now=now + 73 * HOUR)
    before = tables.everything()
    response = client.post(f"{form_url}/renew", data={"word": word})
    assert response.status_code == 422
    assert 'id="word-error"' in response.text
    assert "OUI" in response.text
    assert tables.everything() == before
    assert client.post(f"{form_url}/renew", data={"word": " oui "}).status_code == 202


def test_a_lapsed_person_is_renewed_three_times_and_then_told_whom_to_ask(
    client: Browser, alice: Entry, form_url: str, now: datetime, clock: time_machine.Traveller
) -> None:
    clock.move_to(now + 73 * HOUR)
    invitations.lapse(now=now + 73 * HOUR)
    assert f'action="{form_url}/renew"' in client.get(form_url).text
    people.make(alice, renewals=3)
    assert "/renew" not in client.get(form_url).text
    assert client.post(f"{form_url}/renew", data=YES).status_code == 410


def test_renewing_what_is_open_or_used_changes_nothing(client: Browser, form_url: str) -> None:
    before = tables.everything()
    assert client.post(f"{form_url}/renew", data=YES).status_code == 303
    assert tables.everything() == before
    client.post(form_url, data=_fields())
    before = tables.everything()
    assert client.post(f"{form_url}/renew", data=YES).status_code == 303
    assert tables.everything() == before


def test_after_a_renewal_the_old_link_leads_to_the_newer_invitation(
    client: Browser, alice: Entry, form_url: str, now: datetime, clock: time_machine.Traveller
) -> None:
    clock.move_to(now + 73 * HOUR)
    invitations.lapse(now=now + 73 * HOUR)
    client.post(f"{form_url}/renew", data=YES)
    people.invite(alice, now=now + 73 * HOUR)
    response = client.get(form_url)
    assert response.status_code == 410
    assert "There is a newer invitation" in response.text


def test_32_forms_at_once_are_one_registration(app: Flask, form_url: str) -> None:
    """P10."""
    answers = people.at_once(app, [lambda: Browser(app).post(form_url, data=_fields())] * PARALLEL)
    assert {one.status_code for one in answers} == {303}
    assert len({one.headers["Location"] for one in answers}) == 1
    assert [one.headers.get("Idempotent-Replayed") for one in answers].count(None) == 1
    assert _registrations() == 1


def test_32_different_forms_at_once_are_one_303_and_conflicts(app: Flask, form_url: str) -> None:
    """P10."""

    def call(number: int) -> Callable[[], int]:
        fields = _fields(handle=f"person_{number}")
        return lambda: Browser(app).post(form_url, data=fields).status_code

    answers = people.at_once(app, [call(number) for number in range(PARALLEL)])
    assert Counter(answers) == {303: 1, 409: PARALLEL - 1}
    assert _registrations() == 1


def test_completing_by_form_goes_on_without_redis(
    alice: Entry, form_url: str, make_app: MakeApp, tmp_path: Path
) -> None:
    """P14."""
    without = Browser(make_app(redis_url=f"unix://{tmp_path}/away.sock"))
    response = without.post(form_url, data=_fields())
    assert response.status_code == 303
    assert without.get(response.headers["Location"]).status_code == 200
    assert people.find(ALICE).state == "registered"


@pytest.mark.parametrize(
    "headers,status",
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://evil.example.com"}, 403),
        ({"Origin": "null"}, 303),
        ({"Origin": "https://join.example.com"}, 303),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({}, 303),
    ],
)
def test_only_a_post_that_says_it_comes_from_another_site_is_refused(
    client: Browser, form_url: str, headers: dict[str, str], status: int
) -> None:
    assert client.post(form_url, data=_fields(), headers=headers).status_code == status
