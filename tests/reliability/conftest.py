"""Fixtures of the crash suite, and its table at the end of the run."""

from __future__ import annotations

import io
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from rich.console import Console

from tests.postgres import Postgres
from tests.reliability import report
from tests.reliability.ledgers import NewLedger, sqlite_file
from tests.reliability.lives import Launcher
from tests.reliability.naive import Variant
from tests.reliability.suite import Tally

TALLIES = pytest.StashKey[list[Tally]]()
NAIVE = pytest.StashKey[list[Tally]]()


@pytest.fixture(scope="session")
def seed() -> int:
    """Return the seed of this run; the table shows it."""
    return secrets.randbits(32)


@pytest.fixture
def tally(request: pytest.FixtureRequest, database: str, seed: int) -> Tally:
    """Return where a test counts what the table is to show."""
    tally = Tally(database, seed)
    request.config.stash.setdefault(TALLIES, []).append(tally)
    return tally


@pytest.fixture
def naive_tally(request: pytest.FixtureRequest, variant: Variant, seed: int) -> Tally:
    """Return where a test counts what it finds in a naive gateway."""
    tally = Tally(variant.name, seed)
    request.config.stash.setdefault(NAIVE, []).append(tally)
    return tally


@pytest.fixture
def new_ledger(request: pytest.FixtureRequest, database: str) -> NewLedger:
    """Return what makes a ledger on the test's kind of database."""
    if database == "SQLite":
        return sqlite_file
    server: Postgres = request.getfixturevalue("postgresql")
    return lambda _: server.new_database(migrated=False)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def launcher() -> AsyncIterator[Launcher]:
    """Run what forks gateways."""
    async with Launcher() as running:
        yield running


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show the kills, also in a quiet run."""
    page = io.StringIO()
    console = Console(file=page, width=100, highlight=False)
    if tallies := config.stash.get(TALLIES, []):
        report.print_all(console, tallies)
    if naive := config.stash.get(NAIVE, []):
        report.print_naive(console, naive)
    if page.tell():
        terminalreporter.section("crash suite")
        terminalreporter.write(page.getvalue())
