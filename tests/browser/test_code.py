"""An invite code in the address of the join page, in Chromium."""

from __future__ import annotations

import pytest
from flask import Flask
from playwright.sync_api import Browser, expect

from tests import people
from tests.people import ALICE
from waitlist.extensions import db

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "plain"])
def test_a_code_in_the_address_survives_a_change_of_language_and_changes_no_look(
    app: Flask, site: str, browser: Browser, scripts: bool
) -> None:
    page = browser.new_page(java_script_enabled=scripts)
    page.goto(f"{site}/?lang=fr")
    plain = page.screenshot()
    page.goto(f"{site}/?code=vip2027&platform=ios&country=fr")
    page.get_by_role("link", name="Français").click()
    expect(page.locator("html")).to_have_attribute("lang", "fr")
    assert page.screenshot() == plain
    page.locator("#address").fill(ALICE)
    page.get_by_role("button").click()
    expect(page.locator("#address")).to_have_count(0)
    db.session.rollback()
    told = {"code": "VIP2027", "platform": "ios", "country": "FR"}
    assert people.find(ALICE).attributes == told
    page.close()
