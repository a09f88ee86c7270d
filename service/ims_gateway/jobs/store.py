"""The database behind the ledger, from the event loop's side.

Decides how long a caller waits: a database that stands still must not hold up those who can be told
to come back, whatever the threads that write and read are waiting for. What it never does: leave a
write without an answer, or one behind that its caller takes for failed, where it was told how to
undo it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import structlog

from ims_gateway.errors import StoreUnavailable
from ims_gateway.jobs.database import Command, Database
from ims_gateway.jobs.readers import Readers
from ims_gateway.jobs.writer import Write, Writer

T = TypeVar("T")

log = structlog.get_logger()


class Store:
    """Runs commands against a database, from one event loop.

    `time_sql` is the expression for the database's own time, where it has one and `keeps_time` says
    that processes are to agree on it. Raises StoreUnavailable from `read` and `write` where the
    database cannot do its work, or not in time: a full disk, a lock that another process keeps, a
    server that is gone. `committed` is told, in the writer's thread, how many operations shared a
    transaction and how many seconds it took.
    """

    def __init__(
        self,
        database: Database,
        *,
        keeps_time: bool = False,
        committed: Callable[[int, float], None] = lambda *_: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_seconds = database.timeout_seconds
        self.time_sql = database.time_sql if keeps_time else None
        self._writer = Writer(database, self._answer_soon, committed)
        self._readers = Readers(database)
        self._closed = False

    async def write(
        self,
        command: Command[T],
        *,
        lock: str | None = None,
        undo: Command[object] | None = None,
    ) -> T:
        """Run the command in a transaction that is durable when this returns.

        The command is alone with the name of its `lock`, in all processes. It runs again where its
        first run was rolled back, or may have been: see `writer`. `undo` runs if the command was
        committed, or may have been, although this has raised.
        """
        if self._closed:
            raise StoreUnavailable("the ledger is closed")
        if self._writer.stuck:
            # At once: what waits for a database that stands still only piles up.
            raise StoreUnavailable("the ledger does not answer")
        future: asyncio.Future[T] = self._loop.create_future()
        write = Write(command, future, lock, undo)
        timer = self._loop.call_later(self._timeout_seconds, self._expire, write)
        self._writer.put(write)
        try:
            return await future
        except asyncio.CancelledError:
            self._forsake(write)
            raise
        finally:
            timer.cancel()

    async def read(self, query: Command[T]) -> T:
        """Run a query outside of any transaction of the writer."""
        if self._closed:
            raise StoreUnavailable("the ledger is closed")
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await asyncio.wrap_future(self._readers.start(query))
        except TimeoutError:
            raise StoreUnavailable("the ledger does not answer") from None

    async def close(self) -> None:
        """Finish what is queued, for as long as a caller would wait, then let go of the rest."""
        self._closed = True
        for write in await asyncio.to_thread(self._writer.close):
            self._expire(write)
        await asyncio.to_thread(self._readers.close)

    def _expire(self, write: Write) -> None:
        if self._writer.give_up(write) and write.future is not None and not write.future.done():
            write.future.set_exception(StoreUnavailable("the ledger does not answer"))

    def _forsake(self, write: Write) -> None:
        """Note that the caller is gone; if the write has just been made, have it undone."""
        if not self._writer.give_up(write):
            write.given_up = True
            if undoing := write.undoing():
                self._writer.put(undoing)

    def _answer_soon(self, writes: list[Write]) -> None:
        self._loop.call_soon_threadsafe(_answer, writes)


def _answer(writes: list[Write]) -> None:
    for write in writes:
        if write.future is None:
            if write.error is not None:
                # The lease closes what this has left behind.
                log.error("not undone", error=type(write.error).__name__)
        elif write.future.done():
            continue
        elif write.error is not None:
            write.future.set_exception(write.error)
        else:
            write.future.set_result(write.result)
