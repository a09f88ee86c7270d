"""The migrations bring a file to the schema of this code, however often and at once they run."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ims_gateway.errors import QuotaExceeded
from ims_gateway.jobs import audit, migrate, migrations
from ims_gateway.jobs.migrate import HEAD, LedgerUnreachable, upgrade
from ims_gateway.jobs.schema import metadata
from ims_gateway.jobs.sqlite import SqliteSession
from ims_gateway.quota.limits import CountLimit
from tests.unit.jobs.world import NOON, Books, intent, open_file


def schema_of(path):
    """Return the statements that would make the file's tables and indexes, without layout."""
    query = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE '%alembic%' AND sql <> ''"
    with closing(sqlite3.connect(path)) as db:
        return {name: "".join(sql.split()) for name, sql in db.execute(query)}


def url(path):
    """Return the address of a file as SQLAlchemy spells it."""
    return f"sqlite:///{path}"


def test_migrations_make_the_schema_that_the_code_describes(path, tmp_path):
    """Every table, column, default and (partial) index, to the letter."""
    described = tmp_path / "described.db"
    engine = sqlalchemy.create_engine(url(described))
    metadata.create_all(engine)
    engine.dispose()

    assert schema_of(path) == schema_of(described)


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_alembic_finds_nothing_to_migrate(path):
    """What it would generate from the code's tables is empty."""
    engine = sqlalchemy.create_engine(url(path))
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []
    finally:
        engine.dispose()


def test_the_newest_migration_is_the_one_that_the_code_names():
    """Else a start would not see that there is something to migrate."""
    scripts = ScriptDirectory(next(iter(migrations.__path__)))

    assert scripts.get_heads() == [HEAD]


def test_a_second_upgrade_changes_nothing(path):
    """Not one byte of the file, and no row in it."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO rates VALUES ('acme', 'burst', '', 1)")
    before = path.read_bytes()
    upgrade(url(path))

    assert path.read_bytes() == before


def test_threads_that_upgrade_at_once_all_succeed(tmp_path):
    """One migrates, the others wait for it."""
    path, start, errors = tmp_path / "new.db", threading.Barrier(4), []

    def run():
        start.wait()
        try:
            upgrade(url(path))
        except Exception as error:  # noqa: BLE001 - the test tells
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert set(metadata.tables) <= set(schema_of(path))


async def test_processes_that_upgrade_at_once_all_succeed(tmp_path):
    """Several workers start on a fresh disk."""
    path = tmp_path / "new.db"
    program = f"from {migrate.__name__} import upgrade; upgrade({url(path)!r})"
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program) for _ in range(2)
    ]

    assert [await process.wait() for process in processes] == [0, 0]
    assert set(metadata.tables) <= set(schema_of(path))


def test_a_database_that_cannot_be_written_is_an_error(tmp_path):
    """And not a gateway without a ledger."""
    with pytest.raises(LedgerUnreachable):
        upgrade(url(tmp_path / "no" / "such" / "folder.db"))
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"not a database" * 100)
    with pytest.raises(LedgerUnreachable):
        upgrade(url(broken))


OLD_ROWS = (
    """INSERT INTO jobs (job_id, tenant, request_id, body_hash, principal, algorithm, account, spec,
        state, create_time, update_time, decision_id)
    VALUES (:job_id, :tenant, :request_id, :body_hash, :principal, :algorithm, :account, :spec,
        :state, :create_time, :create_time, :decision_id)""",
    "INSERT INTO holds VALUES (:job_id, :limit_id, :tenant, :period, 1, 'committed')",
    "INSERT INTO counters VALUES (:tenant, :limit_id, :period, 1)",
    "INSERT INTO rates VALUES (:tenant, 'burst', 7)",
)


def test_what_was_used_before_limits_had_buckets_is_kept(tmp_path):
    """The first admission takes it over, under the names that windows have by now."""
    path = tmp_path / "old.db"
    scripts = Path(next(iter(migrations.__path__)))
    config = Config()
    config.set_main_option("script_location", str(scripts))
    engine = sqlalchemy.create_engine(url(path))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        row = {"tenant": "acme", "limit_id": "daily", "period": "day:2026-06-01"}
        job = dict.fromkeys(("body_hash", "spec"), "") | {
            "job_id": "old", "request_id": "old", "principal": "principal/farm", "state": 2,
            "algorithm": "cover", "account": "main", "create_time": NOON, "decision_id": "d",
        }  # fmt: skip
        for statement in OLD_ROWS:
            connection.execute(sqlalchemy.text(statement), row | job)
    engine.dispose()
    upgrade(url(path))

    with closing(SqliteSession(open_file(path), path)) as session:
        ledger = Books(session)
        assert ledger.all("SELECT bucket, tat FROM rates") == [("", 7)]
        one = CountLimit("daily", max=1, time_zone="Asia/Tokyo")
        with pytest.raises(QuotaExceeded):
            ledger.admit(intent(1), one)
        assert audit.differences(ledger.db) == audit.misplaced_holds(ledger.db) == []


def test_a_start_with_nothing_to_migrate_imports_neither_sqlalchemy_nor_alembic(database_url):
    """They take half a second and twenty megabytes."""
    program = """if True:
        import sys
        import ims_gateway.app
        done = ims_gateway.app.upgrade(sys.argv[1])
        print(done.before == done.after, "sqlalchemy" in sys.modules, "alembic" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", program, database_url], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "False", "False"]
