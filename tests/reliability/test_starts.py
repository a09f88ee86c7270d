"""Gateways that start at the same moment, on one new file."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing

from ims_gateway.jobs.sqlite import SqliteDatabase


def test_a_new_file_that_another_process_writes_to_is_waited_for(tmp_path):
    """SQLite itself would fail at once: the file has no WAL yet, and the other has its lock."""
    path = tmp_path / "ledger.db"
    with (
        closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        other.execute("CREATE TABLE anything (value)")
        other.execute("BEGIN IMMEDIATE")
        opening = thread.submit(SqliteDatabase(path, timeout_seconds=60.0).connect)
        wait([opening], timeout=0.5)
        assert not opening.done()
        other.execute("COMMIT")
        opening.result(60).close()
