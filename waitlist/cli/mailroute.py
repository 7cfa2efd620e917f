"""`flask mail show` and `route`: by which server mail goes, and how each is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

import click

from waitlist import postage, routing
from waitlist.admission import mails
from waitlist.admission.controls import Wanted
from waitlist.admission.mails import RouteView
from waitlist.cli import gateview, terminal, times
from waitlist.cli.gate import change, if_version
from waitlist.config import Relay
from waitlist.extensions import reading
from waitlist.mailcheck import everything
from waitlist.policy import routes


@click.command()
@terminal.as_json
@terminal.refusing
def show(as_json: bool) -> None:
    """Show by which server mail goes and why, and how each server is."""
    now = datetime.now(UTC)
    with reading():
        mail = mails.budgets(postage.read(now=now), now=now)
    servers = {name: _address(relay) for name, relay in everything.relays().items()}
    away = {name: routing.is_away(name) for name in servers}
    if as_json:
        told = {name: {"server": servers[name], "away": away[name]} for name in servers}
        terminal.show_json({**asdict(mail), "servers": told})
        return
    rows: list[tuple[str, object]] = [
        ("route", gateview.route(mail.route)),
        *(
            (f"{name} server", f"{servers[name]}{', away a moment ago' if away[name] else ''}")
            for name in servers
        ),
        *_fared(mail.route),
        *gateview.mail_rows(mail),
    ]
    terminal.show_table(("mail", ""), rows)


@click.command()
@click.argument("which", type=click.Choice(routes.WORDS))
@if_version
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def route(which: str, version: int | None, reason: str, as_json: bool) -> None:
    """Send mail by the first server or the second; auto: by itself, as the first fares."""
    change(Wanted(mail_route=which), reason, as_json, version)


def _address(relay: Relay) -> str:
    return f"{relay.server}:{relay.port}"


def _fared(route: RouteView) -> Iterator[tuple[str, object]]:
    if route.failing_since:
        since = times.shown(datetime.fromisoformat(route.failing_since))
        yield "no mail could go by it since", since
    if asked := route.taken + route.refused:
        yield "refused lately", f"{route.refused:,} of {asked:,}"
