"""The ledger: jobs, their labels, transitions and holds, and what limits are held against."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "counters",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("limit_id", sa.String(length=63), nullable=False),
        sa.Column("period", sa.String(length=32), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "limit_id", "period"),
    )
    op.create_table(
        "holds",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("limit_id", sa.String(length=63), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("period", sa.String(length=32), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "limit_id"),
    )
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(), nullable=False),
        sa.Column("principal", sa.String(length=128), nullable=False),
        sa.Column("algorithm", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=63), nullable=False),
        sa.Column("spec", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("end_time", sa.BigInteger(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("dispatch_time", sa.BigInteger(), nullable=True),
        sa.Column("next_poll_time", sa.BigInteger(), nullable=True),
        sa.Column("poller", sa.String(length=36), nullable=True),
        sa.Column("overdue_time", sa.BigInteger(), nullable=True),
        sa.Column("upstream_job_id", sa.Text(), server_default="", nullable=False),
        sa.Column("upstream_request_id", sa.Text(), server_default="", nullable=False),
        sa.Column("failure_code", sa.Text(), server_default="", nullable=False),
        sa.Column("failure_message", sa.Text(), server_default="", nullable=False),
        sa.Column("reply", sa.Text(), server_default="", nullable=False),
        sa.Column("decision_id", sa.String(length=64), nullable=False),
        sa.Column("traceparent", sa.String(length=64), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index(
        "jobs_due",
        "jobs",
        ["account", "next_poll_time"],
        unique=False,
        sqlite_where=sa.text("next_poll_time IS NOT NULL"),
        postgresql_where=sa.text("next_poll_time IS NOT NULL"),
    )
    op.create_index(
        "jobs_ended",
        "jobs",
        ["end_time"],
        unique=False,
        sqlite_where=sa.text("end_time IS NOT NULL"),
        postgresql_where=sa.text("end_time IS NOT NULL"),
    )
    op.create_index(
        "jobs_leased",
        "jobs",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("lease_until IS NOT NULL"),
        postgresql_where=sa.text("lease_until IS NOT NULL"),
    )
    op.create_index(
        "jobs_newest",
        "jobs",
        ["tenant", sa.literal_column("create_time DESC"), sa.literal_column("job_id DESC")],
        unique=False,
    )
    op.create_index(
        "jobs_request",
        "jobs",
        ["tenant", "request_id"],
        unique=True,
        sqlite_where=sa.text("state != 8"),
        postgresql_where=sa.text("state != 8"),
    )
    op.create_index(
        "jobs_upstream",
        "jobs",
        ["upstream_job_id"],
        unique=False,
        sqlite_where=sa.text("upstream_job_id != ''"),
        postgresql_where=sa.text("upstream_job_id != ''"),
    )
    op.create_table(
        "labels",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=63), nullable=False),
        sa.Column("value", sa.String(length=63), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "key"),
    )
    op.create_index(
        "labels_newest",
        "labels",
        ["tenant", "key", "value", "create_time", "job_id"],
        unique=False,
    )
    op.create_table(
        "poll_budgets",
        sa.Column("account", sa.String(length=63), nullable=False),
        sa.Column("tat", sa.BigInteger(), nullable=False),
        sa.Column("paused_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "rates",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("limit_id", sa.String(length=63), nullable=False),
        sa.Column("tat", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "limit_id"),
    )
    op.create_table(
        "totals",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("limit_id", sa.String(length=63), nullable=False),
        sa.Column("period", sa.String(length=32), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "limit_id", "period"),
    )
    op.create_table(
        "transitions",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "number"),
    )
