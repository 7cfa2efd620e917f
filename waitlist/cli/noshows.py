"""`flask gate no-shows`: how many of those invited finish, how soon, and who will still come."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import click

from waitlist.admission import noshows
from waitlist.admission.noshows import Showing
from waitlist.cli import terminal
from waitlist.extensions import reading
from waitlist.policy.survival import Share

HOURS = (1, 3, 6, 12, 24, 48)  # of which the share is told


@click.command("no-shows")
@terminal.as_json
@terminal.refusing
def show(as_json: bool) -> None:
    """Show how many of those invited finish, how soon, and how many will still come."""
    with reading():
        found = noshows.learned(now=datetime.now(UTC))
    if as_json:
        terminal.show_json(found.as_json())
        return
    terminal.show_table(
        ("invitations", "mailed so far"),
        [
            ("mailed", f"{found.mailed:,}"),
            ("finished", f"{found.completed:,}"),
            ("open", f"{found.open:,}, of whom {found.expected:,.0f} will finish"),
            (
                "expected",
                f"{found.expected_1h:,.0f} in an hour, {found.expected_24h:,.0f} in a day",
            ),
            ("who finishes", _share(found.share) if found.mailed else None),
            *(_curve(found) if found.mailed else ()),
            ("half of them within", _hours(found.half_within)),
            ("suggested expiry", _hours(found.suggested_expiry)),
        ],
    )


def _curve(found: Showing) -> Iterator[tuple[str, str]]:
    for hours in HOURS:
        if hours < len(found.curve):
            yield f"… within {hours} h", _share(found.curve[hours - 1])


def _share(share: Share) -> str:
    return f"{share.of:.0%} ({share.low:.0%} to {share.high:.0%})"


def _hours(hours: int | None) -> str | None:
    return None if hours is None else f"{hours} hours"
