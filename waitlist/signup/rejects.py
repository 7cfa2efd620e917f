"""The rejected rows of a file, with row number and reason, as a file to be mended."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import select

from waitlist.errors import FileRefused
from waitlist.extensions import db, reading
from waitlist.models import Import, ImportRow

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
PAGE = 5_000


def write(run: Import, path: Path) -> str | None:
    """Write them beside the file, else here, and say where; None if no row was rejected."""
    columns: dict[str, None] = {}
    found = False
    for row in _rejected(run):
        columns |= dict.fromkeys(row.attributes)
        found = True
    if not found:
        return None
    target = _folder(path) / f"{path.stem}.rejects.csv"
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "reason", "address", *map(_defused, columns)])
        for row in _rejected(run):
            cells = [row.address, *(row.attributes.get(name, "") for name in columns)]
            writer.writerow([row.number, row.reason, *map(_defused, cells)])
    return str(target)


def _folder(path: Path) -> Path:
    for folder in (path.parent, Path.cwd()):
        if os.access(folder, os.W_OK):
            return folder
    raise FileRefused(f"the rejected rows can't be written to {path.parent} or here")


def _rejected(run: Import) -> Iterator[Any]:
    """The rejected rows in order, a page at a time."""
    after = 0
    while True:
        page = (
            select(ImportRow.number, ImportRow.reason, ImportRow.address, ImportRow.attributes)
            .where(
                ImportRow.import_id == run.id,
                ImportRow.outcome == "rejected",
                ImportRow.number > after,
            )
            .order_by(ImportRow.number)
            .limit(PAGE)
        )
        with reading():
            rows = db.session.execute(page).all()
        yield from rows
        if len(rows) < PAGE:
            return
        after = rows[-1].number


def _defused(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    return f"'{cell}" if cell.startswith(FORMULA_SIGNS) else cell
