"""The gate's switches, rules, waves that are planned, budgets of mail, health and estimates."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
ADDED = {
    "gate": [
        sa.Column("joining", sa.String(10), nullable=False, server_default="open"),
        sa.Column("held_mails", sa.JSON(), nullable=False, server_default="[]"),
        sa.Column("referral", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("notices", sa.JSON(), nullable=False, server_default="{}"),
        sa.Column("health_ignored_until", MOMENT, nullable=True),
        sa.Column("bounces_since", MOMENT, nullable=True),
    ],
    "cohorts": [
        sa.Column("timezone", sa.String(40), nullable=False, server_default="UTC"),
        sa.Column("hours", sa.String(11), nullable=True),
    ],
    "waves": [
        sa.Column("state", sa.String(10), nullable=False, server_default="done"),
        sa.Column("cohort_id", ID, nullable=True),
        sa.Column("starts_at", MOMENT, nullable=True),
        sa.Column("over_seconds", sa.Integer(), nullable=True),
        sa.Column("mails_from", MOMENT, nullable=True),
        sa.Column("by_list", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("shares", sa.JSON(), nullable=False, server_default="{}"),
        sa.Column("note", sa.String(200), nullable=False, server_default=""),
    ],
}
WAVES_TO_DO = sa.text("state IN ('planned', 'running')")
BOUNDED = {f"{dialect}_where": WAVES_TO_DO for dialect in ("sqlite", "postgresql")}


def upgrade() -> None:
    for table, columns in ADDED.items():
        for column in columns:
            op.add_column(table, column)
    op.create_table(
        "cohort_rules",
        sa.Column("id", ID, nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("cohort_id", ID, nullable=False),
        sa.Column("country", sa.String(2), nullable=True),
        sa.Column("platform", sa.String(20), nullable=True),
        sa.Column("code", sa.String(60), nullable=True),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.id"]),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "wave_people",
        sa.Column("wave_id", ID, nullable=False),
        sa.Column("nth", sa.Integer(), nullable=False),
        sa.Column("entry_id", ID, nullable=False),
        sa.ForeignKeyConstraint(["wave_id"], ["waves.id"]),
        sa.ForeignKeyConstraint(["entry_id"], ["entries.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("wave_id", "nth"),
    )
    op.create_table(
        "mail_pace",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("allowance", sa.Double(), nullable=False),
        sa.Column("counted_at", MOMENT, nullable=True),
        sa.Column("day", sa.Date(), nullable=True),
        sa.Column("sent_today", sa.Integer(), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=True),
        sa.Column("invitations_sent", sa.Double(), nullable=False),
        sa.Column("invitations_bounced", sa.Double(), nullable=False),
        sa.Column("invitations_later", sa.Double(), nullable=False),
        sa.Column("noted_at", MOMENT, nullable=True),
        sa.Column("stopped_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "health",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("factor", sa.Double(), nullable=False),
        sa.Column("stepped_at", MOMENT, nullable=True),
        sa.Column("healthy", sa.Boolean(), nullable=True),
        sa.Column("load", sa.Double(), nullable=True),
        sa.Column("p95_ms", sa.Double(), nullable=True),
        sa.Column("reported_at", MOMENT, nullable=True),
        sa.Column("source", sa.String(80), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "no_shows",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("learned_at", MOMENT, nullable=True),
        sa.Column("curve", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "experience",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("learned_at", MOMENT, nullable=True),
        sa.Column("lessons", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "estimates",
        sa.Column("id", ID, nullable=False),
        sa.Column("entry_id", ID, nullable=False),
        sa.Column("cohort_id", ID, nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.Column("ahead", ID, nullable=False),
        sa.Column("low_seconds", sa.Double(), nullable=False),
        sa.Column("middle_seconds", sa.Double(), nullable=False),
        sa.Column("high_seconds", sa.Double(), nullable=False),
        sa.Column("foretold_seconds", sa.Double(), nullable=False),
        sa.Column("settings_mark", sa.String(32), nullable=False),
        sa.Column("waited_seconds", sa.Double(), nullable=True),
        sa.Column("settings_changed", sa.Boolean(), nullable=False),
        sa.Column("scored_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["entry_id"], ["entries.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.id"]),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("estimates_entry", "estimates", ["entry_id"])
    op.create_index("waves_to_do", "waves", ["starts_at"], **BOUNDED)
    op.create_index("invitations_wave", "invitations", ["wave_id"])
    op.create_index("registrations_created", "registrations", ["created_at"])
    op.drop_index("messages_due", "messages")
    op.create_index("messages_due", "messages", ["state", "priority", "due_at", "id"])
    _fill()


def downgrade() -> None:
    op.execute(
        "UPDATE messages SET state = 'cancelled', reason = 'not known to the former release' "
        "WHERE kind = 'apology' AND state IN ('queued', 'sending')"
    )
    op.drop_index("messages_due", "messages")
    op.create_index("messages_due", "messages", ["state", "priority", "id"])
    op.drop_index("registrations_created", "registrations")
    op.drop_index("invitations_wave", "invitations")
    op.drop_index("waves_to_do", "waves")
    for table in (
        "estimates",
        "experience",
        "no_shows",
        "health",
        "mail_pace",
        "wave_people",
        "cohort_rules",
    ):
        op.drop_table(table)
    for table, columns in ADDED.items():
        for column in columns:
            op.drop_column(table, column.name)


def _fill() -> None:
    """The one row of each of the tables that have one."""
    op.execute(
        "INSERT INTO mail_pace (id, allowance, sent_today, "
        "invitations_sent, invitations_bounced, invitations_later) VALUES (1, 0.0, 0, 0, 0, 0)"
    )
    op.execute("INSERT INTO health (id, factor, source, state) VALUES (1, 1.0, '', '{}')")
    op.execute("INSERT INTO experience (id, lessons) VALUES (1, '{}')")
    op.execute("INSERT INTO no_shows (id, curve) VALUES (1, '[]')")
