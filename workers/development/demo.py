"""`make demo`: the launch of the README, played once, with a progress display and a summary."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from waitlist.config import ROOT
from workers.development.launch import Plan, Report, play
from workers.development.service import free_port

PLAN = Plan(
    people_file=ROOT / "tests" / "samples" / "preorders.csv",
    beta=500,
    capacity=1_000,
    rate=36_000,
    accidents={100: "mail", 250: "web", 450: "redis", 600: "admission", 800: "mail"},
)


def main() -> int:
    """Play the launch in a fresh instance; status 1 if a promise wasn't kept."""
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="waitlist-demo-"))
    console.print(
        f"A launch on the real parts, in {folder}: {PLAN.capacity:,} seats, "
        f"{PLAN.beta:,} beta people first, then {PLAN.rate:,} an hour. It takes some minutes.\n"
    )
    display = Display(console)
    with Live(display.progress, console=console, refresh_per_second=4):
        report = play(PLAN, folder, free_port(), display.tell)
    console.print()
    console.print(summary(report))
    for trouble in report.trouble:
        console.print(f"[red]✗[/red] {trouble}")
    if report.trouble:
        console.print(f"Everything is still in {folder}; its service.log says more.")
        return 1
    shutil.rmtree(folder)
    console.print("[green]✓[/green] Every promise was kept.")
    return 0


class Display:
    """The progress bars, and the steps told above them."""

    def __init__(self, console: Console) -> None:
        self.console = console
        columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn())
        self.progress = Progress(*columns, console=console)
        self.mails = self.progress.add_task("mails", total=PLAN.capacity)
        self.registered = self.progress.add_task("registered", total=PLAN.capacity)

    def tell(self, step: str, report: Report) -> None:
        """Show a step as a line of its own, and the state in the bars."""
        if step.startswith("kill"):
            self.console.print(f"[red]{step}[/red]")
        elif step and "person show" not in step:
            self.console.print(f"[dim]{step}[/dim]")
        self.progress.update(self.mails, completed=report.mails)
        self.progress.update(self.registered, completed=report.registered)


def summary(report: Report) -> Table:
    """What came of it, as a table."""
    table = Table("what", "seen", title="The launch", title_justify="left")
    imported = ", ".join(f"{number:,} {what}" for what, number in report.imported.items())
    for what, seen in (
        ("import", imported),
        ("the same file again", f"{report.again['accepted']:,} accepted"),
        ("registered", f"{report.registered:,}"),
        ("invitations in the mailbox", f"{report.mails:,}"),
        ("distinct Message-IDs", f"{report.message_ids:,}"),
        ("killed with -9", ", ".join(report.killed)),
        ("joins answered, and found", f"{report.newcomers:,}, {report.newcomers_found:,}"),
        ("the gate", f"limited by {report.gate['limit']}, {report.gate['waiting']:,} still wait"),
        ("seconds", f"{report.seconds:.0f}"),
    ):
        table.add_row(what, seen)
    return table


if __name__ == "__main__":
    sys.exit(main())
