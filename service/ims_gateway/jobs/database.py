"""A database that can hold the ledger: what the store asks of it, and which one a URL names.

There are two, SQLite and PostgreSQL, with one schema and one set of statements. What differs
between them is behind the protocols below. Nothing here knows a table.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from ims_gateway.jobs.sqlite import SqliteDatabase

SQLITE: Final = "sqlite:///"
POSTGRESQL: Final = ("postgresql", "postgres")
DEFAULT_TIMEOUT_SECONDS: Final = 5.0

T = TypeVar("T")


class Rows(Protocol):
    """What a statement found. A row gives its values by column name, and is made a dict by dict."""

    def fetchone(self) -> Any:
        """Return the next row, or None."""

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """What a command gets to work with."""

    def execute(self, statement: str, values: Mapping[str, Any] = ..., /) -> Rows:
        """Run one statement, whose parameters are written as :name."""


Command = Callable[[Connection], T]


def together(db: Connection) -> AbstractContextManager[object]:
    """Let the statements within not wait for each other's answers, where each is a round trip.

    What is found is there at the end, and may be fetched before it, which waits for all so far. An
    error of one comes up there, too, and no later one has run then.
    """
    pipeline: Callable[[], AbstractContextManager[object]] = getattr(db, "together", nullcontext)
    return pipeline()


class Session(Protocol):
    """One connection to a database, used by one thread at a time."""

    @property
    def connection(self) -> Connection:
        """What commands run on."""

    @property
    def lost(self) -> bool:
        """Whether the connection is of no more use."""

    def begin(self, locks: Collection[str]) -> None:
        """Begin a transaction that is alone with each of the locks, in all processes."""

    def commit(self) -> None:
        """Make the transaction durable. If the connection is lost meanwhile, it may have been."""

    def rollback(self) -> None:
        """Undo the transaction, if there is one. Raises nothing: the session may be lost then."""

    def interrupt(self) -> None:
        """End, from any thread, whatever the session is waiting for."""

    def close(self) -> None:
        """Give the connection up."""


class Database(Protocol):
    """One kind of database at one address.

    `error` is what its driver raises, `passing_error` the part of it that another try may not meet.
    A caller waits for an answer for `timeout_seconds`. `readers` threads read at once.
    `dialect` is SQLAlchemy's name for it. `time_sql` is its own time, in microseconds since the
    epoch; None where all its processes have one clock, their machine's.
    """

    @property
    def error(self) -> type[Exception]: ...  # noqa: D102 - said above

    @property
    def passing_error(self) -> type[Exception]: ...  # noqa: D102 - said above

    @property
    def timeout_seconds(self) -> float: ...  # noqa: D102 - said above

    @property
    def readers(self) -> int: ...  # noqa: D102 - said above

    def connect(self) -> Session:
        """Open a connection. Raises `error`."""

    @property
    def dialect(self) -> str: ...  # noqa: D102 - said above

    @property
    def time_sql(self) -> str | None: ...  # noqa: D102 - said above

    def connect_driver(self) -> Any:
        """Open a connection as the driver makes it, for migrations. Raises `error`."""


def reason_of(error: Exception) -> str:
    """Return a driver's name for its error, such as SQLITE_FULL or an SQLSTATE, or else its class.

    Its text may quote what was to be written.
    """
    named = getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None)
    return str(named or type(error).__name__)


def database(url: str, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> Database:
    """Return the database that the URL names; nothing is opened.

    `sqlite:///relative.db`, `sqlite:////absolute.db` or `postgresql://user:password@host/name`,
    the latter with whatever libpq accepts. Raises ValueError, which shows nothing of the URL.
    """
    if url.startswith(SQLITE):
        return SqliteDatabase(_path(url.removeprefix(SQLITE)), timeout_seconds)
    if url.partition("://")[0] in POSTGRESQL:
        # Imported here: a gateway on SQLite needs none of its memory.
        from ims_gateway.jobs.postgres import PostgresDatabase  # noqa: PLC0415

        return PostgresDatabase(url, timeout_seconds)
    raise ValueError("must begin with sqlite:/// or postgresql://")


def _path(path: str) -> Path:
    if not path or path.startswith(":") or "?" in path:
        raise ValueError("must name a file after sqlite:///")
    return Path(path)
