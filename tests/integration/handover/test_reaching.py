"""Where webhooks may go: looked up once, checked, and connected to that very address."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests import products
from tests.conftest import MakeApp
from tests.integration.handover.conftest import HandOver, Register, add, standing, webhooks
from tests.products import Product
from waitlist.config import Settings
from waitlist.errors import ValueRefused
from waitlist.handover import endpoints, reaching
from waitlist.handover.endpoints import Who
from waitlist.handover.sending import Answer, Connections, Letter
from waitlist.policy.retrying import Verdict

CERTIFICATE = Path(__file__).parents[2] / "samples" / "product.pem"  # of product.example
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
LETTER = Letter("msg_1", b"{}", (SECRET,), datetime(2027, 3, 1, tzinfo=UTC))


class Names:
    """Who answers for names: one answer after the other, the last of them for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), list[str]()

    def __call__(self, host: str, port: int, **_more: Any) -> list[Any]:
        self.asked.append(host)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]


def _post(url: str, names: Names) -> Answer:
    with Connections(url, resolve=names) as there:
        return there.post(LETTER)


def _named(product: Product, host: str = "product.example") -> str:
    return product.url.replace("127.0.0.1", host).replace("127.0.0.2", host)


@pytest.fixture
def strict(make_app: MakeApp) -> Iterator[Flask]:
    """Where only 127.0.0.2 may be told, of this machine."""
    app = make_app(webhook_allow=("127.0.0.2",))
    with app.app_context():
        yield app


@contextmanager
def _raw(*words: bytes, pause: float = 0) -> Iterator[str]:
    """A server that sends these words to whoever connects, with pauses, whatever it is asked."""
    server = socket.create_server(("127.0.0.2", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            for some in words:
                connection.sendall(some)
                time.sleep(pause)

    def serving() -> None:
        try:
            serve()
        except OSError:
            return  # it was hung up

    thread = threading.Thread(target=serving, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.2:{server.getsockname()[1]}/"
    finally:
        server.close()
        thread.join(10)


def test_a_name_is_looked_up_once_and_the_address_that_was_checked_is_connected_to(
    strict: Flask,
) -> None:
    """Who answers for the name gives one that may be reached, and then one that mustn't be."""
    with products.listening("127.0.0.2") as allowed:
        port = int(allowed.url.split(":")[2].partition("/")[0])
        with products.listening("127.0.0.1", port) as ours:
            names = Names(["127.0.0.2"], ["127.0.0.1"])
            answer = _post(_named(allowed), names)
    assert answer.verdict is Verdict.DELIVERED
    assert names.asked == ["product.example"]
    assert (len(allowed.told), len(ours.told)) == (1, 0)
    assert allowed.told[0].headers["host"] == f"product.example:{port}"


def test_a_name_that_leads_to_one_of_our_own_addresses_isnt_connected_to(strict: Flask) -> None:
    """Not even if another of its addresses would be right."""
    with products.listening("127.0.0.1") as ours:
        for found in (["127.0.0.1"], ["127.0.0.2", "127.0.0.1"], ["8.8.8.8", "127.0.0.1"]):
            answer = _post(_named(ours), Names(found))
            assert answer.verdict is Verdict.AWAY
            assert "127.0.0.1 isn't public" in answer.words or "plain http" in answer.words
        assert ours.told == []


def test_a_name_that_came_to_lead_elsewhere_holds_the_webhook_and_says_why(
    app: Flask,
    make_app: MakeApp,
    settings: Settings,
    product: Product,
    who: Who,
    register: Register,
    hand_over: HandOver,
) -> None:
    """By the real look-up: nothing was asked when it was added, for names change."""
    endpoint = add(product.url.replace("127.0.0.1", "localhost"), who)
    register()
    app.config["SETTINGS"] = replace(settings, webhook_allow=("10.0.0.0/8",))
    assert hand_over() == []
    [webhook] = webhooks()
    assert webhook.state == "pending"
    assert "isn't public: see WEBHOOK_ALLOW" in webhook.reason
    assert standing(endpoint).why == webhook.reason


def test_an_address_that_doesnt_answer_is_followed_by_the_next(strict: Flask) -> None:
    with products.listening("127.0.0.2") as product:
        strict.config["SETTINGS"] = replace(
            strict.config["SETTINGS"], webhook_allow=("127.0.0.0/8",)
        )
        answer = _post(_named(product), Names(["127.0.0.3", "127.0.0.2"]))
    assert answer.words == "answered 200"


def test_no_proxy_of_the_environment_is_asked(
    strict: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with products.listening("127.0.0.1") as proxy, products.listening("127.0.0.2") as product:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        with Connections(product.url) as there:
            assert there.post(LETTER).verdict is Verdict.DELIVERED
        assert (len(proxy.told), len(product.told)) == (0, 1)


@pytest.mark.parametrize(
    "words", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Le", b"\0" * 9_000]
)
def test_who_cuts_off_or_speaks_no_http_is_away(strict: Flask, words: bytes) -> None:
    with _raw(words) as url, Connections(url) as there:
        answer = there.post(LETTER)
    assert answer.verdict is Verdict.AWAY
    assert answer.words.startswith("cut off before an answer")


def test_the_certificate_must_be_of_the_name_though_the_address_is_chosen_by_us(
    strict: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(["127.0.0.2"])
    with products.listening("127.0.0.2", certificate=CERTIFICATE) as product:
        url = _named(product)
        assert "no safe connection" in _post(url, names).words  # nobody trusts it
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        assert _post(url, names).words == "answered 200"
        elsewhere = _named(product, "elsewhere.example")
        assert "no safe connection" in _post(elsewhere, names).words


def test_who_sends_a_byte_now_and_then_doesnt_keep_us(
    strict: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is that of all of an attempt, not of a wait."""
    monkeypatch.setattr(reaching, "ANSWER_WITHIN", 0.4)
    begun = time.monotonic()
    drips = (bytes([byte]) for byte in b"HTTP/1.1 200 OK")
    with _raw(*drips, pause=0.1) as url, Connections(url) as there:
        answer = there.post(LETTER)
    assert answer.words == "no answer within 0.4 s"
    assert time.monotonic() - begun < 3


def test_a_body_that_drips_doesnt_keep_us_and_the_status_counts(
    strict: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaching, "ANSWER_WITHIN", 0.4)
    head = b"HTTP/1.1 204 OK\r\nContent-Length: 15\r\n\r\n".replace(b"204", b"200")
    begun = time.monotonic()
    with _raw(head, *[b"x"] * 15, pause=0.1) as url, Connections(url) as there:
        answer = there.post(LETTER)
    assert answer.verdict is Verdict.DELIVERED
    assert time.monotonic() - begun < 3


def test_a_name_that_nobody_knows_is_away(strict: Flask) -> None:
    with Connections("https://nowhere.invalid/") as there:
        answer = there.post(LETTER)
    assert answer.words == "no connection: its name can't be found"


@pytest.mark.parametrize(
    "url,why",
    [
        ("ftp://example.com/", "https://example.com/hooks"),
        ("example.com/hooks", "https://example.com/hooks"),
        ("https:///hooks", "https://example.com/hooks"),
        ("https://exa mple.com/", "https://example.com/hooks"),
        ("https://éxample.com/", "https://example.com/hooks"),
        ("https://example.com:99999/", "https://example.com/hooks"),
        ("https://user:secret@example.com/", "user"),
        ("https://example.com/#there", "fragment"),
        ("https://example.com/" + "x" * 2_000, "2,000"),
        ("https://10.0.0.1/hooks", "isn't public"),
        ("https://[::1]/hooks", "isn't public"),
        ("http://8.8.8.8/hooks", "https"),
    ],
)
def test_an_address_that_cant_be_told_is_refused_when_it_is_added(
    app: Flask, who: Who, url: str, why: str
) -> None:
    with pytest.raises(ValueRefused, match=why):
        endpoints.add(url, who=who)


def test_plain_http_is_refused_where_the_setting_names_nothing(make_app: MakeApp, who: Who) -> None:
    with make_app(webhook_allow=()).app_context():
        with pytest.raises(ValueRefused, match="WEBHOOK_ALLOW"):
            endpoints.add("http://example.com/hooks", who=who)
        endpoints.add("https://example.com/hooks", who=who)


def test_a_password_hash_never_goes_by_plain_http(app: Flask, product: Product, who: Who) -> None:
    with pytest.raises(ValueRefused, match="https only"):
        endpoints.add(product.url, with_password_hash=True, who=who)
