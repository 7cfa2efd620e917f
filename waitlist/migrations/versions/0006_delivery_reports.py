"""What mail servers report later, and the second route."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
OUTBOX = {
    "messages": [
        sa.Column("cut_off", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("lost", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("refused_since", MOMENT, nullable=True),
        sa.Column("route", sa.String(6), nullable=True),
    ],
    "mail_pace": [
        sa.Column("route", sa.String(6), nullable=False, server_default="first"),
        sa.Column("route_since", MOMENT, nullable=True),
        sa.Column("route_why", sa.String(80), nullable=False, server_default=""),
        sa.Column("route_failing_since", MOMENT, nullable=True),
        sa.Column("route_taken", sa.Double(), nullable=False, server_default="0"),
        sa.Column("route_refused", sa.Double(), nullable=False, server_default="0"),
        sa.Column("route_noted_at", MOMENT, nullable=True),
    ],
    "gate": [sa.Column("mail_route", sa.String(10), nullable=False, server_default="auto")],
}


def upgrade() -> None:
    _add_reports()
    _add_routes()


def downgrade() -> None:
    _remove_routes()
    _remove_reports()


def _add_reports() -> None:
    op.create_table(
        "delivery_reports",
        sa.Column("id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("provider", sa.String(20), nullable=False),
        sa.Column("report_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("words", sa.String(200), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    unique = ["provider", "report_id"]
    op.create_index("delivery_reports_id", "delivery_reports", unique, unique=True)
    op.create_index("delivery_reports_message", "delivery_reports", ["message_id"])


def _remove_reports() -> None:
    op.execute("UPDATE messages SET state = 'sent' WHERE state IN ('delivered', 'complained')")
    op.drop_table("delivery_reports")


def _add_routes() -> None:
    for table, columns in OUTBOX.items():
        for column in columns:
            op.add_column(table, column)


def _remove_routes() -> None:
    op.execute("UPDATE messages SET state = 'queued' WHERE state = 'dead'")
    for table, columns in OUTBOX.items():
        for column in columns:
            op.drop_column(table, column.name)
