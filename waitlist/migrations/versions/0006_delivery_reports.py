"""What mail servers report later, and the second route."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

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
    for table, columns in OUTBOX.items():
        for column in columns:
            op.add_column(table, column)


def downgrade() -> None:
    op.execute("UPDATE messages SET state = 'queued' WHERE state = 'dead'")
    for table, columns in OUTBOX.items():
        for column in columns:
            op.drop_column(table, column.name)
