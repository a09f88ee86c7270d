"""Where a campaign's ledger is: a new SQLite file, or a new database of a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from tests import postgres

# Given a campaign's folder, returns the URL of a ledger that is its own.
NewLedger = Callable[[Path], str]


def sqlite_file(folder: Path) -> str:
    """Return the URL of a file that the first gateway makes."""
    return f"sqlite:///{folder / 'ledger.db'}"


@contextmanager
def _sqlite() -> Iterator[NewLedger]:
    yield sqlite_file


@contextmanager
def _postgresql() -> Iterator[NewLedger]:
    with postgres.running() as server:
        yield lambda _: server.new_database(migrated=False)


LEDGERS: Final[Mapping[str, Callable[[], AbstractContextManager[NewLedger]]]] = {
    "SQLite": _sqlite,
    "PostgreSQL": _postgresql,
}
