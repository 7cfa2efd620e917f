"""The proof of work in Chromium: done by itself, or waited for where no script runs."""

from __future__ import annotations

import pytest
from flask import Flask
from playwright.sync_api import Browser, expect

from tests import people
from tests.people import ALICE
from tests.visitors import Operator
from waitlist.extensions import db
from waitlist.policy import proof

pytestmark = pytest.mark.browser


def test_the_browser_does_the_sum_that_the_join_page_asks_for(
    app: Flask, site: str, browser: Browser, runner: Operator
) -> None:
    runner.json("gate", "joining", "challenge")
    page = browser.new_page()
    answers: list[int] = []
    page.on("response", lambda got: answers.append(got.status) if "/join" in got.url else None)
    page.goto(site)
    page.locator("#address").fill(f" {ALICE} ")
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Check your mail")
    assert answers[-1] == 202
    assert 403 not in answers
    db.session.rollback()
    assert people.find(ALICE).state == "pending"
    page.close()


def test_a_page_from_before_is_asked_and_goes_on_by_itself(
    app: Flask, site: str, browser: Browser, runner: Operator
) -> None:
    page = browser.new_page()
    page.goto(f"{site}/?lang=fr&code=vip2027")
    runner.json("gate", "joining", "challenge")
    page.locator("#address").fill(ALICE)
    page.get_by_role("button").click()
    expect(page.locator("#address")).to_have_count(0)
    db.session.rollback()
    assert people.find(ALICE).attributes == {"code": "VIP2027"}
    assert people.find(ALICE).locale == "fr"
    page.close()


def test_without_scripts_who_waits_is_in_line(
    app: Flask, site: str, browser: Browser, runner: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "WAIT", proof.WAIT / 10)
    runner.json("gate", "joining", "challenge")
    page = browser.new_page(java_script_enabled=False)
    page.goto(site)
    page.locator("#address").fill(ALICE)
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("One more step")
    page.get_by_role("button").click()  # too early
    expect(page.get_by_role("heading", level=1)).to_have_text("One more step")
    page.wait_for_timeout(3_000)
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Check your mail")
    page.close()
