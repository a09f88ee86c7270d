"""The threads that read, each on a connection of its own, outside of any transaction."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ims_gateway.errors import StoreUnavailable
from ims_gateway.jobs.database import Command, Database, Session

T = TypeVar("T")


class Readers:
    """As many threads as the database has use for. They connect when they are first needed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._threads = ThreadPoolExecutor(database.readers, "ledger-read")
        self._own = threading.local()
        self._sessions: set[Session] = set()

    def start(self, query: Command[T]) -> Future[T]:
        """Queue a query. Its future raises StoreUnavailable where the database does not do it."""
        return self._threads.submit(self._run, query)

    def close(self) -> None:
        """Drop what is queued, and interrupt what runs."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for session in self._sessions.copy():
            session.interrupt()
        self._threads.shutdown()
        for session in self._sessions:
            session.close()

    def _run(self, query: Command[T]) -> T:
        try:
            session = self._session()
            try:
                return query(session.connection)
            except self._database.error:
                if not session.lost:
                    raise
            # A server that was restarted is noticed at the next query.
            return query(self._session().connection)
        except self._database.error as error:
            raise StoreUnavailable("the ledger cannot be read") from error

    def _session(self) -> Session:
        """Return this thread's connection, a new one where it has none or has lost it."""
        session: Session | None = getattr(self._own, "session", None)
        if session is not None and session.lost:
            self._sessions.discard(session)
            session.close()
            session = None
        if session is None:
            session = self._own.session = self._database.connect()
            self._sessions.add(session)
        return session
