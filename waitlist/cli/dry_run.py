"""What a wave would do, for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import click

from waitlist.admission import plans
from waitlist.admission.named import Unable
from waitlist.admission.preview import Foreseen, Preview
from waitlist.cli import terminal, times


def show(found: Preview, unable: Sequence[Unable], as_json: bool) -> None:
    """Print whom a wave would take, whom it would pass over, and what it would leave."""
    if as_json:
        terminal.show_json(_as_json(found, unable))
        return
    of = ", ".join(f"{people:,} of {name}" for name, people in found.by_cohort.items())
    click.echo(f"Dry run: {len(found.people):,} people would be admitted{': ' + of if of else ''}.")
    if len(found.people) < found.asked:
        why = plans.WHY.get(found.limit, "nobody else waits there")
        click.echo(f"Not all {found.asked:,}: {why}.")
    _show_people(found)
    _show_passed_over(found, unable)
    _show_costs(found)


def _show_people(found: Preview) -> None:
    if found.ends:
        click.echo()
        columns = ("nth", "position", "entry", "address", "cohort")
        terminal.show_table(columns, [_row(one, before) for before, one in _gapped(found.ends)])


def _gapped(ends: Sequence[Foreseen]) -> list[tuple[bool, Foreseen]]:
    """Each with whether others, who aren't shown, come before."""
    before = [0, *(one.nth for one in ends)]
    return [(one.nth > last + 1, one) for last, one in zip(before, ends, strict=False)]


def _row(one: Foreseen, gap: bool) -> tuple[Any, ...]:
    nth = f"… {one.nth:,}" if gap else f"{one.nth:,}"
    return (nth, one.position, one.entry_id, one.address, one.cohort)


def _show_passed_over(found: Preview, unable: Sequence[Unable]) -> None:
    passed = found.passed_over
    if passed.by_reason:
        counts = ", ".join(f"{people:,} {why}" for why, people in passed.by_reason.items())
        click.echo(f"\nPassed over before the last of them: {counts}. The first:")
        rows = [(one.entry_id, one.address, one.why) for one in passed.first]
        terminal.show_table(("entry", "address", "why"), rows)
    if unable:
        click.echo(f"\nOf the list {len(unable):,} wouldn't be invited:")
        terminal.show_table(("address", "why"), unable)


def _show_costs(found: Preview) -> None:
    click.echo()
    rows: list[tuple[Any, ...]] = [
        (f"seats of {name}", f"{seats.before:,}", f"{seats.after:,}", _number(seats.most))
        for name, seats in found.seats.items()
    ]
    mail = found.mail
    rows.append(("mails within 15 minutes", f"{mail.before:,}", f"{mail.after:,}", None))
    terminal.show_table(("", "before", "after", "of"), rows)
    if mail.first and mail.last:
        click.echo(
            f"\nThe mails would be out from {times.shown(mail.first)} to {times.shown(mail.last)}."
        )
    elif found.people:
        click.echo("\nThe mails would wait: invitations are held, or too many bounce.")


def _number(most: int | None) -> str | None:
    return None if most is None else f"{most:,}"


def _as_json(found: Preview, unable: Sequence[Unable]) -> dict[str, Any]:
    mail = found.mail
    return {
        "dry_run": True,
        "wave": None,
        "asked": found.asked,
        "admitted": len(found.people),
        "by_cohort": found.by_cohort,
        "limit": found.limit,
        "people": [one._asdict() for one in found.ends],
        "passed_over": {
            "by_reason": found.passed_over.by_reason,
            "first": [one._asdict() for one in found.passed_over.first],
        },
        "unable": [one._asdict() for one in unable],
        "unable_by_reason": Counter(one.why for one in unable),
        "seats": {name: seats._asdict() for name, seats in found.seats.items()},
        "mail_budget": {"before": mail.before, "after": mail.after},
        "mails_out": {
            "first": mail.first.isoformat() if mail.first else None,
            "last": mail.last.isoformat() if mail.last else None,
        },
    }
