"""The ledger in PostgreSQL: for replicas.

Decides what a connection promises: READ COMMITTED, a durable commit, and an end to every wait that
the server or the network can be asked to end. Statements are the ones that SQLite gets; psycopg
wants their parameters spelled in its way.
"""

from __future__ import annotations

import math
import os
import re
import socket
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, suppress
from functools import lru_cache
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final

import psycopg
from psycopg.abc import Buffer
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import StrDumper

NO_VALUES: Final[Mapping[str, Any]] = MappingProxyType({})
# Read committed, whatever the database's default: after a wait for a lock each statement has to see
# what the lock's last holder has written. A snapshot from before the wait would overspend a limit.
BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
# A row of unnest after the other: all processes take the locks that they share in one order.
LOCK: Final = "SELECT pg_advisory_xact_lock(key) FROM unnest('{{{}}}'::bigint[]) AS key"
# - A statement that waits longer than any caller has nobody to answer.
# - A process that stands still within a transaction keeps its locks from all others: half of the
#   time, so that they get them before their own callers have gone.
# - With synchronous_commit off, a crash of the server forgets intents whose jobs were sent.
SESSION: Final = """
SELECT set_config('statement_timeout', %(statement)s, false),
    set_config('idle_in_transaction_session_timeout', %(idle)s, false),
    set_config('synchronous_commit', CASE current_setting('synchronous_commit')
        WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)
"""
_PARAMETER: Final = re.compile(r"'[^']*'|::|%|:([a-z_][a-z0-9_]*)")


class PostgresDatabase:
    """The database that a libpq URL names. Raises ValueError for a URL that libpq cannot read."""

    # A reader waits for the network most of its time. Each is one of the server's connections.
    readers = 4
    dialect = "postgresql+psycopg"
    # Of now, and not of the transaction's begin: it may have waited for its locks since then.
    time_sql: str | None = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        try:
            given = conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            # Its text holds the URL, and that the password.
            raise ValueError("is not a PostgreSQL URL that libpq can read") from None
        self._parameters = _network_limits(timeout_seconds) | given

    @property
    def error(self) -> type[Exception]:
        """Whatever psycopg raises."""
        return psycopg.Error

    @property
    def passing_error(self) -> type[Exception]:
        """A lost connection, a server that starts or stops, a deadlock, a full disk."""
        return psycopg.OperationalError

    def connect(self) -> PostgresSession:
        """Open a connection. Raises psycopg.Error."""
        driver = psycopg.connect(**self._parameters, autocommit=True, row_factory=dict_row)
        milliseconds = round(self.timeout_seconds * 1000)
        limits = {"statement": str(milliseconds), "idle": str(milliseconds // 2)}
        try:
            driver.execute(SESSION, limits)
        except psycopg.Error:
            driver.close()
            raise
        driver.adapters.register_dumper(str, _Text)
        driver.adapters.register_dumper(int, Int8BinaryDumper)
        return PostgresSession(driver)

    def connect_driver(self) -> psycopg.Connection[Any]:
        """Open a connection as psycopg does it. Raises psycopg.Error."""
        driver = psycopg.connect(**self._parameters)
        driver.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        return driver


class PostgresSession:
    """A connection, in autocommit mode but for the transactions that the store begins."""

    def __init__(self, driver: psycopg.Connection[DictRow]) -> None:
        self._driver = driver
        self.connection = Statements(driver)

    @property
    def lost(self) -> bool:
        """Whether the connection is closed, by whichever side."""
        return self._driver.closed

    def begin(self, locks: Collection[str]) -> None:
        """Begin, and take the locks, in one exchange. They are free again with the commit.

        Locks of a name, and not of rows: an admission has to keep others out of what it has looked
        at, and a limit that was never charged has no row. Raises psycopg.Error.
        """
        keys = ",".join(str(key) for key in sorted({_key(name) for name in locks}))
        self._driver.execute(f"{BEGIN}; {LOCK.format(keys)}" if keys else BEGIN)

    def commit(self) -> None:
        """Commit. Raises psycopg.Error; after that, only a session that is not lost has undone it.

        Of a transaction that an error has ended already, PostgreSQL answers a COMMIT with ROLLBACK.
        """
        if self._driver.execute("COMMIT").statusmessage != "COMMIT":
            raise psycopg.InternalError("the transaction was rolled back")

    def rollback(self) -> None:
        """Undo what is not committed; a connection that does not even do that is closed."""
        try:
            if self._driver.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE:
                self._driver.execute("ROLLBACK")
        except psycopg.Error:
            self._driver.close()

    def interrupt(self) -> None:
        """Shut the socket down, so that the thread that waits for it goes on."""
        with (
            suppress(OSError, psycopg.Error),
            # Of a copy of the number: the connection closes its own.
            socket.socket(fileno=os.dup(self._driver.fileno())) as wire,
        ):
            wire.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._driver.close()


class Statements:
    """The statements of the ledger, on psycopg."""

    def __init__(self, driver: psycopg.Connection[DictRow]) -> None:
        self._driver = driver

    def execute(
        self, statement: str, values: Mapping[str, Any] = NO_VALUES, /
    ) -> psycopg.Cursor[DictRow]:
        """Run one statement. psycopg prepares those that come back."""
        return self._driver.execute(translated(statement), values, binary=True)

    def together(self) -> AbstractContextManager[object]:
        """Send the statements within without waiting for each answer."""
        return self._driver.pipeline()


class _Text(StrDumper):
    """Writes texts as texts, where psycopg would leave their type open: PostgreSQL cannot tell it
    everywhere. And a settlement must not fail for what PostgreSQL has no letter for.
    """  # noqa: D205 - one thought

    def dump(self, obj: str) -> Buffer | None:
        return obj.replace("\x00", "\ufffd").encode("utf-8", "replace")


@lru_cache(maxsize=1024)
def translated(statement: str) -> str:
    """Return the statement with its parameters as psycopg wants them: `%(name)s` for `:name`."""
    return _PARAMETER.sub(_translated, statement)


def _translated(found: re.Match[str]) -> str:
    return f"%({found[1]})s" if found[1] else found[0].replace("%", "%%")


@lru_cache(maxsize=65536)
def _key(lock: str) -> int:
    """Return the lock's number. Two names with one number would wait for each other, no more."""
    digest = blake2b(lock.encode(), digest_size=8, person=b"ims-gateway").digest()
    return int.from_bytes(digest, "big", signed=True)


def _network_limits(timeout_seconds: float) -> dict[str, Any]:
    """Return parameters for what the URL leaves open: a host that is gone is found out soon."""
    seconds = max(2, math.ceil(timeout_seconds))
    return {
        "fallback_application_name": "imsgw",
        "target_session_attrs": "read-write",
        "connect_timeout": seconds,
        "tcp_user_timeout": seconds * 1000,
        "keepalives_idle": seconds,
        "keepalives_interval": 1,
        "keepalives_count": 3,
    }
