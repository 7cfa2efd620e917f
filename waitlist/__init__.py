"""A signup waitlist and onboarding gatekeeper."""

from __future__ import annotations

import os

from flask import Flask

from waitlist import config, extensions, log, web
from waitlist.cli import init_app as init_cli
from waitlist.config import ROOT, Settings


def create_app(settings: Settings | None = None) -> Flask:
    """The app, wired by `settings` (those of the environment unless given)."""
    settings = settings or config.load(os.environ)
    app = Flask(
        __name__,
        instance_path=str(settings.instance),
        template_folder=str(ROOT / "templates"),
        static_folder=str(ROOT / "waitlist" / "static"),
    )
    app.config.from_mapping(config.flask_config(settings))
    log.init_app(app)
    extensions.init_app(app)
    web.init_app(app)
    init_cli(app)
    return app
