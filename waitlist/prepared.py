"""Statements that are compiled once and then given to the driver as they are.

SQLAlchemy takes a quarter of a millisecond to find a large statement's compiled form, at each
execution, and holds the GIL for it. That is more than the database takes for the few
statements that everyone waits for at a launch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, CursorResult, Dialect, Executable, Float, Select


class Prepared:
    """A statement whose parameters are given when it is executed."""

    def __init__(self, statement: Executable, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        self._words, self._order = str(compiled), compiled.positiontup
        self._processors = {
            name: processor
            for name, parameter in compiled.binds.items()
            if (processor := parameter.type.dialect_impl(dialect).bind_processor(dialect))
        }
        self._fixed = self._as_stored(
            {name: value for name, value in compiled.params.items() if value is not None}
        )

        self._typed = _result_processors(statement, dialect)

    def execute(self, connection: Connection, **given: Any) -> CursorResult[Any]:
        """Execute it in the connection's transaction."""
        values = self._fixed | self._as_stored(given)
        if self._order is None:
            return connection.exec_driver_sql(self._words, values)
        return connection.exec_driver_sql(self._words, tuple(values[name] for name in self._order))

    def rows(self, connection: Connection, **given: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a SELECT, their values of the columns' types."""
        cursor = self.execute(connection, **given).cursor
        assert cursor is not None
        for row in cursor.fetchall():  # the driver's own
            values = list(row)
            for at, typed in self._typed:
                if values[at] is not None:
                    values[at] = typed(values[at])
            yield tuple(values)

    def _as_stored(self, values: dict[str, Any]) -> dict[str, Any]:
        processors = self._processors
        return {
            name: processors[name](value) if name in processors else value
            for name, value in values.items()
        }


def _result_processors(statement: Executable, dialect: Dialect) -> list[tuple[int, Any]]:
    """What makes a value of the column's type of the driver's, by the column's place."""
    columns = statement.selected_columns if isinstance(statement, Select) else ()
    processors = (
        (at, column.type.dialect_impl(dialect).result_processor(dialect, None))
        for at, column in enumerate(columns)
        if not isinstance(column.type, Float)  # both drivers give floats
    )
    return [(at, processor) for at, processor in processors if processor]
