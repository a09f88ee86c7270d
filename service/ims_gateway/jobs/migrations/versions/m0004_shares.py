"""What each process may use of an account's places and rate."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "shares",
        sa.Column("account", sa.String(length=63), nullable=False),
        sa.Column("seat", sa.String(length=255), nullable=False),
        sa.Column("life", sa.String(length=36), nullable=False),
        sa.Column("renew_time", sa.BigInteger(), nullable=False),
        sa.Column("places", sa.Integer(), nullable=False),
        sa.Column("per_second", sa.Double(), nullable=False),
        sa.Column("wanted_places", sa.Integer(), nullable=False),
        sa.Column("wanted_per_second", sa.Double(), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account", "seat"),
    )
