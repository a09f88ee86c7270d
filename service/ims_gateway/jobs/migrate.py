"""Brings the ledger's schema to the version of this code.

A start that finds nothing to do asks the driver alone: SQLAlchemy and alembic take half a second
and twenty megabytes to import.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ims_gateway.jobs.database import Database, database

if TYPE_CHECKING:  # imported where there is something to migrate
    import sqlalchemy

HEAD: Final = "0005"
EMPTY: Final = "empty"
# The number of PostgreSQL's lock for migrations: any that nobody else takes.
LOCK: Final = 0x696D7367772D6462


class UnknownRevision(Exception):  # noqa: N818 - it says what was found
    """The ledger's schema is one that this version does not know, so that of a later one."""

    def __init__(self, revision: str) -> None:
        super().__init__(f"the ledger's schema is {revision}, of which this version knows nothing")


class LedgerUnreachable(Exception):  # noqa: N818 - it says what was found
    """The database cannot be reached or written.

    The text is the driver's own. It names host and user, and never holds the password.
    """


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The schema's revision before and after; the same where there was nothing to migrate."""

    before: str
    after: str


def upgrade(url: str) -> Upgrade:
    """Apply the migrations that the database lacks; does nothing where there are none.

    Raises ValueError for a URL that names no database, UnknownRevision, LedgerUnreachable.
    """
    target = database(url)
    if _is_current(target):
        return Upgrade(HEAD, HEAD)
    import sqlalchemy  # noqa: PLC0415 - see above

    engine = sqlalchemy.create_engine(
        f"{target.dialect}://", creator=target.connect_driver, poolclass=sqlalchemy.NullPool
    )
    try:
        with engine.connect() as connection:
            before = _revision(connection)
        return Upgrade(before if before == HEAD else _migrate(engine), HEAD)
    except sqlalchemy.exc.DBAPIError as error:
        raise LedgerUnreachable(str(error.orig)) from error
    finally:
        engine.dispose()


def _is_current(target: Database) -> bool:
    """Say whether the schema is surely this version's; whoever says no finds out why."""
    try:
        with closing(target.connect_driver()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute("SELECT version_num FROM alembic_version")
            return [*map(tuple, cursor.fetchall())] == [(HEAD,)]
    except Exception:  # noqa: BLE001 - each driver has errors of its own, and no schema yet is one
        return False


def _revision(connection: sqlalchemy.Connection) -> str:
    import sqlalchemy  # noqa: PLC0415 - see above

    if not sqlalchemy.inspect(connection).has_table("alembic_version"):
        return EMPTY
    version = connection.scalar(sqlalchemy.text("SELECT version_num FROM alembic_version"))
    return EMPTY if version is None else str(version)


def _migrate(engine: sqlalchemy.Engine) -> str:
    """Migrate, and return the revision that was found."""
    # Imported here, because a start without anything to migrate needs none of its memory.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with engine.begin() as connection:
        # Taken before anybody looks, so that of two processes that start at once one waits.
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        before = _revision(connection)
        if before not in known | {EMPTY}:
            raise UnknownRevision(before)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return before
