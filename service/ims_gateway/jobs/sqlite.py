"""The ledger in one SQLite file: for one machine, also for several processes on it.

A transaction of one process keeps the others out from its first moment, so that locks by name have
nothing left to do.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

WAL_PAUSE_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class SqliteDatabase:
    """A file. A lock that another process keeps is waited for as long as a caller waits."""

    path: Path
    timeout_seconds: float
    # More would wait for each other's Python, not for the disk.
    readers: int = 1
    dialect: str = "sqlite"
    time_sql: str | None = None

    @property
    def error(self) -> type[Exception]:
        """Whatever sqlite3 raises."""
        return sqlite3.Error

    @property
    def passing_error(self) -> type[Exception]:
        """Another process's lock, a full disk."""
        return sqlite3.OperationalError

    def connect(self) -> SqliteSession:
        """Open the file: WAL, and a full sync at every commit, since a lost intent is a lost job.

        Raises sqlite3.Error.
        """
        connection = sqlite3.connect(
            self.path, timeout=self.timeout_seconds, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        try:
            _use_wal(connection, time.monotonic() + self.timeout_seconds)
            connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error:
            connection.close()
            raise
        return SqliteSession(connection, self.path)

    def connect_driver(self) -> sqlite3.Connection:
        """Open the file as sqlite3 does it. Raises sqlite3.Error."""
        return sqlite3.connect(self.path, timeout=self.timeout_seconds)


class SqliteSession:
    """A connection to the file. Commands run on the driver's own, since each step in between costs.

    It is never lost: there is nothing between the process and the file.
    """

    lost = False

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self._path = path
        self._file = path.stat()

    def begin(self, _: Collection[str]) -> None:
        """Take the file's one write lock at once: one taken later may find the file changed.

        A file that was deleted or replaced takes nothing more. SQLite would not mind, and the next
        process would know none of it.
        """
        if not self._in_place():
            error = sqlite3.OperationalError("the file is not where it was")
            error.sqlite_errorname = "SQLITE_READONLY_DBMOVED"
            raise error
        self.connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Write and sync."""
        self.connection.execute("COMMIT")

    def rollback(self) -> None:
        """Undo what is not committed. Some errors have done that already."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def interrupt(self) -> None:
        """End the statement that runs. A wait for a lock ends by its own time limit."""
        self.connection.interrupt()

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def _in_place(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), self._file)
        except OSError:
            return False


def _use_wal(connection: sqlite3.Connection, give_up: float) -> None:
    """Have the file keep a WAL, from its first connection on.

    SQLite waits for no lock here: of two processes that open a new file at once, one would fail.
    """
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() >= give_up:
                raise
            time.sleep(WAL_PAUSE_SECONDS)
        else:
            return
