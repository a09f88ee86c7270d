"""Run by alembic: applies the migrations over the connection that the store hands in."""

from __future__ import annotations

from alembic import context

from ims_gateway.jobs.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
