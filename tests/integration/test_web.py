"""What holds for every page: who may send what, in which language, under which headers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
import time_machine
from flask import Flask

from tests import people, tables
from tests.conftest import Deliver, MakeApp
from tests.people import ALICE, BOB
from tests.visitors import Browser
from waitlist import links
from waitlist.tokens import Purpose

SITE = "https://join.example.com"
JSON = {"Accept": "application/json"}


@pytest.fixture
def alice(app: Flask, now: datetime, clock: time_machine.Traveller) -> str:
    """The token of Alice's place; she waits in line."""
    return links.entry_token(Purpose.PLACE, people.wait_in_line(ALICE, now=now))


def test_a_form_leads_from_the_join_page_to_the_place(
    client: Browser, app: Flask, deliver: Deliver, clock: time_machine.Traveller
) -> None:
    joined = client.post("/join", data={"address": ALICE})
    assert joined.status_code == 202
    (mail,) = deliver()
    link = people.link_in(mail, "/confirm/")
    assert link.startswith(SITE)
    assert "<form" in client.get(link).text
    confirmed = client.post(link)
    assert confirmed.status_code == 303
    page = client.get(confirmed.headers["Location"])
    assert page.status_code == 200
    assert "Number 1" in page.text


def test_json_leads_from_joining_to_the_place(
    client: Browser, app: Flask, deliver: Deliver, clock: time_machine.Traveller
) -> None:
    joined = client.post("/join", json={"address": ALICE, "locale": "fr"}, headers=JSON)
    assert (joined.status_code, joined.mimetype) == (202, "application/json")
    (mail,) = deliver()
    assert mail["Content-Language"] == "fr"
    confirmed = client.post(people.link_in(mail, "/confirm/"), headers=JSON)
    assert confirmed.json is not None
    shown = client.get(confirmed.json["place"], headers=JSON).json
    assert shown is not None
    assert (shown["state"], shown["position"], shown["length"]) == ("waiting", 1, 1)


def test_leaving_and_coming_back_over_the_pages(
    client: Browser, app: Flask, deliver: Deliver, alice: str
) -> None:
    deliver()
    before = tables.everything()
    for word in ("", "test", "leave"):
        assert client.post(f"/place/{alice}", data={"word": word}).status_code == 422
    assert tables.everything() == before
    assert client.post(f"/place/{alice}", data={"word": "yes"}).status_code == 202
    assert client.post(f"/place/{alice}").status_code == 202  # a program, not our page
    (mail,) = deliver()
    act = people.link_in(mail, "/act/")
    assert "LEAVE" in client.get(act).text
    for word in ("", "leav", "yes"):
        assert client.post(act, data={"word": word}).status_code == 422
    assert people.find(ALICE).state == "waiting"
    assert client.post(act, data={"word": " leave "}).status_code == 200
    assert people.find(ALICE).state == "withdrawn"
    (mail,) = deliver()
    undo = people.link_in(mail, "/undo/")
    assert "YES" in client.get(undo).text
    for word in ("", "test", "leave"):
        assert client.post(undo, data={"word": word}).status_code == 422
    assert people.find(ALICE).state == "withdrawn"
    assert client.post(undo, data={"word": "Yes"}).status_code == 303
    assert client.post(undo).status_code == 303  # there is nothing left to change
    assert people.find(ALICE).state == "waiting"


@pytest.mark.parametrize("path", ["/join", "/api/v1/completions"])
@pytest.mark.parametrize("kind", ["form", "json"])
def test_more_than_64_kb_is_too_much(client: Browser, path: str, kind: str) -> None:
    before = tables.everything()
    fields = {"address": ALICE, "more": "x" * 65 * 1024}
    answer = client.post(path, json=fields) if kind == "json" else client.post(path, data=fields)
    assert answer.status_code == 413
    assert tables.everything() == before


def test_a_body_just_below_64_kb_is_read(client: Browser) -> None:
    fields = {"address": ALICE, "more": "x" * 63 * 1024}
    assert client.post("/join", data=fields).status_code == 202
    assert client.post("/join", json=fields).status_code == 202


@pytest.mark.parametrize(
    "body,content_type",
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b'{"address": 7}', "application/json"),
        (b'{"address": ["a@example.org"]}', "application/json"),
        (b'{"address": "\\ud800@example.org"}', "application/json"),
        (b'{"address": "a\\u0000@example.org"}', "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"address=%FF%FE", "application/x-www-form-urlencoded"),
        (b"address=a%00@example.org", "application/x-www-form-urlencoded"),
        (b"address=", "application/x-www-form-urlencoded"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b"address=a@example.org", "text/plain"),
        (b"", ""),
    ],
)
@pytest.mark.parametrize("path", ["/join", "/api/v1/completions"])
def test_no_body_makes_it_stumble(
    client: Browser, path: str, body: bytes, content_type: str
) -> None:
    before = tables.everything()
    answer = client.post(path, data=body, content_type=content_type)
    assert 400 <= answer.status_code < 500
    assert tables.everything() == before


@pytest.mark.parametrize(
    "lang", ["fr'; --", "x" * 200, "\x00", "de", "fr-CA-x-y-z-long-private", "é"]
)
def test_a_strange_language_is_no_reason_to_stumble(client: Browser, lang: str) -> None:
    assert client.get("/", query_string={"lang": lang}).status_code == 200
    for fields in ({"lang": lang}, {"locale": lang}):
        joined = client.post("/join", json={"address": ALICE, **fields}, headers=JSON)
        assert joined.status_code == 202


@pytest.mark.parametrize(
    "headers,status",
    [
        ({}, 202),
        ({"Origin": "null"}, 202),
        ({"Origin": SITE}, 202),
        ({"Origin": "http://localhost"}, 202),
        ({"Sec-Fetch-Site": "same-origin"}, 202),
        ({"Sec-Fetch-Site": "none"}, 202),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "null"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "https://join.example.com.evil.example"}, 403),
        ({"Origin": "https://evil.example/?https://join.example.com"}, 403),
        ({"Origin": ""}, 403),
    ],
)
def test_only_what_says_that_it_comes_from_another_site_is_refused(
    client: Browser, headers: dict[str, str], status: int
) -> None:
    before = tables.everything()
    assert client.post("/join", data={"address": ALICE}, headers=headers).status_code == status
    if status == 403:
        assert tables.everything() == before


def test_another_sites_link_opens_every_page(client: Browser, alice: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://mail.example"}
    assert client.get(f"/place/{alice}", headers=headers).status_code == 200


def test_a_foreign_post_with_a_token_changes_nothing(
    client: Browser, app: Flask, now: datetime, clock: time_machine.Traveller
) -> None:
    token = links.entry_token(Purpose.CONFIRM, people.join(BOB, now=now))
    answer = client.post(f"/confirm/{token}", headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert people.find(BOB).state == "pending"


def test_every_answer_has_the_headers_of_a_careful_page(client: Browser, alice: str) -> None:
    answers = [
        client.get("/"),
        client.get("/line"),
        client.get(f"/place/{alice}"),
        client.get("/place/x"),
        client.get("/nowhere"),
        client.post("/join", data={"address": BOB}),
        client.post("/join", data={"address": "x"}),
        client.post("/join", data={"address": BOB}, headers={"Origin": "https://evil.example"}),
        client.post(f"/place/{alice}"),
        client.get("/healthz"),
    ]
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert "Set-Cookie" not in answer.headers
        assert "<script>" not in answer.text
        assert "style=" not in answer.text


def test_only_public_pages_are_cached(client: Browser, alice: str) -> None:
    assert "public" in client.get("/").headers["Cache-Control"]
    assert "public" in client.get("/line").headers["Cache-Control"]
    assert "Accept-Language" in client.get("/").headers["Vary"]
    for path in (f"/place/{alice}", "/place/x", "/healthz"):
        assert client.get(path).headers["Cache-Control"] == "no-store"
    assert client.post("/join", data={"address": BOB}).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "query,accept,language",
    [
        ("", "", "en"),
        ("", "fr", "fr"),
        ("", "fr-CH, en;q=0.5", "fr"),
        ("", "de, fr;q=0.5", "fr"),
        ("", "de", "en"),
        ("?lang=fr", "en", "fr"),
        ("?lang=en", "fr", "en"),
        ("?lang=de", "fr", "fr"),
    ],
)
def test_a_page_is_in_the_language_that_was_asked_for(
    client: Browser, query: str, accept: str, language: str
) -> None:
    headers = {"Accept-Language": accept} if accept else {}
    assert f'<html lang="{language}">' in client.get(f"/{query}", headers=headers).text


def test_a_persons_pages_are_in_their_own_language(
    client: Browser, app: Flask, now: datetime, deliver: Deliver, clock: time_machine.Traveller
) -> None:
    entry = people.wait_in_line(ALICE, now=now, locale="fr")
    for purpose in (Purpose.CONFIRM, Purpose.PLACE, Purpose.UNDO):
        path = f"/{purpose}/{links.entry_token(purpose, entry)}"
        assert '<html lang="fr">' in client.get(path, headers={"Accept-Language": "en"}).text
        assert '<html lang="en">' in client.get(f"{path}?lang=en").text
    people.invite(entry, now=now)
    mails = deliver()
    link = people.link_in(mails[0], "/invite/")
    assert '<html lang="fr">' in client.get(link).text
    assert {mail["Content-Language"] for mail in mails} == {"fr"}
    welcome = people.register(entry, "alice", now=now).welcome_token
    assert '<html lang="fr">' in client.get(f"/welcome/{welcome}").text


@pytest.mark.parametrize(
    "method,path,body,status,kind",
    [
        ("GET", "/nowhere", None, 404, "http-404"),
        ("GET", "/place/x", None, 404, "link-unknown"),
        ("GET", "/join", None, 405, "http-405"),
        ("POST", "/join", {"address": "x"}, 422, "address-invalid"),
        ("POST", "/join", {}, 422, "address-invalid"),
        ("POST", "/api/v1/completions", {"token": "x"}, 404, "link-unknown"),
        ("POST", "/api/v1/completions", {}, 404, "link-unknown"),
    ],
)
def test_programs_get_a_problem_document(
    client: Browser, method: str, path: str, body: Any, status: int, kind: str
) -> None:
    answer = client.open(path, method=method, json=body, headers=JSON)
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"
    assert answer.json is not None
    assert answer.json["type"] == f"urn:waitlist:{kind}"
    assert answer.json["status"] == status
    assert answer.json["title"]
    assert answer.json["detail"]


def test_a_wrong_address_is_said_on_the_page_and_what_was_typed_is_kept(client: Browser) -> None:
    page = client.post("/join", data={"address": 'ada"><b>@'})
    assert page.status_code == 422
    assert "an e-mail address" in page.text
    assert "ada&#34;&gt;&lt;b&gt;@" in page.text
    french = client.post("/join?lang=fr", data={"address": "ada"})
    assert '<html lang="fr">' in french.text
    assert "an e-mail address" not in french.text


def test_a_name_of_a_file_is_shown_as_text_never_as_markup(
    client: Browser, app: Flask, now: datetime, deliver: Deliver
) -> None:
    entry = people.make(people.join(ALICE, now=now), name="<b>Ada</b>")
    (mail,) = deliver()
    html = mail.get_body(("html",))
    assert html is not None
    assert "<b>Ada</b>" not in html.get_content()
    assert entry.name in people.words_of(mail)


def test_logs_name_routes_and_neither_tokens_nor_addresses(
    capsys: pytest.CaptureFixture[str],
    make_app: MakeApp,
    app: Flask,
    now: datetime,
    deliver: Deliver,
    clock: time_machine.Traveller,
) -> None:
    browser = Browser(make_app())
    browser.post("/join", data={"address": ALICE})
    browser.post("/join", json={"address": ALICE})
    browser.post("/join", data={"address": "not-an-address@"})
    mails = deliver()
    entry = people.find(ALICE)
    confirm = links.entry_token(Purpose.CONFIRM, entry)
    browser.post(f"/confirm/{confirm}")
    browser.get(f"/place/{links.entry_token(Purpose.PLACE, entry)}?lang=fr")
    browser.get(f"/place/{confirm}")
    browser.get(f"/nowhere/{confirm}")
    mails += deliver()
    people.invite(entry, now=now)
    mails += deliver()
    invite = links.invitation_token(people.invitation_of(entry))
    browser.post(f"/invite/{invite}", data={"handle": "no"})
    form = {"handle": "alice", "display_name": "Alice A.", "terms": "yes"}
    browser.post(f"/invite/{invite}", data={**form, "password": people.PASSWORD})
    browser.post("/api/v1/completions", json={"token": invite, **form})
    logged = capsys.readouterr().err
    assert '"route": "/place/<token>"' in logged
    assert '"route": "(none)"' in logged
    assert len(mails) == 3
    for secret in ("alice", "example.org", "not-an-address", people.PASSWORD, confirm, invite):
        assert secret not in logged.lower()
    assert confirm[:12] not in logged


def test_an_error_of_ours_is_a_page_and_a_log_without_what_was_sent(
    capsys: pytest.CaptureFixture[str], make_app: MakeApp
) -> None:
    broken = make_app()

    def breaks() -> str:
        raise RuntimeError(ALICE)

    broken.add_url_rule("/breaks", view_func=breaks)
    answer = Browser(broken).get("/breaks")
    assert answer.status_code == 500
    assert "lose your place" in answer.text
    logged = capsys.readouterr().err
    assert '"error": "RuntimeError"' in logged
    assert ALICE not in logged + answer.text
