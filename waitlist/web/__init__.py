"""The pages: one blueprint a file, and what holds for all of them."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix
from whitenoise import WhiteNoise

from waitlist.config import Settings
from waitlist.web import (
    api,
    dev,
    errors,
    health,
    hooks,
    invite,
    metrics,
    public,
    security,
    words,
)


def init_app(app: Flask) -> None:
    """Register every blueprint and what all pages share."""
    settings: Settings = app.config["SETTINGS"]
    for blueprint in (public.bp, invite.bp, api.bp, health.bp, hooks.bp, metrics.bp):
        app.register_blueprint(blueprint)
    if settings.development:
        app.register_blueprint(dev.bp)
    words.init_app(app)
    security.init_app(app)
    errors.init_app(app)
    if settings.proxy_hops:
        hops = settings.proxy_hops
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    app.wsgi_app = WhiteNoise(  # type: ignore[method-assign]
        app.wsgi_app, root=app.static_folder, prefix="static/", max_age=3600
    )
