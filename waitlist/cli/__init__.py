"""The commands of operators: `flask gate`, `cohort`, `wave`, `line`, `person`, `import`, …"""

from __future__ import annotations

from flask import Flask

from waitlist.cli import cohort, gate, imports, line, person, rehearse, switches, wave


def init_app(app: Flask) -> None:
    """Add every command to the app."""
    for switch in switches.COMMANDS:
        gate.group.add_command(switch)
    for command in (
        gate.group,
        cohort.group,
        wave.group,
        line.group,
        person.group,
        imports.import_command,
        imports.undo_command,
        rehearse.command,
    ):
        app.cli.add_command(command)
