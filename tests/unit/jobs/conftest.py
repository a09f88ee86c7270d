"""Fixtures: a ledger's file, its rows, its store, and a clock."""

from contextlib import closing

import pytest

from ims_gateway.jobs.database import database
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.schema import metadata
from tests.sqlite import migrated
from tests.unit.jobs.world import Books, Clock, books, opened


@pytest.fixture
def path(tmp_path):
    """Return a migrated ledger's file."""
    path = tmp_path / "ledger.db"
    path.write_bytes(migrated())
    return path


@pytest.fixture
def clock():
    """Return the clock of the ledger below."""
    return Clock()


@pytest.fixture
def file_rows(tmp_path):
    """Open a ledger's file for commands that need no store."""
    with books(tmp_path / "rows.db") as opened_books:
        yield opened_books


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_rows(request):
    """Open a ledger on each kind of database."""
    if request.param == "sqlite":
        yield request.getfixturevalue("file_rows")
        return
    with closing(database(request.getfixturevalue("rows_url")).connect()) as session:
        yield Books(session)
        for table in metadata.tables:
            session.connection.execute(f"DELETE FROM {table}")  # noqa: S608 - of our own names


@pytest.fixture(scope="session")
def rows_url(postgresql):
    """Return the URL of the database that the fixture above leaves empty."""
    return postgresql.new_database()


@pytest.fixture
async def store(path):
    """Run a store over the file."""
    async with opened(path) as running:
        yield running


@pytest.fixture
def ledger(store, clock):
    """Return a ledger over the store."""
    return Ledger(store, clock)
