"""A program that checks mail in a real browser: it runs scripts, follows links, presses buttons."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page

from tests import people, scanning
from tests.conftest import Deliver
from tests.people import ALICE, PASSWORD
from tests.scanning import JUNK, Life
from tests.servers import Received
from waitlist.admission import gate

pytestmark = pytest.mark.browser

FILL_AND_PRESS = """([number, junk, texts, boxes]) => {
  const form = document.forms[number];
  form.noValidate = true;
  for (const field of form.elements) {
    if (texts.includes(field.type)) field.value = junk;
    if (boxes.includes(field.type) && junk) field.checked = true;
  }
  window.pressed = true;
  form.requestSubmit(form.querySelector("button"));
}"""
LINKS = "() => [...document.links].map((link) => link.href.split('#')[0])"


class Scanner:
    """Opens what a mail names and follows it, as far as it is of the site."""

    def __init__(self, context: BrowserContext, site: str) -> None:
        self._context, self._site = context, site
        self._home = f"{site}/"  # once is enough: it is nobody's
        self.pressed = 0

    def scan(self, mail: Received) -> None:
        """Everything that the links of this mail lead to."""
        due, seen = scanning.links_in(mail, self._site), {self._home} if self.pressed else set()
        page = self._context.new_page()
        while due:
            if (url := due.pop()) not in seen:
                seen.add(url)
                due += [one for one in self._visit(page, url) if scanning.is_of(one, self._site)]
        page.close()

    def _visit(self, page: Page, url: str) -> Iterator[str]:
        for method in ("HEAD", "OPTIONS", *["GET"] * 4):
            self._context.request.fetch(url, method=method)
        page.goto(url)
        yield from page.evaluate(LINKS)
        for number in range(page.locator("form").count()):
            for junk in JUNK:
                page.goto(url)
                self._press(page, number, junk)
                yield page.url.partition("#")[0]
                yield from page.evaluate(LINKS)

    def _press(self, page: Page, number: int, junk: str) -> None:
        with page.expect_response(lambda response: response.request.method == "POST") as answer:
            words = [number, junk, scanning.TEXTS, scanning.BOXES]
            page.evaluate(FILL_AND_PRESS, words)
        if answer.value.request.is_navigation_request():
            page.wait_for_function("() => !window.pressed")  # this is the next page
        page.wait_for_load_state()
        self.pressed += 1


def test_a_scanner_with_a_browser_changes_nothing_but_pending_to_waiting(
    app: Flask, site: str, browser: Browser, deliver: Deliver
) -> None:
    """P17; and she finishes all the same (P11)."""

    def finish(link: str) -> None:
        page = browser.new_page()
        page.goto(link)
        page.fill("#handle", "ada")
        page.fill("#display_name", "Ada")
        page.fill("#password", PASSWORD)
        page.check("#terms")
        page.click("main form button")
        page.wait_for_url("**/welcome/*")
        page.close()

    life = Life(deliver, finish, datetime.now(UTC))
    context = browser.new_context(base_url=site)
    scanner = Scanner(context, site)
    for mail in life.mails():
        state, before = people.find(ALICE).state, scanning.unchanged()
        scanner.scan(mail)
        if state == "pending":
            assert people.find(ALICE).state == "waiting"
            continue
        assert scanning.unchanged() == before, mail["Subject"]
    context.close()
    assert people.find(ALICE).state == "registered"
    assert gate.verify() == {}
    assert scanner.pressed > 20
    assert life.seen == scanning.kinds()
