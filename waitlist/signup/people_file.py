"""Reading a file of people as a store or a mailing tool exports it, row by row."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from waitlist.errors import AddressInvalid, FileRefused
from waitlist.policy import identity

ADDRESS_COLUMNS = ("email", "e-mail", "mail", "address", "email address", "email_address")
FIELD_LIMIT = 1_000  # characters
NAME_LIMIT = 200
LOCALE_LIMIT = 12
BLOCK = 1 << 20


NOBODY = identity.Address("", "", "")


@dataclass
class Row:
    """One row of a file: a person, or the reason why not.

    Of a rejected row, `address.typed` and `attributes` are what the file said.
    """

    number: int
    reason: str = ""
    address: identity.Address = NOBODY
    name: str = ""
    locale: str = "en"
    joined_at: datetime | None = None
    attributes: dict[str, str] = field(default_factory=dict)


def digest(path: Path) -> str:
    """What tells this file's content from any other's; `FileRefused` if it can't be read."""
    if path.is_dir():
        raise FileRefused(f"{path} is a folder: give the CSV file in it")
    try:
        with path.open("rb") as file:
            return _digest(file)
    except OSError as error:
        raise FileRefused(f"{path} can't be read: {error.strerror}") from error


def rows(path: Path) -> Iterator[Row]:
    """Every row with anything in it; `FileRefused` if the file isn't a CSV of people."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _rows(csv.reader(file, strict=True))
    except UnicodeDecodeError as error:
        raise FileRefused(
            f"{path.name} isn't UTF-8 (it holds the byte {error.object[error.start]:#04x}): "
            "export it again as UTF-8, or convert it with iconv"
        ) from error
    except csv.Error as error:
        raise FileRefused(
            f"{path.name} isn't a CSV file: {error}. Look for a quotation mark that isn't closed"
        ) from error


def _digest(file: BinaryIO) -> str:
    found = hashlib.sha256()
    while block := file.read(BLOCK):
        found.update(block)
    return found.hexdigest()


def _rows(reader: Iterator[list[str]]) -> Iterator[Row]:
    header = [name.strip().lower() for name in next(reader, [])]
    address_column = _address_column(header)
    previous: datetime | None = None
    for number, cells in enumerate(reader, start=2):
        if any(cells):
            row = _row(number, header, address_column, cells)
            row.joined_at = previous = row.joined_at or previous
            yield row


def _address_column(header: list[str]) -> str:
    if not any(header):
        raise FileRefused("the file is empty: its first row must name the columns")
    for name in ADDRESS_COLUMNS:
        if name in header:
            return name
    raise FileRefused(
        f"no column holds addresses: name one of them {ADDRESS_COLUMNS[0]!r} "
        f"(there are: {', '.join(header)}; between columns stands a comma)"
    )


def _row(number: int, header: list[str], address_column: str, cells: list[str]) -> Row:
    padded = [_storable(cell) for cell in cells] + [""] * (len(header) - len(cells))
    raw_address = (cells + [""] * len(header))[header.index(address_column)]
    named = {name: cell for name, cell in zip(header, padded, strict=False) if name}
    address = named.pop(address_column)
    try:
        _check_size(header, cells)
        return _person(number, raw_address, dict(named))
    except (ValueError, AddressInvalid) as error:
        return Row(number, str(error), NOBODY._replace(typed=address), attributes=named)


def _check_size(header: list[str], cells: list[str]) -> None:
    if len(cells) > len(header):
        raise ValueError(f"{len(cells)} fields, but the header names {len(header)}")
    if any(len(cell) > FIELD_LIMIT for cell in cells):
        raise ValueError(f"a field is longer than {FIELD_LIMIT} characters")


def _person(number: int, address: str, named: dict[str, str]) -> Row:
    return Row(
        number,
        address=identity.canonical_address(address),
        name=" ".join(named.pop("name", "").split())[:NAME_LIMIT],
        locale=named.pop("locale", "").strip()[:LOCALE_LIMIT] or "en",
        joined_at=_moment(named.pop("joined_at", "")),
        attributes=named,
    )


def _moment(words: str) -> datetime | None:
    if not words.strip():
        return None
    try:
        at = datetime.fromisoformat(words.strip())
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("joined_at isn't a date such as 2021-11-14T10:08:08Z") from error


def _storable(cell: str) -> str:
    return cell.strip().replace("\x00", "\N{REPLACEMENT CHARACTER}")  # no SQL text holds a NUL
