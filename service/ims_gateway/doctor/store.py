"""Whether the ledger's database is there, of this version, writable, and what time it has."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from ims_gateway.doctor.finding import Finding, fail, ok, warn
from ims_gateway.jobs.database import SQLITE, Database, database
from ims_gateway.jobs.migrate import HEAD
from ims_gateway.settings import LedgerSettings

STORE: Final = "store"
# Replicas lease shares of accounts by clocks that must agree within about a second.
SKEW_SECONDS: Final = 1.0
# Whether a row may be written is asked about none: no row is touched, and all is undone.
PROBE: Final = "UPDATE jobs SET tenant = tenant WHERE 1 = 0"


def check_store(settings: LedgerSettings) -> list[Finding]:
    """Look the database over. Waits for it."""
    url = settings.database_url.get_secret_value()
    if url.startswith(SQLITE) and not (file := Path(url.removeprefix(SQLITE))).exists():
        return [_no_file(file)]
    target = database(url, settings.database_timeout_seconds)
    try:
        with closing(target.connect_driver()) as connection:
            return [ok(STORE, "connection", _kind(target)), *_findings(target, connection)]
    except target.error as error:
        return [
            fail(
                STORE,
                "connection",
                _first_line(error),
                "Check IMSGW_DATABASE_URL, that the database runs, and that it lets this host in.",
            )
        ]


def _no_file(file: Path) -> Finding:
    if not file.parent.is_dir():
        advice = "Make the folder, and let the gateway's user write there."
        return fail(STORE, "connection", f"there is no folder {file.parent}", advice)
    found = f"{file} is not there yet"
    return warn(STORE, "schema", found, "The first start makes it, or `imsgw db upgrade`.")


def _findings(target: Database, connection: Any) -> Iterator[Finding]:
    revision = _revision(target, connection)
    yield _schema(revision)
    if revision:
        yield _permission(target, connection)
    yield _clock(target, connection)


def _revision(target: Database, connection: Any) -> str:
    """Return the schema's revision; empty where there is no schema."""
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute("SELECT version_num FROM alembic_version")
            row = cursor.fetchone()
            return str(row[0]) if row else ""
    except target.error:
        return ""
    finally:
        connection.rollback()


def _schema(revision: str) -> Finding:
    if revision == HEAD:
        return ok(STORE, "schema", f"revision {HEAD}, that of this version")
    if not revision:
        return warn(STORE, "schema", "there is none", "`imsgw db upgrade`, or the next start.")
    if revision < HEAD:
        found = f"revision {revision}, older than {HEAD} of this version"
        return warn(STORE, "schema", found, "`imsgw db upgrade`, or the next start.")
    found = f"revision {revision}, of which this version knows nothing"
    return fail(STORE, "schema", found, "Run the version that made it: a gateway does not go back.")


def _permission(target: Database, connection: Any) -> Finding:
    try:
        with closing(connection.cursor()) as cursor:
            if target.dialect == "sqlite":
                cursor.execute("BEGIN IMMEDIATE")
            cursor.execute(PROBE)
    except target.error as error:
        advice = "Let the user of IMSGW_DATABASE_URL write to all tables; check the disk."
        return fail(STORE, "writing", _first_line(error), advice)
    finally:
        connection.rollback()
    return ok(STORE, "writing", "allowed")


def _clock(target: Database, connection: Any) -> Finding:
    if target.time_sql is None:
        return ok(STORE, "clock", "this machine's own")
    before = time.time()
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"SELECT {target.time_sql}")
        there = cursor.fetchone()[0] / 1e6
    here = (before + time.time()) / 2
    found = f"{there - here:+.2f} s from this machine's"
    if abs(there - here) <= SKEW_SECONDS:
        return ok(STORE, "clock", found)
    return warn(STORE, "clock", found, "Synchronize the clocks of both (NTP): replicas rely on it.")


def _kind(target: Database) -> str:
    return "SQLite, for one machine" if target.dialect == "sqlite" else "PostgreSQL"


def _first_line(error: Exception) -> str:
    # The driver's words name host and user, and never hold the password.
    return (str(error).splitlines() or [type(error).__name__])[0]
