"""`flask gate report-health`, and how the product's health is told."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from waitlist.admission import health
from waitlist.admission.health import Said, Shown
from waitlist.cli import terminal
from waitlist.errors import FieldsInvalid, ValueRefused
from waitlist.extensions import settings


@click.command("report-health")
@click.option("--healthy/--unhealthy", default=None, help="How it is.")
@click.option("--load", type=float, help="What it carries, of what it can: 0 to 1.")
@click.option("--p95", type=float, help="Milliseconds within which 95 of 100 answers come.")
@click.option("--forget", is_flag=True, help="Forget what it said; the gate goes on without it.")
@terminal.with_reason
@terminal.as_json
@terminal.refusing
def report(
    healthy: bool | None,
    load: float | None,
    p95: float | None,
    forget: bool,
    reason: str,
    as_json: bool,
) -> None:
    """Say for the product how it is, as it would push or be asked for itself."""
    now, actor = datetime.now(UTC), terminal.actor()
    if forget == (healthy is not None):
        raise click.UsageError("say how the product is: --healthy, --unhealthy, or --forget")
    if forget:
        health.forget(actor=actor, reason=reason, now=now)
    else:
        what = _checked({"healthy": healthy, "load": load, "p95_ms": p95})
        health.report_by_hand(what, actor=actor, reason=reason, now=now)
    if as_json:
        terminal.show_json({"forgotten": True} if forget else what._asdict())
    elif forget:
        of = settings()
        holds = of.health_url or of.health_token
        does = "holds" if holds else "goes by its rate alone"
        click.echo(f"Forgotten. Until it says something again the gate {does}.")
    else:
        seconds = settings().health_stale.total_seconds()
        click.echo(
            f"Noted. In {seconds:.0f} seconds it is stale, and holds the gate until the next."
        )


def rows(shown: Shown) -> list[tuple[str, str]]:
    """The product's health as rows of a table."""
    if shown.source is None and not shown.held:
        said = "it never said anything, so it doesn't bind"
    else:
        said = ", ".join(_said(shown)) or "nothing"
    found = [("product says", said)]
    if shown.held:
        found.append(("health holds", f"{shown.held}: {shown.why}"))
    if shown.trusted is not None:
        trusted = f"factor {shown.factor:.2f}; trusted with {shown.trusted:,.0f} an hour"
        found.append(("health makes", f"{trusted}, {shown.arrivals:,} came in the last"))
    expected = f"{shown.expected_1h:,.0f} in an hour, {shown.expected_24h:,.0f} in a day"
    return [*found, ("expected", f"{expected}, of open invitations")]


def _said(shown: Shown) -> list[str]:
    if shown.healthy is None:
        return []
    said = ["healthy" if shown.healthy else "unhealthy"]
    if shown.load is not None:
        said.append(f"load {shown.load:.2f}")
    if shown.p95_ms is not None:
        said.append(f"p95 {shown.p95_ms:,.0f} ms")
    return [*said, f"{shown.age_seconds:,.0f} s ago", f"by {shown.source}"]


def _checked(fields: dict[str, object]) -> Said:
    try:
        return health.said(fields)
    except FieldsInvalid as error:
        names = ", ".join(error.reasons).replace("p95_ms", "--p95").replace("load", "--load")
        raise ValueRefused(f"{names}: a number, and not below zero") from error
