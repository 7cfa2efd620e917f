"""What all tables share: ids that are never reused, aware times, nonces."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Integer, TypeDecorator

Id = BigInteger().with_variant(Integer, "sqlite")
NEVER_REUSED = {"sqlite_autoincrement": True}


class Moment(TypeDecorator[datetime]):
    """An aware UTC datetime, on SQLite too, which knows no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Refuse a naive time; store the rest as UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without time zone can't be stored")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Give back an aware UTC time."""
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


def new_nonce() -> str:
    """64 random bits: what a link must know to open its row."""
    return secrets.token_hex(8)


def new_nonces(how_many: int) -> list[str]:
    """So many nonces, drawn at once."""
    drawn = secrets.token_hex(8 * how_many)
    return [drawn[at : at + 16] for at in range(0, len(drawn), 16)]
