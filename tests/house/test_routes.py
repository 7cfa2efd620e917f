"""Every route, and who may use it. A new one needs its line here, and a thought."""

from __future__ import annotations

from flask import Flask

from tests.conftest import MakeApp
from waitlist.tokens import Purpose

ANYONE, PRODUCT, PROBE, DEVELOPER = "anyone", "product", "probe", "developer"
PROVIDER = "mail provider"
ROUTES = {
    ("GET", "/"): ANYONE,
    ("POST", "/join"): ANYONE,
    ("GET", "/line"): ANYONE,
    ("GET", "/static/<path:filename>"): ANYONE,
    ("GET", "/confirm/<token>"): Purpose.CONFIRM,
    ("POST", "/confirm/<token>"): Purpose.CONFIRM,
    ("GET", "/place/<token>"): Purpose.PLACE,
    ("POST", "/place/<token>"): Purpose.PLACE,
    ("GET", "/act/<token>"): Purpose.ACT,
    ("POST", "/act/<token>"): Purpose.ACT,
    ("GET", "/undo/<token>"): Purpose.UNDO,
    ("POST", "/undo/<token>"): Purpose.UNDO,
    ("GET", "/invite/<token>"): Purpose.INVITE,
    ("POST", "/invite/<token>"): Purpose.INVITE,
    ("POST", "/invite/<token>/renew"): Purpose.INVITE,
    ("GET", "/welcome/<token>"): Purpose.WELCOME,
    ("GET", "/welcome/<token>/state"): Purpose.WELCOME,
    ("GET", "/dispute/<token>"): Purpose.DISPUTE,
    ("POST", "/dispute/<token>"): Purpose.DISPUTE,
    ("POST", "/api/v1/completions"): PRODUCT,  # the invitation's token is in the body
    ("POST", "/api/v1/signals/health"): PRODUCT,  # with HEALTH_TOKEN; without the setting 404
    ("POST", "/hooks/mail/<provider>"): PROVIDER,  # each by its signature; without it set 404
    ("GET", "/healthz"): PROBE,
    ("GET", "/readyz"): PROBE,
    ("GET", "/metrics"): PROBE,
}
DEVELOPMENT_ROUTES = {
    ("GET", "/dev/mail"): DEVELOPER,
    ("GET", "/dev/mail/<key>"): DEVELOPER,
    ("GET", "/dev/mail/<key>/html"): DEVELOPER,
}


def _routes(app: Flask) -> set[tuple[str, str]]:
    return {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_every_route_is_known_with_who_may_use_it(app: Flask) -> None:
    assert _routes(app) == set(ROUTES)


def test_development_adds_its_mailbox_and_nothing_else(make_app: MakeApp) -> None:
    assert _routes(make_app(development=True)) == set(ROUTES) | set(DEVELOPMENT_ROUTES)


def test_every_route_with_a_token_has_one_purpose(app: Flask) -> None:
    for (_method, rule), who in ROUTES.items():
        if isinstance(who, Purpose):
            assert rule.split("/")[1] == who
        else:
            assert "<token>" not in rule
