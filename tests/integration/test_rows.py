"""Rows given to one statement."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import BigInteger, Boolean, Text, select
from sqlalchemy.types import TypeEngine

from waitlist.extensions import db
from waitlist.rows import given

COLUMNS: dict[str, TypeEngine[Any]] = {"key": Text(), "number": BigInteger(), "flag": Boolean()}


@pytest.mark.usefixtures("app")
def test_a_statement_reads_what_it_was_given() -> None:
    rows = [
        ("a@example.com", 2**40, True),
        ("l’été \" ' \\ {},\n", -1, False),
        ("NULL", None, None),
    ]
    table = given(rows, **COLUMNS)
    found: list[Any] = [tuple(row) for row in db.session.execute(select(*table.c)).all()]
    assert found == rows


def test_no_rows_are_an_empty_table(app: Flask) -> None:
    with app.app_context():
        assert db.session.execute(select(*given([], **COLUMNS).c)).all() == []
