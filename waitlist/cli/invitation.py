"""`flask invitation`: send one again, extend it, take it back, issue a fresh one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from waitlist.admission import recall
from waitlist.cli import terminal, times
from waitlist.extensions import reading
from waitlist.onboarding import by_hand, disputes, extending
from waitlist.signup import people

addresses_of = click.argument("addresses", nargs=-1, required=True)


@click.group("invitation")
def group() -> None:
    """Invitations: the mailed right to finish."""


@group.command()
@addresses_of
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def resend(addresses: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Mail the link of their open invitations once more: the same link, the same end."""
    many = by_hand.resend(
        _ids(addresses), actor=terminal.actor(), reason=reason, now=datetime.now(UTC)
    )
    _say(as_json, f"Mailed again: {many:,}.", resent=many)


@group.command()
@click.argument("addresses", nargs=-1)
@click.option("--wave", "wave_id", type=int, help="Of everybody whom this wave admitted.")
@click.option("--by", help="By so long, such as 24h; from now on, if the time is over.")
@click.option("--until", help=f"Until then, {times.FORM}. None is cut short.")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def extend(
    addresses: tuple[str, ...],
    wave_id: int | None,
    by: str | None,
    until: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Let open invitations end later. The links stay as they are."""
    if bool(addresses) == (wave_id is not None):
        raise click.UsageError("give either addresses or --wave ID")
    if (by is None) == (until is None):
        raise click.UsageError("say either --by 24h or --until TIME")
    now, actor = datetime.now(UTC), terminal.actor()
    longer = times.read_while(by) if by else None
    end = times.read_coming(until, now=now) if until else None
    if wave_id is None:
        done = extending.extend(
            _ids(addresses), by=longer, until=end, actor=actor, reason=reason, now=now
        )
    else:
        with reading():
            recall.find(wave_id)
        done = extending.extend_wave(
            wave_id, by=longer, until=end, actor=actor, reason=reason, now=now
        )
    left = f" {done.unchanged:,} have no deadline yet, or a later one." if done.unchanged else ""
    _say(as_json, f"Invitations that end later now: {done.extended:,}.{left}", **done._asdict())


@group.command()
@addresses_of
@click.option("--apology", is_flag=True, help="Mail everybody who had the mail that we are sorry.")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def revoke(addresses: tuple[str, ...], apology: bool, reason: str, as_json: bool) -> None:
    """Take open invitations back. Their owners are at their old places in line."""
    entry_ids = _ids(addresses)
    sorry = by_hand.revoke(
        entry_ids, apology=apology, actor=terminal.actor(), reason=reason, now=datetime.now(UTC)
    )
    words = (
        f"{len(entry_ids):,} taken back, {sorry:,} apologies owed. They stand at the front again: "
        "unless the gate is paused, its next tick may invite them."
    )
    _say(as_json, words, revoked=len(entry_ids), apologies=sorry)


@group.command()
@addresses_of
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def reissue(addresses: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Mail a fresh link to people whose invitation is over, however often they had one."""
    many = by_hand.reissue(
        _ids(addresses), actor=terminal.actor(), reason=reason, now=datetime.now(UTC)
    )
    _say(as_json, f"{many:,} have a fresh invitation.", reissued=many)


@group.command()
@terminal.as_json
@terminal.refusing
def disputed(as_json: bool) -> None:
    """List registrations of which their invitees say that it wasn't they."""
    with reading():
        found = disputes.listed()
    if as_json:
        terminal.show_json([one._asdict() for one in found])
        return
    rows = [
        (one.entry_id, one.address, times.shown(one.registered_at), times.shown(one.disputed_at))
        for one in found
    ]
    terminal.show_table(("person", "address", "registered", "disputed"), rows)
    if found:
        click.echo(
            "It was they: flask invitation undispute ADDRESS. It wasn't: close the account in "
            "the product, then flask invitation reissue ADDRESS"
        )


@group.command()
@click.argument("address")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def undispute(address: str, reason: str, as_json: bool) -> None:
    """Say that it was they who registered after all. Nothing else changes."""
    (entry_id,) = _ids([address])
    disputes.undispute(entry_id, actor=terminal.actor(), reason=reason, now=datetime.now(UTC))
    _say(as_json, "The registration stands.", undisputed=1)


def _ids(addresses: Sequence[str]) -> list[int]:
    """The people of these addresses; whoever is named twice counts once."""
    with reading():
        return sorted({people.find(address).id for address in addresses})


def _say(as_json: bool, words: str, **told: int) -> None:
    if as_json:
        terminal.show_json(told)
    else:
        click.echo(words)
