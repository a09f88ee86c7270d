"""Fixtures of all tests: the databases that can hold a ledger."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import postgres
from tests.sqlite import new_ledger

# A slow machine is no fault of a property.
settings.register_profile("unhurried", deadline=None, print_blob=True)
settings.load_profile("unhurried")

RAM_DISK = Path("/dev/shm")
ROOM_BYTES = 2 * 1024**3


def pytest_configure() -> None:
    """Keep what tests write in memory, where that may be: a ledger syncs at each transaction.

    No test cuts the power, and what a killed process has written is there either way.
    """
    if ram_disk() is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(RAM_DISK))


def ram_disk() -> Path | None:
    """Return a folder in memory that has room and may hold programs; None where there is none."""
    if not os.access(RAM_DISK, os.W_OK):
        return None
    found = os.statvfs(RAM_DISK)
    roomy = found.f_bavail * found.f_frsize >= ROOM_BYTES
    return RAM_DISK if roomy and not found.f_flag & os.ST_NOEXEC else None


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Postgres]:
    """Run one PostgreSQL for all tests that ask for it."""
    with postgres.running(ram_disk()) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Lend a migrated and empty ledger, on one kind of database after the other."""
    if request.param == "postgresql":
        server: postgres.Postgres = request.getfixturevalue("postgresql")
        with server.lent() as url:
            yield url
        return
    yield new_ledger(tmp_path)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let children end at SIGINT, also where a shell has started the tests with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
