"""Limits that count separately, the cost of jobs, and what purged jobs had used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = {
    "counters": ("period", "used"),
    "totals": ("period", "used"),
    "rates": ("tat",),
}


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("cost", sa.BigInteger(), server_default="0", nullable=False))
    op.create_table(
        "definitions",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("definitions", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant"),
    )
    op.create_table(
        "usage",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("principal", sa.String(length=192), nullable=False),
        sa.Column("algorithm", sa.String(length=64), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "time", "principal", "algorithm"),
    )
    for table, columns in TABLES.items():
        _add_bucket_to_key(table, columns)
    _add_bucket_to_holds()


def _add_bucket_to_key(table: str, columns: tuple[str, ...]) -> None:
    """Make the table anew: SQLite cannot change a primary key."""
    kept = [name for name in columns if name == "period"]
    op.rename_table(table, f"{table}_0001")
    op.create_table(
        table,
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("limit_id", sa.String(length=63), nullable=False),
        sa.Column("bucket", sa.String(length=255), nullable=False),
        *(sa.Column(name, sa.String(length=32), nullable=False) for name in kept),
        sa.Column(columns[-1], sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "limit_id", "bucket", *kept),
    )
    names = ", ".join(columns)
    op.execute(
        f"INSERT INTO {table} (tenant, limit_id, bucket, {names}) "  # noqa: S608 - our own names
        f"SELECT tenant, limit_id, '', {names} FROM {table}_0001"
    )
    op.drop_table(f"{table}_0001")


def _add_bucket_to_holds() -> None:
    column = sa.Column("bucket", sa.String(length=255), server_default="", nullable=False)
    op.add_column("holds", column)
