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
    op.drop_index("import_rows_rejected", "import_rows")
    op.drop_index("import_rows_place", "import_rows")
    op.create_index("import_rows_place", "import_rows", ["import_id", "outcome", "place"])
    op.create_index("import_rows_key", "import_rows", ["import_id", "address_key"])
    op.drop_column("import_rows", "nth")
    op.drop_column("imports", "in_order")
    op.drop_index("line_crowds_cohort", "line_crowds")
    op.drop_table("line_crowds")


def _hand_over_interrupted() -> None:
    """Rows that the last release would have upgraded at the end of an import come last here."""
    op.execute(
        "UPDATE import_rows SET outcome = 'staged', upgraded = false, place = 1000000000 + number "
        "WHERE upgraded AND outcome = 'duplicate'"
    )
