"""Runs the migrations on the app's own engine."""

from __future__ import annotations

from alembic import context

from waitlist.extensions import db


def run() -> None:
    """Bring the database to the newest schema, each migration in a transaction."""
    with db.engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=db.metadata,
            render_as_batch=True,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
