"""What commands say of waves by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from waitlist.admission import gate, plans, progress, recall
from waitlist.admission.health import WHY
from waitlist.admission.named import Unable
from waitlist.admission.progress import Progress, WaveView
from waitlist.admission.recall import Recalled
from waitlist.admission.rounds import Outcome
from waitlist.cli import terminal, times
from waitlist.extensions import reading, settings

NAMES = {"at": "asked at", "over_seconds": "over", "by_list": "of a list", "back": "back in line"}
MOST_SHOWN = 50  # people of a recalled wave, unless as JSON


def say_outcome(outcome: Outcome, unable: Sequence[Unable], as_json: bool) -> None:
    """Say what a wave did, or when it will, and how it is taken back."""
    assert outcome.wave_id is not None
    with reading():
        wave, _ = progress.show(outcome.wave_id)
        health = gate.held_by_health(now=datetime.now(UTC))
    if as_json:
        terminal.show_json({**_as_json(outcome, wave, unable), "health": health})
        return
    for one in unable:
        click.echo(f"Not invited: {one.address} {one.why}.", err=True)
    if outcome.limit == "plan" and not outcome.admitted:
        _say_plan(wave)
        return
    of = ", ".join(f"{people:,} of {name}" for name, people in outcome.by_cohort.items())
    click.echo(f"{outcome.admitted:,} people are admitted{': ' + of if of else ''}.")
    if outcome.admitted < wave.asked:
        click.echo(f"Not all {wave.asked:,}: {wave.note or plans.WHY.get(outcome.limit, '')}.")
    if wave.mails_from is not None:
        click.echo(f"Wave {wave.id}: none of its mails goes before {times.shown(wave.mails_from)}.")
        click.echo(f"To take it back{_within()}: flask wave recall {wave.id}")
    if health:
        click.echo(f"The product's health lets nobody in by ticks ({health}): {WHY[health]}.")


def show_wave(wave: WaveView, stands: Progress) -> None:
    """Print a wave, and what has become of those it admitted."""
    shown = {**vars(wave), **vars(stands)}
    over = _over(wave)
    shown |= {"by_list": "yes" if wave.by_list else "no", "over_seconds": over}
    rows = [(key, times.shown(it) if isinstance(it, datetime) else it) for key, it in shown.items()]
    named = [
        (NAMES.get(key, key.replace("_", " ")), it) for key, it in rows if it not in ("", None)
    ]
    terminal.show_table(("wave", str(wave.id)), named[1:])


def say_recalled(wave_id: int, done: Recalled) -> None:
    """Say who is back in line, and who isn't."""
    click.echo(f"{done.back:,} people are back at their old place; no mail goes to them.")
    if done.revoked:
        click.echo(f"{len(done.revoked):,} mailed invitations are revoked, with an apology.")
    if done.rest:
        click.echo(f"{len(done.rest):,} had their mail already, or have it under way:")
        rows = [(one.entry_id, one.address, one.state) for one in done.rest[:MOST_SHOWN]]
        terminal.show_table(("entry", "address", "now"), rows)
        if len(done.rest) > MOST_SHOWN:
            click.echo(f"… and {len(done.rest) - MOST_SHOWN:,} more: --json lists them all")
    if any(one.state in recall.STILL_OPEN for one in done.rest):
        click.echo(f"To revoke what is still open: flask wave recall {wave_id} --revoke")


def _within() -> str:
    seconds = int(settings().wave_undo.total_seconds())
    return f" within {seconds} s" if seconds else ""


def _say_plan(wave: WaveView) -> None:
    over = (
        f", spread over {times.shown_while(timedelta(seconds=wave.over_seconds))}"
        if wave.over_seconds
        else ""
    )
    click.echo(
        f"Wave {wave.id} is planned: {wave.asked:,} people ({_whom(wave)}) "
        f"from {times.shown(wave.starts_at)} on{over}."
    )
    click.echo(f"See it: flask wave show {wave.id}. Stop it: flask wave halt {wave.id}")


def _as_json(outcome: Outcome, wave: WaveView, unable: Sequence[Unable]) -> dict[str, Any]:
    shown = wave.as_json()
    return {
        "dry_run": False,
        "wave": wave.id,
        "state": wave.state,
        "asked": wave.asked,
        "admitted": outcome.admitted,
        "by_cohort": outcome.by_cohort,
        "limit": outcome.limit,
        "note": wave.note,
        "starts_at": shown["starts_at"],
        "over_seconds": wave.over_seconds,
        "mails_from": shown["mails_from"],
        "recall_within_seconds": int(settings().wave_undo.total_seconds()),
        "unable": [one._asdict() for one in unable],
    }


def row(wave: WaveView) -> tuple[Any, ...]:
    """The wave in a list."""
    over = _over(wave)
    asked, admitted = f"{wave.asked:,}", f"{wave.admitted:,}"
    start = times.shown(wave.starts_at)
    return (wave.id, wave.state, _whom(wave), asked, admitted, start, over, wave.actor, wave.note)


def _whom(wave: WaveView) -> str:
    return "a list" if wave.by_list else wave.cohort or "all open cohorts"


def _over(wave: WaveView) -> str | None:
    seconds = wave.over_seconds
    return times.shown_while(timedelta(seconds=seconds)) if seconds else None
