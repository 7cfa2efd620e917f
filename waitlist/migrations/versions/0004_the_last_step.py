"""Failed tries at the last step, reminders, disputes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _add_failures()
    _add_reissues()


def downgrade() -> None:
    _take_reissues_away()
    _drop_failures()


def _add_failures() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "finish_failures",
        sa.Column("id", number, nullable=False),
        sa.Column("uid", sa.String(32), nullable=False),
        sa.Column("invitation_id", number, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
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
    op.add_column("gate", sa.Column("last_step_alarm_at", MOMENT, nullable=True))


def _drop_failures() -> None:
    op.execute(
        "UPDATE messages SET state = 'cancelled', reason = 'not known to the former release' "
        "WHERE kind = 'sorry' AND state IN ('queued', 'sending')"
    )
    op.drop_column("gate", "last_step_alarm_at")
    op.drop_index("finish_failures_invitation", "finish_failures")
    op.drop_index("finish_failures_at", "finish_failures")
    op.drop_table("finish_failures")


def _add_reissues() -> None:
    """Reminders and disputes. What asks lapsed people back has a kind of its own now."""
    op.add_column("invitations", sa.Column("reminded_at", MOMENT, nullable=True))
    op.add_column("registrations", sa.Column("disputed_at", MOMENT, nullable=True))
    unreminded = sa.text("state = 'open' AND reminded_at IS NULL")
    bounded = {f"{dialect}_where": unreminded for dialect in ("sqlite", "postgresql")}
    op.create_index("invitations_to_remind", "invitations", ["expires_at"], **bounded)
    op.execute("UPDATE messages SET kind = 'lapsed', priority = 4 WHERE kind = 'renewal'")


def _take_reissues_away() -> None:
    """The former release begins an invitation's time by its own kind of mail only."""
    op.execute(
        "UPDATE messages SET kind = 'invitation', priority = 0 "
        "WHERE kind = 'renewal' AND state IN ('queued', 'sending')"
    )
    op.execute(
        "UPDATE messages SET state = 'cancelled', reason = 'not known to the former release' "
        "WHERE kind = 'reminder' AND state IN ('queued', 'sending')"
    )
    op.execute("UPDATE messages SET kind = 'renewal', priority = 1 WHERE kind = 'lapsed'")
    op.drop_index("invitations_to_remind", "invitations")
    op.drop_column("registrations", "disputed_at")
    op.drop_column("invitations", "reminded_at")
