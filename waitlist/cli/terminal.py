"""How commands speak: a table or JSON, a reason on stderr and exit status 1 for a refusal."""

from __future__ import annotations

import functools
import getpass
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NoReturn, ParamSpec, TypeVar

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import OperationalError, ProgrammingError

from waitlist.errors import WaitlistError
from waitlist.extensions import db

P = ParamSpec("P")
R = TypeVar("R")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
with_reason = click.option("--reason", default="", help="Why, for the audit.")


def actor() -> str:
    """Who gives the command, for the audit."""
    return f"cli:{getpass.getuser()}"[:80]


def refusing(command: Callable[P, R]) -> Callable[P, R]:
    """Turn what is refused into a sentence on stderr and exit status 1."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except WaitlistError as error:
            refuse(str(error))
        except (OperationalError, ProgrammingError) as error:
            db.session.rollback()
            refuse(
                f"the database doesn't answer ({error.orig}). "
                "Check DATABASE_URL; a new database needs: flask db upgrade"
            )

    return guarded


def refuse(sentence: str) -> NoReturn:
    """Say why on stderr, and end with exit status 1."""
    click.echo(sentence, err=True)
    sys.exit(1)


def show_json(value: Any) -> None:
    """Print a value as JSON, times in RFC 3339."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False, default=_as_json))


def _as_json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under their columns."""
    table = Table(*columns, box=None, header_style="bold")
    for row in rows:
        table.add_row(*("–" if cell is None else str(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
