"""The way of a person through the pages, in Chromium: with and without scripts, in both schemes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, Response, Route, expect

from tests import people
from tests.conftest import Deliver
from tests.people import ALICE, PASSWORD
from waitlist import links, projection
from waitlist.admission import gate, waves
from waitlist.extensions import db
from waitlist.signup import leaving
from waitlist.tokens import Purpose

pytestmark = pytest.mark.browser
HEAVIEST = 20_000  # bytes of the join page with all that it loads

Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, site: str) -> Iterator[Visit]:
    """Opens a page of the site as a person with these preferences; nothing leaves the host."""
    contexts: list[BrowserContext] = []
    strayed: list[str] = []

    def open_page(path: str = "/", **preferences: object) -> Page:
        context = browser.new_context(base_url=site, **preferences)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on(
            "request",
            lambda request: None if request.url.startswith(site) else strayed.append(request.url),
        )
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert strayed == [], "requests left the host"


def _now() -> datetime:
    return datetime.now(UTC)


def _admit() -> None:
    db.session.rollback()
    people.open_gate(10, now=_now())
    waves.admit(1, cohort=None, actor="test", now=_now())
    db.session.rollback()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
@pytest.mark.parametrize("locale", ["en", "fr"])
@pytest.mark.usefixtures("app")
def test_somebody_joins_confirms_waits_and_finishes(
    visit: Visit, deliver: Deliver, scripts: bool, locale: str
) -> None:
    """P11: an error on the way loses nothing that was typed."""
    page = visit("/", java_script_enabled=scripts, locale=locale)
    expect(page.locator("html")).to_have_attribute("lang", locale)
    page.fill("#address", ALICE)
    page.click("main form button")
    expect(page.locator("#address")).to_have_count(0)
    (mail,) = deliver(_now())
    assert mail["Content-Language"] == locale

    page.goto(people.link_in(mail, "/confirm/"))
    page.click("main form button")
    page.wait_for_url("**/place/*")
    expect(page.locator("main")).to_contain_text("1")

    deliver(_now())
    _admit()
    (mail,) = deliver(_now())
    page.goto(people.link_in(mail, "/invite/"))
    page.fill("#handle", "ada_l")
    page.fill("#display_name", "Ada L’Été")
    page.fill("#password", "password")
    page.check("#terms")
    page.click("main form button")

    expect(page.locator("#password-error")).to_be_visible()
    expect(page.locator(".summary")).to_be_visible()
    expect(page.locator("#handle")).to_have_value("ada_l")
    expect(page.locator("#display_name")).to_have_value("Ada L’Été")
    expect(page.locator("#terms")).to_be_checked()
    expect(page.locator("#password")).to_have_value("")
    page.fill("#password", PASSWORD)
    page.click("main form button")
    page.wait_for_url("**/welcome/*")
    expect(page.locator("main")).to_contain_text("Ada L’Été")
    assert people.find(ALICE).state == "registered"


def _pages(deliver: Deliver) -> list[str]:
    """One path of every page that a person may see."""
    now = _now()
    found = people.in_every_state(now=now, deliver=deliver)
    waiting = found["waiting"]
    by_entry = {
        name: f"/place/{links.entry_token(Purpose.PLACE, entry)}" for name, entry in found.items()
    }
    invited = people.invitation_of(found["invited"])
    lapsed = people.invitation_of(found["lapsed"])
    used = people.invitation_of(found["registered"])
    leaving.ask_to_act(links.entry_token(Purpose.PLACE, waiting), now=now)
    deliver(now)
    projection.settle(1)
    db.session.rollback()
    return [
        "/",
        *by_entry.values(),
        f"/confirm/{links.entry_token(Purpose.CONFIRM, found['pending'])}",
        f"/invite/{links.invitation_token(invited)}",
        f"/invite/{links.invitation_token(lapsed)}",
        f"/invite/{links.invitation_token(used)}",
        f"/undo/{links.entry_token(Purpose.UNDO, found['withdrawn'])}",
        f"/act/{people.act_token(waiting)}",
        "/nowhere",
        "/invite/unknown",
    ]


def _violations(page: Page) -> list[str]:
    """What axe-core finds: everything in light, and in dark what can differ, the contrast."""
    page.emulate_media(color_scheme="light")
    found = Axe().run(page).response["violations"]
    page.emulate_media(color_scheme="dark")
    found += Axe().run(page, options={"runOnly": ["color-contrast"]}).response["violations"]
    return [f"{page.url}: {one['id']}: {one['help']}" for one in found]


@pytest.mark.parametrize("locale", ["en", "fr"])
@pytest.mark.usefixtures("app")
def test_no_page_shuts_anybody_out(visit: Visit, deliver: Deliver, locale: str) -> None:
    """axe-core finds nothing on any page, light or dark, and nothing on a form with errors.

    Nor on what operators have to say on the pages, which may be in another language.
    """
    paths = _pages(deliver)
    gate.change(actor="test", now=_now(), notices={"en": "We open again at noon."})
    page = visit("/", locale=locale, bypass_csp=True)
    found = []
    for path in paths:
        page.goto(f"{path}?lang={locale}")
        found += _violations(page)
        if "/invite/" in page.url and page.locator("#handle").count():
            page.eval_on_selector("main form", "form => form.noValidate = true")
            page.click("main form button")
            expect(page.locator(".summary")).to_be_visible()
            found += _violations(page)
    page.goto(f"/?lang={locale}")
    expect(page.get_by_role("status").first).to_have_text("We open again at noon.")
    page.fill("#address", "new@example.org")
    page.click("main form button")
    found += _violations(page)
    gate.change(actor="test", now=_now(), joining="closed")
    page = visit(f"/?lang={locale}", bypass_csp=True)  # the other one keeps it for half a minute
    assert page.locator("#address").count() == 0
    found += _violations(page)
    assert found == []


@pytest.mark.usefixtures("app")
def test_the_join_page_is_light_and_sets_no_cookie(visit: Visit) -> None:
    page = visit("about:blank")
    loaded: list[Response] = []

    def remember(response: Response) -> None:
        loaded.append(response)

    page.on("response", remember)
    page.goto("/", wait_until="networkidle")
    weight = sum(len(response.body()) for response in loaded)
    assert len(loaded) >= 2
    assert 0 < weight < HEAVIEST
    assert page.context.cookies() == []


@pytest.mark.parametrize("locale", ["en", "fr"])
@pytest.mark.usefixtures("app")
def test_the_join_page_tries_again_by_itself_while_the_service_is_busy(
    visit: Visit, locale: str
) -> None:
    """P11: who came at the worst moment types their address once."""
    answers = ["503", "cut off", "429", "real"]

    def answer(route: Route) -> None:
        match answers.pop(0):
            case "cut off":
                route.abort()
            case "real":
                route.continue_()
            case status:
                route.fulfill(status=int(status), headers={"Retry-After": "1"}, body="busy")

    page = visit("/", locale=locale)
    page.route("**/join", answer)
    page.fill("#address", ALICE)
    page.click("main form button")
    status = page.get_by_role("status")
    expect(status).to_contain_text({"en": "We keep trying", "fr": "Nous réessayons"}[locale])
    expect(page.locator("main form button")).to_be_disabled()
    expect(page.locator("h1")).to_contain_text(
        {"en": "Check your mail", "fr": "Consultez vos e-mails"}[locale], timeout=30_000
    )
    assert not answers
    assert people.find(ALICE).locale == locale


@pytest.mark.usefixtures("app")
def test_a_wrong_address_is_told_on_the_page_which_then_takes_a_right_one(visit: Visit) -> None:
    page = visit("/")
    page.fill("#address", "a@b")
    page.click("main form button")
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.locator("#address")).to_have_value("a@b")
    page.fill("#address", ALICE)
    page.click("main form button")
    expect(page.locator("h1")).to_contain_text("Check your mail")
    assert people.find(ALICE).state == "pending"


@pytest.mark.usefixtures("app")
def test_a_narrow_screen_needs_no_scrolling_sideways(visit: Visit) -> None:
    page = visit("/", viewport={"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.usefixtures("app")
def test_no_page_complains_in_the_console(visit: Visit, deliver: Deliver) -> None:
    """The Content-Security-Policy lets through all that the pages need."""
    paths = [path for path in _pages(deliver) if path not in ("/nowhere", "/invite/unknown")]
    page = visit("/")
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{page.url}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"{page.url}: {error}"))
    for path in paths:
        page.goto(path)
    assert [line for line in said if "410" not in line] == []


def test_the_app_of_the_browser_is_the_real_one(app: Flask, visit: Visit, site: str) -> None:
    assert visit("/healthz").locator("body").inner_text().count("ok") == 1
    assert app.config["SETTINGS"].public_url == site
