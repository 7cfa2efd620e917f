"""`flask mail bounces`: mail that came back, from files or from a pipe of the mail server."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click
from sqlalchemy.exc import DBAPIError

from waitlist.cli import terminal
from waitlist.extensions import db
from waitlist.reports import returned, taking

TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: a mail server keeps the mail and asks again
NOT_UNDERSTOOD = "not understood"
MAIL = click.Path(exists=True, dir_okay=False, allow_dash=True)


@click.command()
@click.argument("files", nargs=-1, required=True, type=MAIL)
@terminal.as_json
def bounces(files: Sequence[str], as_json: bool) -> None:
    """Take mails to account that came back: files, or - for a mail that is piped in.

    Status 75 if they are to be given again; nothing of them counts twice.
    """
    made = []
    try:
        for name in files:
            with click.open_file(name, "rb") as file:
                reports = returned.read(file.read(returned.MOST_READ))
            outcomes = taking.take_all(reports, now=datetime.now(UTC))
            made.append((name, outcomes[0] if outcomes else NOT_UNDERSTOOD))
    except DBAPIError as error:
        db.session.rollback()
        click.echo(f"the database doesn't answer ({type(error).__name__}): try again", err=True)
        sys.exit(TRY_AGAIN)
    if as_json:
        terminal.show_json([{"file": name, "outcome": outcome} for name, outcome in made])
    else:
        terminal.show_table(("file", "outcome"), made)
