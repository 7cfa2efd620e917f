"""`flask webhook`: where the product is told of registrations."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from waitlist.cli import terminal, times, webhooklog
from waitlist.extensions import db, reading
from waitlist.handover import endpoints, showing, trying
from waitlist.handover.endpoints import Who
from waitlist.models import WebhookEndpoint
from waitlist.policy.retrying import Verdict

COLUMNS = ("id", "url", "events", "password hash", "state", "away since", "why")


@click.group("webhook")
def group() -> None:
    """Endpoints of the product, and the webhooks that they are owed."""


group.add_command(webhooklog.log)
group.add_command(webhooklog.replay)


@group.command()
@click.argument("url")
@click.option("--event", "events", multiple=True, help="Of what it is told; registrations else.")
@click.option("--with-password-hash", is_flag=True, help="Send the password's argon2id hash too.")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def add(
    url: str, events: tuple[str, ...], with_password_hash: bool, reason: str, as_json: bool
) -> None:
    """Tell URL of every registration from now on. Its secret is printed this once."""
    endpoint = endpoints.add(
        url, events=events, with_password_hash=with_password_hash, who=_who(reason)
    )
    if _show_secret(endpoint, as_json):
        click.echo(f"Try it: flask webhook test {endpoint.id}")
        click.echo(
            f"Registrations of before: flask webhook replay --endpoint {endpoint.id} --since TIME"
        )


@group.command("list")
@terminal.as_json
@terminal.refusing
def list_(as_json: bool) -> None:
    """List the endpoints."""
    with reading():
        found = showing.every()
    if as_json:
        terminal.show_json(found)
    else:
        terminal.show_table(COLUMNS, [_cells(one) for one in found])


@group.command()
@click.argument("endpoint_id", type=int, metavar="ID")
@terminal.as_json
@terminal.refusing
def show(endpoint_id: int, as_json: bool) -> None:
    """Show an endpoint, and what became of its webhooks."""
    with reading():
        found = showing.one(endpoint_id, now=datetime.now(UTC))
    if as_json:
        terminal.show_json(found)
        return
    terminal.show_table(COLUMNS, [_cells(found)])
    click.echo()
    terminal.show_table(showing.STATES, [[found["webhooks"][state] for state in showing.STATES]])
    if found["former_secret_until"]:
        until = times.shown(datetime.fromisoformat(found["former_secret_until"]))
        click.echo(f"\nThe former secret signs too, until {until}.")


@group.command()
@click.argument("endpoint_id", type=int, metavar="ID")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def enable(endpoint_id: int, reason: str, as_json: bool) -> None:
    """Tell it again. What it missed waits until you replay it."""
    endpoints.enable(endpoint_id, who=_who(reason))
    _show_changed(endpoint_id, as_json)


@group.command()
@click.argument("endpoint_id", type=int, metavar="ID")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def disable(endpoint_id: int, reason: str, as_json: bool) -> None:
    """Tell it nothing for now. What it is owed is kept, and waits until you replay it."""
    endpoints.disable(endpoint_id, who=_who(reason))
    _show_changed(endpoint_id, as_json)


@group.command()
@click.argument("endpoint_id", type=int, metavar="ID")
@click.option("--overlap", default="24h", help="For so long the former secret signs too: 24h, 0.")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def rotate(endpoint_id: int, overlap: str, reason: str, as_json: bool) -> None:
    """Sign with a new secret, which is printed this once."""
    during = timedelta() if overlap == "0" else times.read_while(overlap)
    endpoint = endpoints.rotate(endpoint_id, overlap=during, who=_who(reason))
    if _show_secret(endpoint, as_json) and endpoint.former_until:
        click.echo(f"The former one signs too, until {times.shown(endpoint.former_until)}.")


@group.command()
@click.argument("endpoint_id", type=int, metavar="ID")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def remove(endpoint_id: int, reason: str, as_json: bool) -> None:
    """Remove an endpoint and its log, whatever it is still owed."""
    undelivered = endpoints.remove(endpoint_id, who=_who(reason))
    if as_json:
        terminal.show_json({"removed": endpoint_id, "undelivered": undelivered})
    else:
        click.echo(f"Endpoint {endpoint_id} is removed; {undelivered:,} webhooks never got there.")


@group.command()
@click.argument("endpoint_id", type=int, metavar="ID")
@terminal.as_json
@terminal.refusing
def test(endpoint_id: int, as_json: bool) -> None:
    """Send it a webhook.test now, and say what it answers; status 1 unless that is 2xx."""
    answer = trying.send_test(endpoint_id, now=datetime.now(UTC))
    taken = answer.verdict is Verdict.DELIVERED
    if as_json:
        told = {"status": answer.status, "words": answer.words}
        terminal.show_json({"taken": taken, **told, "milliseconds": answer.milliseconds})
        sys.exit(0 if taken else 1)
    said = f"endpoint {endpoint_id}: {answer.words}, after {answer.milliseconds} ms"
    if not taken:
        terminal.refuse(said)
    click.echo(said)


def _who(reason: str) -> Who:
    return Who(terminal.actor(), reason, datetime.now(UTC))


def _show_secret(endpoint: WebhookEndpoint, as_json: bool) -> bool:
    """Print the endpoint and its secret; whether more may be said."""
    db.session.refresh(endpoint)
    if as_json:
        terminal.show_json({**showing.as_json(endpoint), "secret": endpoint.secret})
        return False
    click.echo(f"Endpoint {endpoint.id}: {endpoint.url}")
    click.echo(f"Its secret, which isn't shown again: {endpoint.secret}")
    return True


def _show_changed(endpoint_id: int, as_json: bool) -> None:
    found = showing.one(endpoint_id, now=datetime.now(UTC))
    if as_json:
        terminal.show_json(found)
        return
    waiting = found["webhooks"]["attention"]
    click.echo(f"Endpoint {endpoint_id} is {found['state']}.")
    if waiting and found["state"] == "enabled":
        click.echo(
            f"{waiting:,} webhooks wait for you. To send them: "
            f"flask webhook replay --endpoint {endpoint_id} --state attention"
        )


def _cells(found: dict[str, Any]) -> list[Any]:
    away = found["away_since"] and times.shown(datetime.fromisoformat(found["away_since"]))
    return [
        found["id"],
        found["url"],
        ", ".join(found["events"]),
        "yes" if found["with_password_hash"] else "no",
        found["state"],
        away,
        found["why"],
    ]
