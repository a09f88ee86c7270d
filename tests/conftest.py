"""Fixtures of all tests: the databases that can hold a ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from ims_gateway.jobs.migrate import upgrade
from tests import postgres

# A slow machine is no fault of a property.
settings.register_profile("unhurried", deadline=None, print_blob=True)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Postgres]:
    """Run one PostgreSQL for all tests that ask for it."""
    with postgres.running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a migrated ledger, on one kind of database after the other."""
    if request.param == "postgresql":
        server: postgres.Postgres = request.getfixturevalue("postgresql")
        return server.new_database()
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    upgrade(url)
    return url
