"""Failed tries at the last step, reminders, disputes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _add_failures()


def downgrade() -> None:
    _drop_failures()


def _add_failures() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "finish_failures",
        sa.Column("id", number, nullable=False),
        sa.Column("uid", sa.String(32), nullable=False),
        sa.Column("invitation_id", number, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("kind", sa.String(60), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("via", sa.String(4), nullable=False),
        sa.Column("release", sa.String(40), nullable=False),
        sa.ForeignKeyConstraint(["invitation_id"], ["invitations.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid"),
        sqlite_autoincrement=True,
    )
    op.create_index("finish_failures_at", "finish_failures", ["at"])
    op.create_index("finish_failures_invitation", "finish_failures", ["invitation_id"])
    op.add_column("gate", sa.Column("last_step_alarm_at", moment, nullable=True))


def _drop_failures() -> None:
    op.execute(
        "UPDATE messages SET state = 'cancelled', reason = 'not known to the former release' "
        "WHERE kind = 'sorry' AND state IN ('queued', 'sending')"
    )
    op.drop_column("gate", "last_step_alarm_at")
    op.drop_index("finish_failures_invitation", "finish_failures")
    op.drop_index("finish_failures_at", "finish_failures")
    op.drop_table("finish_failures")
