"""Webhooks to the product."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
INDEXES = (  # name, columns, and the only state that it holds
    ("webhooks_due", ["endpoint_id", "due_at", "id"], "pending"),
    ("webhooks_sending", ["leased_until"], "sending"),
    ("webhooks_attention", ["endpoint_id", "id"], "attention"),
)


def upgrade() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", ID, nullable=False),
        sa.Column("url", sa.String(2000), nullable=False),
        sa.Column("secret", sa.String(120), nullable=False),
        sa.Column("former_secret", sa.String(120), nullable=True),
        sa.Column("former_until", MOMENT, nullable=True),
        sa.Column("with_password_hash", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("why", sa.String(200), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("away_since", MOMENT, nullable=True),
        sa.Column("probe_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "webhook_subscriptions",
        sa.Column("event", sa.String(40), nullable=False),
        sa.Column("endpoint_id", ID, nullable=False),
        sa.ForeignKeyConstraint(["endpoint_id"], ["webhook_endpoints.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("event", "endpoint_id"),
    )
    op.create_table(
        "webhooks",
        sa.Column("id", ID, nullable=False),
        sa.Column("webhook_id", sa.String(60), nullable=False),
        sa.Column("endpoint_id", ID, nullable=False),
        sa.Column("event", sa.String(40), nullable=False),
        sa.Column("entry_id", ID, nullable=False),
        sa.Column("subject_id", ID, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("since_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("lease", sa.Integer(), nullable=False),
        sa.Column("leased_until", MOMENT, nullable=True),
        sa.Column("delivered_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["endpoint_id"], ["webhook_endpoints.id"]),
        sa.ForeignKeyConstraint(["entry_id"], ["entries.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("webhooks_once", "webhooks", ["webhook_id", "endpoint_id"], unique=True)
    op.create_index("webhooks_entry", "webhooks", ["entry_id"])
    for name, columns, state in INDEXES:
        where = sa.text(f"state = '{state}'")
        op.create_index(name, "webhooks", columns, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "webhook_attempts",
        sa.Column("id", ID, nullable=False),
        sa.Column("of_id", ID, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("words", sa.String(200), nullable=False),
        sa.ForeignKeyConstraint(["of_id"], ["webhooks.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_webhook_attempts_of_id", "webhook_attempts", ["of_id"])


def downgrade() -> None:
    for table in ("webhook_attempts", "webhooks", "webhook_subscriptions", "webhook_endpoints"):
        op.drop_table(table)
