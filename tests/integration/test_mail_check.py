"""`flask mail check`, against a real DNS server, real SMTP with TLS, and the service over https."""

from __future__ import annotations

import json
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from click.testing import Result
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from tests import people
from tests.conftest import MakeApp
from tests.nameservers import Zone, nameserver
from tests.servers import SmtpSink, smtp_sink
from tests.visitors import Operator
from waitlist.config import Relay
from waitlist.mailcheck import names

US = "join.example.com"  # of MAIL_FROM
TO = "ops@example.org"
RELAY_SENDS_FROM = "192.0.2.10"
PASSWORD = "a password of the relay"
Told = dict[str, tuple[str, str]]


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Nothing: stderr is the test's."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs certificates that this machine believes."""
    return trustme.CA()


@pytest.fixture
def _believed(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine believes the authority, as it does those of its system."""
    authority.cert_pem.write_to_path(tmp_path / "authorities.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authorities.pem"))


def _tls(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


@pytest.fixture
def zone() -> Iterator[Zone]:
    """A DNS in which all is well."""
    with nameserver() as zone:
        zone.txt(US, f"v=spf1 ip4:{RELAY_SENDS_FROM} -all")
        zone.txt(f"s1._domainkey.{US}", f"v=DKIM1; k=rsa; p={_key(2048)}")
        zone.txt("_dmarc.example.com", "v=DMARC1; p=reject")
        zone.records["MX", US] = ["10 mx.example.com."]
        yield zone


def _key(bits: int) -> str:
    key = rsa.generate_private_key(65537, bits).public_key()
    return b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


class _Relay(SmtpSink):
    """A relay with TLS, that knows us by a password."""

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, given: LoginPassword
    ) -> AuthResult:
        return AuthResult(success=given.password == PASSWORD.encode())


@pytest.fixture
def relay(authority: trustme.CA) -> Iterator[SmtpSink]:
    """The relay, whose certificate is good for localhost."""
    sink = _Relay()
    tls = _tls(authority, "localhost")
    with smtp_sink(sink, tls_context=tls, authenticator=sink.authenticate):
        yield sink


@pytest.fixture
def site(make_app: MakeApp, authority: trustme.CA) -> Iterator[str]:
    """The address of the service over https."""
    server = make_server(
        "127.0.0.1",
        0,
        make_app(),
        ssl_context=_tls(authority, "localhost"),
        request_handler=_Quiet,
    )
    with _running(server):
        yield f"https://localhost:{server.server_port}"


class _running:
    def __init__(self, server: BaseWSGIServer) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()


@pytest.fixture
def well(_believed: None, make_app: MakeApp, zone: Zone, relay: SmtpSink, site: str) -> Flask:
    """An app about which nothing is wrong."""
    return make_app(
        public_url=site,
        dkim_selectors=("s1",),
        mail_server="localhost",
        mail_port=relay.port,
        mail_username="us",
        mail_password=PASSWORD,
        mail_use_tls=True,
    )


def _changed(app: Flask, make_app: MakeApp, **changes: Any) -> Flask:
    return make_app(**{**vars(replace(app.config["SETTINGS"], **changes))})


def _ask(app: Flask, zone: Zone, *words: str) -> Result:
    with app.app_context():
        return Operator(app).run("mail", "check", "--nameserver", zone.address, *words)


def _checked(app: Flask, zone: Zone, *words: str) -> tuple[Told, int]:
    sends_from = ("--sends-from", RELAY_SENDS_FROM)
    result = _ask(app, zone, "--json", *sends_from, *words)
    found = json.loads(result.stdout)
    return {one["check"]: (one["result"], one["sentence"]) for one in found}, result.exit_code


def _results(told: Told) -> dict[str, str]:
    return {check: result for check, (result, _) in told.items()}


HERE = {"links": "warn"}  # localhost is no address for people


def test_where_all_is_well_it_says_so_and_one_real_mail_goes(
    well: Flask, zone: Zone, relay: SmtpSink
) -> None:
    told, status = _checked(well, zone, "--to", TO)
    every = (
        *("SPF", "DKIM", "DMARC", "alignment", "replies", "links", "service"),
        *("first server", "first TLS", "first sign-in", "first mail"),
    )
    assert _results(told) == {**dict.fromkeys(every, "pass"), **HERE}
    assert status == 0
    assert "TLSv1.3" in told["first TLS"][1]
    assert "reject" in told["DMARC"][1]
    [mail] = relay.messages
    assert mail.envelope.rcpt_tos == [TO]
    assert mail["From"] == f"line@{US}"
    assert "mail server number 1" in " ".join(people.words_of(mail).split())


def test_in_words_it_says_the_same(well: Flask, zone: Zone, relay: SmtpSink) -> None:
    result = _ask(well, zone, "--sends-from", RELAY_SENDS_FROM)
    assert result.exit_code == 0
    assert "✓ SPF: join.example.com lets 192.0.2.10 send its mail" in result.stdout
    assert "--to ADDRESS" in result.stdout
    assert relay.messages == []


def _without(zone: Zone, kind: str, name: str) -> None:
    del zone.records[kind, name]


WRONG = {
    "no SPF": ("SPF", "fail", "no SPF record"),
    "another's SPF": ("SPF", "fail", "says fail of mail from 192.0.2.10"),
    "SPF for all": ("SPF", "fail", "anybody may send"),
    "SPF without end": ("SPF", "warn", "says nothing of others"),
    "two SPF": ("SPF", "fail", "2 SPF records"),
    "no key": ("DKIM", "fail", "no key at s1._domainkey.join.example.com"),
    "short key": ("DKIM", "warn", "1024 bits"),
    "revoked key": ("DKIM", "fail", "revoked"),
    "no DMARC": ("DMARC", "fail", "no DMARC record"),
    "DMARC typo": ("DMARC", "warn", "asks 'rejct'"),
    "no MX": ("replies", "fail", "takes no mail"),
    "null MX": ("replies", "warn", "takes no mail"),
    "only A": ("replies", "warn", "no MX record"),
}


def _break(zone: Zone, what: str) -> None:
    match what:
        case "no SPF":
            _without(zone, "TXT", US)
        case "another's SPF":
            zone.txt(US, "v=spf1 ip4:198.51.100.7 -all")
        case "SPF for all":
            zone.txt(US, "v=spf1 +all")
        case "SPF without end":
            zone.txt(US, f"v=spf1 ip4:{RELAY_SENDS_FROM}")
        case "two SPF":
            zone.txt(US, "v=spf1 -all", "v=spf1 ~all")
        case "no key":
            _without(zone, "TXT", f"s1._domainkey.{US}")
        case "short key":
            zone.txt(f"s1._domainkey.{US}", f"v=DKIM1; p={_key(1024)}")
        case "revoked key":
            zone.txt(f"s1._domainkey.{US}", "v=DKIM1; p=")
        case "no DMARC":
            _without(zone, "TXT", "_dmarc.example.com")
        case "DMARC typo":
            zone.txt("_dmarc.example.com", "v=DMARC1; p=rejct")
        case "no MX":
            _without(zone, "MX", US)
        case "null MX":
            zone.records["MX", US] = ["0 ."]
        case "only A":
            _without(zone, "MX", US)
            zone.records["A", US] = ["192.0.2.80"]


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_in_the_dns_is_named_with_what_to_do(
    well: Flask, zone: Zone, what: str
) -> None:
    _break(zone, what)
    check, result, words = WRONG[what]
    told, status = _checked(well, zone)
    assert told[check][0] == result
    assert words in told[check][1]
    others = {name: found for name, found in _results(told).items() if name != check}
    assert "fail" not in others.values()
    assert status == (result == "fail")


def test_who_signs_for_another_domain_isnt_aligned_by_that(
    well: Flask, make_app: MakeApp, zone: Zone
) -> None:
    zone.txt("s1._domainkey.relay.test", f"v=DKIM1; p={_key(2048)}")
    zone.txt("back.relay.test", f"v=spf1 ip4:{RELAY_SENDS_FROM} -all")
    other = {"dkim_selectors": ("s1._domainkey.relay.test",), "mail_return": "b@back.relay.test"}
    told, status = _checked(_changed(well, make_app, **other), zone)
    assert told["SPF"][0] == told["DKIM"][0] == "pass"
    assert told["alignment"][0] == "fail"
    assert "sign as join.example.com" in told["alignment"][1]
    assert status == 1


def test_without_a_selector_it_says_where_to_find_it(
    well: Flask, make_app: MakeApp, zone: Zone
) -> None:
    told, status = _checked(_changed(well, make_app, dkim_selectors=()), zone)
    assert told["DKIM"][0] == "warn"
    assert "DKIM-Signature" in told["DKIM"][1]
    assert told["alignment"][0] == "pass"
    assert status == 0


def test_where_the_relay_sends_from_cant_be_known_it_says_so(well: Flask, zone: Zone) -> None:
    result = _ask(well, zone, "--json")
    [found] = [one for one in json.loads(result.stdout) if one["check"] == "SPF"]
    assert found["result"] == "warn"
    assert "--sends-from" in found["sentence"]
    assert result.exit_code == 0


@pytest.mark.parametrize(
    "changes,check,words",
    [
        ({"mail_password": "wrong"}, "first sign-in", "check MAIL_USERNAME"),
        ({"mail_server": "127.0.0.1"}, "first TLS", "isn't good for 127.0.0.1"),
        ({"mail_port": 1}, "first server", "doesn't answer"),
        ({"mail_server": "no.such.host.invalid"}, "first server", "no address"),
        ({"public_url": "https://localhost:1"}, "service", "doesn't answer"),
        ({"public_url": "http://join.no.such.invalid"}, "links", "isn't https"),
    ],
)
def test_what_is_wrong_with_a_setting_is_named(
    well: Flask, make_app: MakeApp, zone: Zone, changes: dict[str, Any], check: str, words: str
) -> None:
    told, status = _checked(_changed(well, make_app, **changes), zone)
    assert told[check][0] == "fail"
    assert words in told[check][1]
    assert status == 1
    assert PASSWORD not in str(told)


def test_a_certificate_of_nobody_known_is_refused(
    well: Flask, zone: Zone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "others.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "others.pem"))
    told, status = _checked(well, zone, "--to", TO)
    assert told["first TLS"][0] == told["service"][0] == "fail"
    assert "first sign-in" not in told
    assert told["first mail"][0] == "fail"  # as all mail
    assert status == 1


def test_a_relay_that_offers_no_tls_gets_no_password(
    well: Flask, make_app: MakeApp, zone: Zone, sink: SmtpSink
) -> None:
    told, _ = _checked(_changed(well, make_app, mail_port=sink.port), zone)
    assert told["first TLS"] == (
        "fail",
        "it offers no STARTTLS, so no mail goes: check MAIL_PORT (often 587)",
    )
    assert "first sign-in" not in told


def test_another_page_at_the_public_address_isnt_this_service(
    well: Flask, make_app: MakeApp, zone: Zone, site: str
) -> None:
    told, _ = _checked(_changed(well, make_app, public_url=f"{site}/elsewhere"), zone)
    assert told["service"][0] == "fail"
    assert "answers 404" in told["service"][1]


def test_both_routes_are_tried_and_each_has_its_own_mail(
    well: Flask, make_app: MakeApp, zone: Zone, relay: SmtpSink, sink: SmtpSink
) -> None:
    second = Relay("127.0.0.1", sink.port, None, None, False)
    told, status = _checked(_changed(well, make_app, mail2=second), zone, "--to", TO)
    assert told["second TLS"] == ("pass", "not needed: the server is on this machine")
    assert told["second mail"][0] == told["first mail"][0] == "pass"
    [by_first], [by_second] = relay.messages, sink.messages
    assert by_first["Message-ID"] != by_second["Message-ID"]
    assert status == 0
    sink.rcpt_answer = "550 No"
    told, status = _checked(_changed(well, make_app, mail2=second), zone, "--to", TO)
    assert told["second mail"][0] == "fail"
    assert status == 1


def test_without_network_it_ends_within_seconds_and_says_what_it_couldnt_learn(
    well: Flask, zone: Zone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "PATIENCE", 0.5)
    zone.is_silent = True
    began = time.monotonic()
    told, status = _checked(well, zone)
    assert time.monotonic() - began < 10
    assert zone.heard <= 2  # one question, and its repeat
    for check in ("SPF", "DKIM", "DMARC", "alignment", "replies"):
        assert told[check][0] == "fail"
        assert "check the network" in told[check][1]
    assert told["first sign-in"][0] == "pass"
    assert status == 1


def test_a_name_at_which_the_dns_fails_hides_no_other(well: Flask, zone: Zone) -> None:
    zone.fails_at = f"s1._domainkey.{US}"
    told, _ = _checked(well, zone)
    assert told["DKIM"][0] == "fail"
    assert told["SPF"][0] == told["DMARC"][0] == "pass"


@pytest.mark.parametrize(
    "words",
    [
        ("--nameserver", "one.one.one.one"),
        ("--nameserver", "127.0.0.1:dns"),
        ("--sends-from", "relay.test"),
        ("--to", "nobody"),
    ],
)
def test_what_cant_be_meant_is_refused(runner: Operator, words: tuple[str, ...]) -> None:
    result = runner.run("mail", "check", *words)
    assert result.exit_code == 1
    assert result.stdout == ""
