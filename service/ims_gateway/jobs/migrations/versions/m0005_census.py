"""Indexes that have what a census of the open jobs asks, so that it looks at no other job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply."""
    op.drop_index("jobs_due", "jobs")
    op.create_index(
        "jobs_due",
        "jobs",
        ["account", "next_poll_time", "state", "create_time"],
        sqlite_where=sa.text("next_poll_time IS NOT NULL"),
        postgresql_where=sa.text("next_poll_time IS NOT NULL"),
    )
    op.drop_index("jobs_leased", "jobs")
    op.create_index(
        "jobs_leased",
        "jobs",
        ["lease_until", "create_time"],
        sqlite_where=sa.text("lease_until IS NOT NULL"),
        postgresql_where=sa.text("lease_until IS NOT NULL"),
    )
    # A state is changed often, but hardly ever to this one.
    op.create_index(
        "jobs_unknown",
        "jobs",
        ["create_time"],
        sqlite_where=sa.text("state = 9"),
        postgresql_where=sa.text("state = 9"),
    )
