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

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    Table,
    Text,
    bindparam,
    column,
    func,
    insert,
    literal,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

from waitlist.extensions import db

Row = Sequence[Any]  # of text, integers, booleans and None
Columns = dict[str, TypeEngine[Any]]


class Given:
    """A table whose rows a statement is given when it is executed, so that it can be kept."""

    def __init__(self, dialect: str, name: str, **columns: TypeEngine[Any]) -> None:
        self._name, self._kinds = name, list(columns.values())
        self._by_json = dialect == "sqlite"
        make = _json_table if self._by_json else _array_table
        parameters = [bindparam(key, type_=kind) for key, kind in self._parameters().items()]
        self.table = make(name, columns, parameters)
        self.c = self.table.c

    def values(self, rows: Iterable[Row]) -> dict[str, Any]:
        """The parameters that stand for these rows."""
        rows = list(rows)
        if self._by_json:
            return {self._name: json.dumps(rows)}
        return {key: [row[at] for row in rows] for at, key in enumerate(self._parameters())}

    def _parameters(self) -> dict[str, TypeEngine[Any]]:
        if self._by_json:
            return {self._name: Text()}
        return {f"{self._name}_{at}": ARRAY(kind) for at, kind in enumerate(self._kinds)}


def given(rows: Iterable[Row], **columns: TypeEngine[Any]) -> FromClause:
    """A table of these rows, for a statement that is executed once."""
    rows = list(rows)
    if db.engine.dialect.name == "sqlite":
        return _json_table("given", columns, [literal(json.dumps(rows))])
    arrays = [
        literal([row[at] for row in rows], ARRAY(kind)) for at, kind in enumerate(columns.values())
    ]
    return _array_table("given", columns, arrays)


def ids(numbers: Iterable[int]) -> Select[tuple[int]]:
    """A selection of these, for `IN`, however many they are."""
    found: Select[tuple[int]] = select(given(((one,) for one in numbers), id=BigInteger()).c.id)
    return found


def store(table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Insert rows whose values are ready for the driver, times and JSON as text.

    Past SQLAlchemy, which looks at every value: it would take longer than the database.
    """
    connection = db.session.connection()
    if connection.dialect.name == "sqlite":
        statement = insert(table).compile(dialect=connection.dialect, column_keys=list(columns))
        connection.exec_driver_sql(str(statement), list(map(tuple, rows)))
        return
    cursor: Any = connection.connection.cursor()
    with cursor, cursor.copy(f"COPY {table.name} ({', '.join(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _json_table(
    name: str, columns: Columns, parameters: Sequence[ColumnElement[Any]]
) -> FromClause:
    each = func.json_each(*parameters).table_valued("value")
    return select(
        *(
            type_coerce(func.json_extract(each.c.value, f"$[{at}]"), kind).label(column_name)
            for at, (column_name, kind) in enumerate(columns.items())
        )
    ).subquery(name)


def _array_table(
    name: str, columns: Columns, parameters: Sequence[ColumnElement[Any]]
) -> FromClause:
    named = [column(column_name, kind) for column_name, kind in columns.items()]
    return func.unnest(*parameters).table_valued(*named, name=name).render_derived()
