"""`flask invitation stuck` and `mend`: who couldn't finish, and making it good."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from waitlist.admission import gate
from waitlist.cli import terminal, times
from waitlist.errors import ValueRefused
from waitlist.extensions import reading
from waitlist.onboarding import mending, stuck
from waitlist.onboarding.mending import Mended
from waitlist.onboarding.stuck import OURS, Choice, Found, Stuck, Tally
from waitlist.signup import people

MOST_SHOWN = 50  # people in the table; --json has all
DID = {
    "extended": "have more time, by the link they have",
    "re-issued": "have a fresh link, and a seat",
    "in line": "are at the front of the line, as no seat is free",
}


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """The options that choose failed tries."""
    for option in (
        click.option("--only", multiple=True, metavar="PERSON", help="An address or a number."),
        click.option("--kinds", help="Only these, comma between: unavailable,fields-invalid."),
        click.option("--since", default="24h", show_default=True, help="30m, 2h, 1d, or a time."),
    ):
        command = option(command)
    return command


@click.command("stuck")
@choosing
@terminal.as_json
@terminal.refusing
def show(since: str, kinds: str | None, only: tuple[str, ...], as_json: bool) -> None:
    """Show who tried to finish and didn't get through, the newest first; and all that failed."""
    now = datetime.now(UTC)
    with reading():
        choice = _choice(since, _kinds(kinds), only, now=now)
        found = stuck.find(choice, now=now)
        owed = mending.foretell(choice._replace(kinds=OURS), now=now).did.total()
    if as_json:
        terminal.show_json(_as_json(found))
        return
    for name, tallies in (("kind", found.kinds), ("release", found.releases)):
        terminal.show_table((name, "tries", "people", "stuck"), _rows(tallies))
        click.echo()
    columns = ("person", "address", "invitation", "tries", "kinds", "last try", "mended")
    terminal.show_table(columns, [_row(one) for one in found.people[:MOST_SHOWN]])
    if more := len(found.people[MOST_SHOWN:]):
        click.echo(f"… and {more:,} more: --json has all.")
    click.echo(_advice(owed))


@click.command("mend")
@choosing
@click.option("--all", "whatever", is_flag=True, help="Also whose own mistakes it was.")
@click.option("--dry-run", "only_say", is_flag=True, help="Only say what would happen.")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def mend(
    since: str,
    kinds: str | None,
    only: tuple[str, ...],
    whatever: bool,
    only_say: bool,
    reason: str,
    as_json: bool,
) -> None:
    """Give more time or a fresh link to those who couldn't finish by our fault, and say sorry.

    Nobody is mended twice for the same failure, so it is safe to repeat.
    """
    if whatever and kinds:
        raise click.UsageError("give either --kinds or --all")
    now = datetime.now(UTC)
    with reading():
        meant = None if whatever else (_kinds(kinds) or OURS)
        choice = _choice(since, meant, only, now=now)
    if only_say:
        with reading():
            done = mending.foretell(choice, now=now)
    else:
        done = mending.mend(choice, actor=terminal.actor(), reason=reason, now=now)
    if as_json:
        left = [one._asdict() for one in done.left]
        terminal.show_json({"dry_run": only_say, "did": dict(done.did), "left": left})
        return
    _say(done, only_say, now=now)


COMMANDS = (show, mend)


def _choice(
    since: str, kinds: tuple[str, ...] | None, only: tuple[str, ...], *, now: datetime
) -> Choice:
    whose = [_person(one) for one in only] if only else None
    return Choice(_moment(since, now=now), kinds, whose)


def _moment(words: str, *, now: datetime) -> datetime:
    if times.WHILE.fullmatch(words.strip()):
        return now - times.read_while(words)
    return times.read(words, named="--since")


def _kinds(words: str | None) -> tuple[str, ...] | None:
    kinds = tuple(word.strip() for word in (words or "").split(",") if word.strip())
    return kinds or None


def _person(word: str) -> int:
    if "@" in word:
        return people.find(word).id
    if not word.isdecimal():
        raise ValueRefused(f"--only is an address or a person's number, not {word!r}")
    return int(word)


def _rows(tallies: Mapping[str, Tally]) -> Iterator[tuple[str, ...]]:
    for name, tally in tallies.items():
        yield (name, *(f"{number:,}" for number in tally))


def _row(one: Stuck) -> tuple[Any, ...]:
    ends = f" until {times.shown(one.expires_at)}" if one.standing == "open" else ""
    standing = f"{one.standing}{ends if one.expires_at else ''}"
    kinds = ", ".join(f"{kind} ×{n}" if n > 1 else kind for kind, n in one.kinds.most_common())
    moments = times.shown(one.last_at), times.shown(one.mended_at)
    return one.entry_id, one.address, standing, one.times, kinds, *moments


def _advice(owed: int) -> str:
    if not owed:
        return "Nobody is owed an apology."
    return f"{owed:,} of them are owed an apology: flask invitation mend --dry-run"


def _say(done: Mended, only_say: bool, *, now: datetime) -> None:
    would = "would " if only_say else ""
    for did, what in DID.items():
        if many := done.did[did]:
            click.echo(f"{many:,} {would}{what}.")
    if only_say and done.did["re-issued"]:
        with reading():
            stands = gate.show(now=now)
        free = "the gate is paused" if stands.paused else f"{stands.seats_free:,} seats are free"
        click.echo(
            f"A fresh link needs a seat, and {free}: the others go to the front of the line."
        )
    if not done.did:
        click.echo("There is nobody to mend.")
    if done.left:
        terminal.show_table(("person", "address", "left alone"), done.left)


def _as_json(found: Found) -> dict[str, Any]:
    tallies = {
        name: {key: tally._asdict() for key, tally in of.items()}
        for name, of in (("kinds", found.kinds), ("releases", found.releases))
    }
    return {**tallies, "people": [_person_as_json(one) for one in found.people]}


def _person_as_json(one: Stuck) -> dict[str, Any]:
    return {
        "person": one.entry_id,
        "address": one.address,
        "invitation": one.invitation_id,
        "standing": one.standing,
        "expires_at": _iso(one.expires_at),
        "tries": one.times,
        "kinds": dict(one.kinds),
        "releases": sorted(one.releases),
        "last_at": _iso(one.last_at),
        "mended_at": _iso(one.mended_at),
        "is_mended": one.is_mended,
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
