"""Recent decisions; and room for the names of principals who act for another tenant."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "decisions",
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("decision_id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("principal", sa.String(length=192), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("differs", sa.SmallInteger(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("decisions_id", "decisions", ["decision_id"], unique=True)
    op.create_index("decisions_tenant", "decisions", ["tenant", "number"], unique=False)
    if op.get_bind().dialect.name != "sqlite":
        # SQLite keeps to no length, and would copy the table.
        op.alter_column("jobs", "principal", type_=sa.String(length=192))
