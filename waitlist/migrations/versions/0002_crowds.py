"""Crowds in the line, and less work for the rows of a file."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PLACED = {f"{dialect}_where": sa.text("place IS NOT NULL") for dialect in ("sqlite", "postgresql")}
REJECTED = {
    f"{dialect}_where": sa.text("outcome = 'rejected'") for dialect in ("sqlite", "postgresql")
}


def upgrade() -> None:
    op.create_table(
        "line_crowds",
        sa.Column("id", ID, nullable=False),
        sa.Column("cohort_id", ID, nullable=False),
        sa.Column("import_id", ID, nullable=False),
        sa.Column("first_id", ID, nullable=False),
        sa.Column("last_id", ID, nullable=False),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.id"]),
        sa.ForeignKeyConstraint(["import_id"], ["imports.id"]),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("line_crowds_cohort", "line_crowds", ["cohort_id", "id"])
    op.add_column("imports", sa.Column("in_order", sa.Boolean(), nullable=True))
    op.add_column("import_rows", sa.Column("nth", sa.Integer(), nullable=True))
    op.drop_index("import_rows_key", "import_rows")
    op.drop_index("import_rows_place", "import_rows")
    op.create_index("import_rows_place", "import_rows", ["import_id", "place"], **PLACED)
    op.create_index("import_rows_rejected", "import_rows", ["import_id", "address_key"], **REJECTED)
    _hand_over_interrupted()


def downgrade() -> None:
    _hand_back_interrupted()
    op.drop_index("import_rows_rejected", "import_rows")
    op.drop_index("import_rows_place", "import_rows")
    op.create_index("import_rows_place", "import_rows", ["import_id", "outcome", "place"])
    op.create_index("import_rows_key", "import_rows", ["import_id", "address_key"])
    op.drop_column("import_rows", "nth")
    op.drop_column("imports", "in_order")
    op.drop_index("line_crowds_cohort", "line_crowds")
    op.drop_table("line_crowds")


def _hand_back_interrupted() -> None:
    """The former release goes by places, and rebuilds a line that is of another run of Redis."""
    op.execute(
        "UPDATE import_rows SET place = nth "
        "WHERE place IS NULL AND nth IS NOT NULL AND outcome = 'staged'"
    )
    op.execute("UPDATE gate SET line_run_id = NULL")


def _hand_over_interrupted() -> None:
    """Rows that the last release would have upgraded at the end of an import come last here.

    Its duplicates are counted at once, of an import that isn't going to be read again.
    """
    op.execute(
        "UPDATE import_rows SET outcome = 'staged', upgraded = false, place = 1000000000 + number "
        "WHERE upgraded AND outcome = 'duplicate'"
    )
    op.execute(
        "UPDATE imports SET duplicate = (SELECT count(*) FROM import_rows "
        "WHERE import_id = imports.id AND outcome = 'duplicate') "
        "WHERE state = 'entering'"
    )
    op.execute("DELETE FROM import_rows WHERE outcome = 'duplicate'")
