"""The SQLite file behind the ledger: one thread that writes, one that reads.

Writes are committed in groups: whatever queued up while the last transaction ran shares the next,
so the cost of a full sync is divided by the load. There are no timers. A command either refuses
before it has written anything, or writes; it never does both.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from ims_gateway.errors import Refusal, StoreUnavailable

T = TypeVar("T")
Command = Callable[[sqlite3.Connection], T]

LARGEST_GROUP: Final = 256
BUSY_TIMEOUT_SECONDS: Final = 5.0


@dataclass(slots=True)
class _Write:
    command: Command[Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Store:
    """Runs commands against the database, from one event loop.

    Raises StoreUnavailable from `read` and `write` where SQLite cannot do its work: a full disk, a
    lock that another process keeps, a broken file.
    """

    def __init__(self, path: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._readers = ThreadPoolExecutor(1, "ledger-read")
        self._reader = connect(path)
        # Opened here: a thread that cannot open it would leave every write without an answer.
        self._connection = connect(path)
        self._closed = False
        self._writer = threading.Thread(target=self._write_groups, name="ledger-write")
        self._writer.start()

    async def write(self, command: Command[T]) -> T:
        """Run the command in a transaction that is on disk when this returns."""
        if self._closed:
            raise StoreUnavailable("the ledger is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Write(command, future))
        return await future

    async def read(self, query: Command[T]) -> T:
        """Run a query outside of any transaction of the writer."""
        return await self._loop.run_in_executor(self._readers, self._read, query)

    async def close(self) -> None:
        """Finish what is queued, then close the file."""
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._writer.join)
        self._connection.close()
        self._readers.shutdown()
        self._reader.close()

    def _read(self, query: Command[T]) -> T:
        try:
            return query(self._reader)
        except sqlite3.Error as error:
            raise StoreUnavailable("the ledger cannot be read") from error

    def _write_groups(self) -> None:
        while group := self._next_group():
            pending = [write for write in group if not write.future.cancelled()]
            _commit(self._connection, pending)
            self._loop.call_soon_threadsafe(_answer, pending)

    def _next_group(self) -> list[_Write]:
        """Wait for a write, then take all that are there; empty when the store is closed."""
        first = self._queue.get()
        group = [] if first is None else [first]
        while group and len(group) < LARGEST_GROUP:
            try:
                write = self._queue.get_nowait()
            except queue.Empty:
                break
            if write is None:
                self._queue.put(None)
                break
            group.append(write)
        return group


def connect(path: Path) -> sqlite3.Connection:
    """Open the file: WAL, and a full sync at every commit, since a lost intent is a lost job."""
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _commit(connection: sqlite3.Connection, group: list[_Write]) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        # All of them: each by itself would wait for the same lock, one after the other.
        for write in group:
            write.error = _as_refusal(error)
        return
    try:
        _run(connection, group)
    except Exception as error:  # noqa: BLE001 - each write gets its own answer below
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if len(group) == 1:
            group[0].error = _as_refusal(error)
        else:
            for write in group:
                _commit(connection, [write])


def _run(connection: sqlite3.Connection, group: list[_Write]) -> None:
    for write in group:
        try:
            # A command that runs a second time is answered by its second run alone.
            write.result, write.error = write.command(connection), None
        except Refusal as refusal:
            write.error = refusal
    connection.execute("COMMIT")


def _as_refusal(error: Exception) -> Exception:
    if isinstance(error, sqlite3.Error):
        refusal = StoreUnavailable("the ledger cannot be written")
        refusal.__cause__ = error
        return refusal
    return error


def _answer(group: list[_Write]) -> None:
    for write in group:
        if write.future.done():
            continue
        if write.error is not None:
            write.future.set_exception(write.error)
        else:
            write.future.set_result(write.result)
