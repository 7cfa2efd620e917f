"""`flask gate`: the live switches, each a change of the gate like those of rate and capacity."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from waitlist.admission import controls
from waitlist.admission.controls import Wanted
from waitlist.cli import terminal, times
from waitlist.cli.gate import change, if_version
from waitlist.config import LOCALES
from waitlist.errors import ValueRefused


@click.command()
@click.argument("state", type=click.Choice(controls.JOINING))
@if_version
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def joining(state: str, version: int | None, reason: str, as_json: bool) -> None:
    """Open or close joining. Who has joined keeps their place and may confirm."""
    change(Wanted(joining=state), reason, as_json, version)


@click.command()
@click.argument("kinds", nargs=-1, required=True)
@if_version
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def hold(kinds: tuple[str, ...], version: int | None, reason: str, as_json: bool) -> None:
    """Hold mail of these KINDS back; all other mail goes on. A held invitation has no deadline."""
    change(Wanted(hold=kinds), reason, as_json, version)


@click.command()
@click.argument("kinds", nargs=-1, required=True)
@if_version
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def release(kinds: tuple[str, ...], version: int | None, reason: str, as_json: bool) -> None:
    """Let mail of these KINDS go again, in its order."""
    change(Wanted(release=kinds), reason, as_json, version)


@click.command()
@click.argument("state", type=click.Choice(["on", "off"]))
@if_version
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def referral(state: str, version: int | None, reason: str, as_json: bool) -> None:
    """Switch referral on or off. So far nothing asks for it: referral comes later."""
    change(Wanted(referral=state == "on"), reason, as_json, version)


@click.command()
@click.argument("words", nargs=-1)
@click.option("--clear", is_flag=True, help="Take notices away: of the languages named, or all.")
@if_version
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def notice(
    words: tuple[str, ...], clear: bool, version: int | None, reason: str, as_json: bool
) -> None:
    """Show a notice on the pages of people: [LANGUAGE TEXT]…, or --clear [LANGUAGE]….

    Each language has one, plain text of at most 300 characters: flask gate notice en "We open
    at noon." fr "Nous ouvrons à midi."
    """
    if clear:
        wanted = dict.fromkeys(words or LOCALES, "")
    elif words and len(words) % 2 == 0:
        wanted = {
            language: _text(text) for language, text in zip(words[::2], words[1::2], strict=True)
        }
    else:
        raise click.UsageError('say the language and the text: flask gate notice en "…"')
    change(Wanted(notices=wanted), reason, as_json, version)


@click.command("ignore-health")
@click.option("--for", "duration", help="For so long, such as 30m or 2h; 24h at most.")
@click.option("--until", help=f"Until this time, {times.FORM}.")
@click.option("--stop", is_flag=True, help="Heed it again from now on.")
@if_version
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def ignore_health(
    duration: str | None,
    until: str | None,
    stop: bool,
    version: int | None,
    reason: str,
    as_json: bool,
) -> None:
    """Let the gate go on whatever the product says of its health, for a while."""
    if [duration is not None, until is not None, stop].count(True) != 1:
        raise click.UsageError("say one of --for, --until, --stop")
    now = datetime.now(UTC)
    end = now if stop else now + times.read_while(duration) if duration else times.read(until or "")
    if not stop and end <= now:
        raise ValueRefused("that is past: to heed the product's health again, say --stop")
    change(Wanted(ignore_health_until=end), reason, as_json, version, now=now)


@click.command("accept-bounces")
@if_version
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def accept_bounces(version: int | None, reason: str, as_json: bool) -> None:
    """Go on after too many invitations came back: it is known why. Counting begins anew."""
    change(Wanted(accept_bounces=True), reason, as_json, version)


COMMANDS = (joining, hold, release, referral, notice, ignore_health, accept_bounces)


def _text(words: str) -> str:
    text = " ".join(words.split())
    if not text:
        raise ValueRefused("a notice says something; to take it away: flask gate notice --clear")
    return text
