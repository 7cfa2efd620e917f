"""The last step's page in Chromium, while everything between it and the service is broken (P11)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect

from tests import people
from tests.conftest import Deliver
from tests.people import ALICE, BOB, PASSWORD
from waitlist import links
from waitlist.extensions import db
from waitlist.models import Entry
from waitlist.onboarding import completion

pytestmark = pytest.mark.browser

WORDS = {
    "en": {"busy": "The server is busy", "unreached": "We couldn’t reach", "held": "seat is held"},
    "fr": {"busy": "occupé", "unreached": "pas pu joindre", "held": "vous est réservé"},
}
Visit = Callable[..., Page]


@pytest.fixture
def invited(app: Flask, deliver: Deliver) -> Entry:
    """Alice, who is invited."""
    now = datetime.now(UTC)
    entry = people.wait_in_line(ALICE, now=now)
    people.invite(entry, now=now)
    deliver(now)
    return people.find(ALICE)


@pytest.fixture
def visit(browser: Browser, site: str, invited: Entry) -> Iterator[Visit]:
    """Opens Alice's form."""
    contexts: list[BrowserContext] = []
    path = f"/invite/{links.invitation_token(people.invitation_of(invited))}"

    def open_form(lang: str = "en", **preferences: object) -> Page:
        context = browser.new_context(base_url=site, **preferences)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.goto(f"{path}?lang={lang}")
        return page

    yield open_form
    for context in contexts:
        context.close()


def _fill(page: Page, *, handle: str = "ada_l", password: str = PASSWORD) -> None:
    page.fill("#handle", handle)
    page.fill("#display_name", "Ada L’Été")
    page.fill("#password", password)
    page.check("#terms")


def _press(page: Page) -> None:
    page.click("main form button")


def _answering(page: Page, *answers: str) -> list[str | None]:
    """Answers POSTs in turn as told, the rest as the service does; gives what was sent."""
    left, sent = list(answers), []

    def answer(route: Route, request: Request) -> None:
        if request.method != "POST":
            return route.continue_()
        sent.append(request.post_data)
        match left.pop(0) if left else "real":
            case "cut off":
                return route.abort()
            case "lost":  # the service does it, and the reply gets lost
                route.fetch(max_redirects=0)
                return route.abort()
            case "real":
                return route.continue_()
            case status:
                soon = {"Retry-After": "1"}
                return route.fulfill(status=int(status), headers=soon, body="<main>?</main>")

    page.route("**/invite/*", answer)
    return sent


@pytest.mark.parametrize("locale", ["en", "fr"])
def test_it_tries_again_by_itself_and_tells_what_it_does(visit: Visit, locale: str) -> None:
    page = visit(locale)
    sent = _answering(page, "503", "cut off", "429", "409", "502")
    _fill(page)
    _press(page)
    status = page.locator(".trying [role=status]")
    expect(status).to_contain_text(WORDS[locale]["busy"])
    expect(status).to_contain_text(WORDS[locale]["held"])
    expect(status).to_contain_text(WORDS[locale]["unreached"], timeout=10_000)
    for _ in range(4):
        expect(page.locator(".trying .now")).to_be_visible()
        page.locator(".trying .now").click()
        page.wait_for_timeout(300)
    page.wait_for_url("**/welcome/*", timeout=60_000)
    assert len(sent) == 6
    assert [parse_qs(one or "").pop("unanswered", None) for one in sent] == [None] * 2 + [["1"]] * 4
    same = {str(one).removesuffix("&unanswered=1") for one in sent}
    assert len(same) == 1, "each try sends the same fields"
    assert people.find(ALICE).state == "registered"


def test_a_reply_that_is_lost_is_asked_for_again(visit: Visit) -> None:
    """P10."""
    page = visit()
    _answering(page, "lost")
    _fill(page)
    _press(page)
    page.wait_for_url("**/welcome/*", timeout=30_000)
    expect(page.locator("main")).to_contain_text("Ada L’Été")


def test_who_stops_it_has_everything_still_there(visit: Visit) -> None:
    page = visit()
    _answering(page, *["503"] * 2)
    _fill(page)
    _press(page)
    page.locator(".trying .stop").click()
    expect(page.locator(".trying [role=status]")).to_contain_text("We stopped trying")
    expect(page.locator("main form button")).to_be_focused()
    expect(page.locator("#password")).to_have_value(PASSWORD)
    page.fill("#handle", "ada_the_first")
    _press(page)
    page.locator(".trying .now").click()
    page.wait_for_url("**/welcome/*", timeout=30_000)
    expect(page.locator("main")).to_contain_text("ada_the_first")


def test_without_a_network_it_waits_for_one(visit: Visit) -> None:
    page = visit()
    _fill(page)
    page.context.set_offline(True)
    _press(page)
    expect(page.locator(".trying [role=status]")).to_contain_text("You are offline")
    page.context.set_offline(False)
    page.wait_for_url("**/welcome/*", timeout=5_000)


def test_a_reload_brings_back_all_but_the_password_which_is_nowhere(visit: Visit) -> None:
    page = visit()
    _fill(page)
    page.reload()
    expect(page.locator("#handle")).to_have_value("ada_l")
    expect(page.locator("#display_name")).to_have_value("Ada L’Été")
    expect(page.locator("#terms")).to_be_checked()
    expect(page.locator("#password")).to_have_value("")
    kept = page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}])")
    assert "ada_l" in kept
    assert PASSWORD not in kept
    page.goto("/")
    page.go_back()
    expect(page.locator("#handle")).to_have_value("ada_l")
    page.fill("#password", PASSWORD)
    _press(page)
    page.wait_for_url("**/welcome/*")
    assert page.evaluate("sessionStorage.length") == 0


def test_a_taken_handle_is_told_and_nothing_else_need_be_typed_again(
    visit: Visit, app: Flask
) -> None:
    now = datetime.now(UTC)
    bob = people.wait_in_line(BOB, now=now)
    people.invite(bob, now=now)
    people.register(bob, "ada_l", now=now)
    page = visit()
    _fill(page)
    _press(page)
    expect(page.locator(".summary")).to_be_focused()
    expect(page.locator("#handle-error")).to_be_visible()
    expect(page.locator("#handle-hint")).to_contain_text("ada_l_2")
    expect(page.locator("#password")).to_have_value(PASSWORD)
    expect(page.locator(".retype")).to_have_count(0)
    page.fill("#handle", "ada_l_2")
    _press(page)
    page.wait_for_url("**/welcome/*")
    expect(page.locator("main")).to_contain_text("ada_l_2")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_an_error_of_ours_loses_nothing_that_was_typed(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, scripts: bool
) -> None:
    failures = iter([ZeroDivisionError])

    def fail(name: str) -> None:
        if name == "completion.before-commit" and (failure := next(failures, None)):
            raise failure

    monkeypatch.setattr(completion, "failpoint", fail)
    page = visit(java_script_enabled=scripts)
    _fill(page)
    _press(page)
    if not scripts:
        expect(page.get_by_role("alert")).to_contain_text("Nothing you typed is lost")
        expect(page.locator("#handle")).to_have_value("ada_l")
        expect(page.locator("#terms")).to_be_checked()
        page.fill("#password", PASSWORD)
        _press(page)
    page.wait_for_url("**/welcome/*", timeout=30_000)
    db.session.rollback()
    assert people.find(ALICE).state == "registered"


def test_where_nothing_may_be_kept_it_finishes_all_the_same(visit: Visit) -> None:
    page = visit()
    page.add_init_script(
        "Object.defineProperty(window, 'sessionStorage', { get() { throw new Error('no'); } })"
    )
    page.reload()
    _fill(page)
    _press(page)
    page.wait_for_url("**/welcome/*")


def test_pressing_twice_sends_it_once(visit: Visit) -> None:
    page = visit()
    sent = _answering(page, "503")
    _fill(page)
    page.evaluate("const f = document.forms[0]; f.requestSubmit(); f.requestSubmit()")
    page.locator(".trying .now").click()
    page.wait_for_url("**/welcome/*", timeout=30_000)
    assert len(sent) == 2
