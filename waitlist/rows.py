"""Many rows in one statement: given as one value or a few, and read by it as a table.

`session.execute(insert(…), [dicts])` writes row by row where there is an `ON CONFLICT`, and
binds every value of every row elsewhere. Given this way, a thousand rows are one round trip
of a statement that is compiled once: JSON on SQLite, arrays on PostgreSQL. Give whatever
differs by row, nonces too: in an `INSERT … SELECT` a column's default is computed only once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import FromClause, bindparam, column, func, select, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

from waitlist.extensions import db

Columns = dict[str, TypeEngine[Any]]


def given(rows: Iterable[Sequence[Any]], **columns: TypeEngine[Any]) -> FromClause:
    """A table of these rows, its columns named and typed; text, integers, booleans and None."""
    by = _by_json if db.engine.dialect.name == "sqlite" else _by_arrays
    return by(list(rows), columns)


def _by_json(rows: list[Sequence[Any]], columns: Columns) -> FromClause:
    each = func.json_each(json.dumps(rows)).table_valued("value")
    return select(
        *(
            type_coerce(func.json_extract(each.c.value, f"$[{place}]"), kind).label(name)
            for place, (name, kind) in enumerate(columns.items())
        )
    ).subquery("given")


def _by_arrays(rows: list[Sequence[Any]], columns: Columns) -> FromClause:
    arrays = (
        bindparam(None, [row[place] for row in rows], type_=ARRAY(kind))
        for place, kind in enumerate(columns.values())
    )
    named = [column(name, kind) for name, kind in columns.items()]
    return func.unnest(*arrays).table_valued(*named, name="given").render_derived()
