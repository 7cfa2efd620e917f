"""`flask mail check`: whether mail would arrive, and one real mail to see it."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address

import click

from waitlist.cli import terminal
from waitlist.errors import ValueRefused
from waitlist.mailcheck import everything
from waitlist.mailcheck.findings import FAIL
from waitlist.policy import identity

SIGNS = {"pass": "✓", "warn": "!", "fail": "✗"}


@click.command()
@click.option("--to", help="Send one real mail there, by each route.")
@click.option("--nameserver", help="Ask this one, such as 9.9.9.9 or 127.0.0.1:5353.")
@click.option("--sends-from", multiple=True, help="An address from which the relay sends, for SPF.")
@terminal.as_json
@terminal.refusing
def check(
    to: str | None, nameserver: str | None, sends_from: tuple[str, ...], as_json: bool
) -> None:
    """Check whether mail would arrive: SPF, DKIM, DMARC, TLS, signing in, and the links.

    Exit status 1 if anything fails. Changes nothing.
    """
    findings = everything.check(
        to=identity.canonical_address(to).mail_to if to else None,
        nameserver=nameserver,
        sends_from=[_address(one) for one in sends_from],
        now=datetime.now(UTC),
    )
    found = []
    for one in findings:
        found.append(one)
        if not as_json:
            click.echo(f"{SIGNS[one.result]} {one.check}: {one.sentence}")
    fails = sum(one.result == FAIL for one in found)
    if as_json:
        terminal.show_json([one._asdict() for one in found])
    if not as_json and not to:
        click.echo("No mail was sent: to see one arrive, say --to ADDRESS.")
    if fails:
        terminal.refuse(f"{fails} of {len(found)} checks failed")


def _address(words: str) -> str:
    try:
        return str(ip_address(words))
    except ValueError as error:
        raise ValueRefused(
            f"--sends-from is an address such as 192.0.2.7, not {words!r}"
        ) from error
