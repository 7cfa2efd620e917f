"""The commands of operators: `flask gate`, `cohort`, `wave`, `invitation`, `line`, `person`, …"""

from __future__ import annotations

from flask import Flask

from waitlist.cli import (
    cohort,
    gate,
    health,
    imports,
    invitation,
    line,
    mail,
    mailcheck,
    mailroute,
    noshows,
    outbox,
    person,
    rehearse,
    returned,
    stuck,
    switches,
    wave,
    webhook,
)


def init_app(app: Flask) -> None:
    """Add every command to the app."""
    for of_gate in (*switches.COMMANDS, health.report, noshows.show):
        gate.group.add_command(of_gate)
    for of_mail in (returned.bounces, mailroute.show, mailroute.route, mailcheck.check):
        mail.group.add_command(of_mail)
    for of_invitation in stuck.COMMANDS:
        invitation.group.add_command(of_invitation)
    for command in (
        gate.group,
        cohort.group,
        wave.group,
        invitation.group,
        line.group,
        mail.group,
        person.group,
        outbox.group,
        imports.import_command,
        imports.undo_command,
        rehearse.command,
        webhook.group,
    ):
        app.cli.add_command(command)
