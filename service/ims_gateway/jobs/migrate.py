"""Brings the ledger's schema to the version of this code."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy

HEAD: Final = "0001"


def upgrade(url: str) -> None:
    """Apply the migrations that the database lacks; does nothing where there are none.

    Raises sqlalchemy.exc.SQLAlchemyError where the database cannot be reached or written.
    """
    engine = sqlalchemy.create_engine(url)
    try:
        if _version(engine) != HEAD:
            _migrate(engine)
    finally:
        engine.dispose()


def _version(engine: sqlalchemy.Engine) -> str | None:
    if not sqlalchemy.inspect(engine).has_table("alembic_version"):
        return None
    with engine.connect() as connection:
        version = connection.scalar(sqlalchemy.text("SELECT version_num FROM alembic_version"))
        return None if version is None else str(version)


def _migrate(engine: sqlalchemy.Engine) -> None:
    # Imported here, because a start without anything to migrate needs none of its memory.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        # Taken before alembic looks, so that of two processes that start at once one waits.
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
