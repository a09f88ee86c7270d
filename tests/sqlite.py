"""Ledgers in SQLite's files for the tests."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from ims_gateway.jobs.migrate import upgrade


@cache
def migrated() -> bytes:
    """Return a ledger's file as the migrations make it: to copy is quicker than to migrate."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        upgrade(f"sqlite:///{path}")
        return path.read_bytes()


def new_ledger(folder: Path) -> str:
    """Make a migrated and empty ledger in a folder; returns its URL."""
    path = folder / "ledger.db"
    path.write_bytes(migrated())
    return f"sqlite:///{path}"
