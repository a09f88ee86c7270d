"""The thread that writes: takes what is queued, commits it in groups, and says what came of it.

Whatever queued up while the last transaction ran shares the next, so the cost of a commit is
divided by the load. There are no timers. A command either refuses before it has written anything,
or writes; it never does both.

A connection that is lost before the COMMIT has left nothing behind, so the group runs again on a
new one. Lost during the COMMIT, nobody knows, and it runs again, too: the locks and the rows that
the first transaction holds make the second wait until the first has ended, and a command recognizes
what it has done already (an admission its own job, a change the state that it leads to).
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from ims_gateway.errors import Refusal, StoreUnavailable
from ims_gateway.jobs.database import Command, Database, Session, reason_of

LARGEST_GROUP: Final = 256
# Of the time that a caller waits. Of a group that took all of it, nobody would hear the end.
LONGEST_GROUP_SHARE: Final = 0.25
# Between two tries to write what must not be dropped.
PAUSE_SECONDS: Final = 0.2

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Write:
    """One command, who waits for it, and what became of it.

    `lock` is what the command must be alone with, in all processes. `undo` runs where the command's
    changes may stand although its caller was told that it failed. One that is `kept` runs even if
    nobody waits for it any more, however often that must be tried.
    """

    command: Command[Any]
    future: asyncio.Future[Any] | None = None
    lock: str | None = None
    undo: Command[Any] | None = None
    kept: bool = False
    result: Any = None
    error: Exception | None = None
    # Committed; or perhaps committed, which only a commit that succeeds makes sure again.
    stands: bool = False
    uncertain: bool = False
    # Not ended: it is to be run in the next group.
    again: bool = False
    # These two exclude each other, under the writer's lock: whichever comes first holds.
    given_up: bool = False
    answered: bool = False

    @property
    def wanted(self) -> bool:
        """Whether there is still a reason to run the command."""
        return self.kept or not self.given_up

    def undoing(self) -> Write | None:
        """Return the write that takes back what the caller does not know of, if there is any."""
        unknown = self.uncertain or (self.stands and self.given_up and self.error is None)
        if self.undo is None or not unknown:
            return None
        return Write(self.undo, lock=self.lock, kept=True)


class Writer:
    """Commits writes in the order in which they are put.

    `answer` is called, in the writer's thread, with the writes that have ended; `committed` with
    the size of every group and the seconds that its transaction took.
    """

    def __init__(
        self,
        database: Database,
        answer: Callable[[list[Write]], None],
        committed: Callable[[int, float], None] = lambda *_: None,
    ) -> None:
        self._database = database
        self._answer = answer
        self._committed = committed
        self._queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._turn = threading.Lock()
        self._abandoned = threading.Event()
        self._busy_since: float | None = None
        self._trouble = False
        # Opened here: a database that cannot be opened is to stop the start.
        self._session: Session | None = database.connect()
        self._thread = threading.Thread(target=self._work, name="ledger-write")
        self._thread.start()

    @property
    def stuck(self) -> bool:
        """Whether one group has taken longer than its callers have waited."""
        since = self._busy_since
        return since is not None and time.monotonic() - since > self._database.timeout_seconds

    def put(self, write: Write) -> None:
        """Queue a write."""
        self._queue.put(write)

    def give_up(self, write: Write) -> bool:
        """Wait for a write no longer; say whether that came before its answer."""
        with self._turn:
            write.given_up = not write.answered
            return write.given_up

    def close(self) -> list[Write]:
        """Finish what is queued, for as long as a caller would wait; return what is left of it."""
        self._queue.put(None)
        self._thread.join(self._database.timeout_seconds)
        self._abandoned.set()
        while self._thread.is_alive():
            # More than once: it may be about to connect anew.
            if session := self._session:
                session.interrupt()
            self._thread.join(PAUSE_SECONDS)
        self._release()
        return self._queued(until=None)

    def _work(self) -> None:
        following: list[Write] = []
        while group := self._next_group(following):
            self._busy_since = time.monotonic()
            self._commit(group)
            following = self._finish(group)
            self._busy_since = None

    def _next_group(self, following: list[Write]) -> list[Write]:
        """Wait for a write, then take all that are there; empty when the writer is closed."""
        if following and self._trouble:
            self._abandoned.wait(PAUSE_SECONDS)
        if self._abandoned.is_set():
            return []
        if following:
            return following + self._queued(until=LARGEST_GROUP - len(following))
        first = self._queue.get()
        return [] if first is None else [first, *self._queued(until=LARGEST_GROUP - 1)]

    def _queued(self, until: int | None) -> list[Write]:
        """Take what is queued, up to a number or to the mark that closes the writer."""
        writes: list[Write] = []
        while until is None or len(writes) < until:
            try:
                write = self._queue.get_nowait()
            except queue.Empty:
                break
            if write is not None:
                writes.append(write)
            elif until is not None:
                self._queue.put(None)
                break
        return writes

    def _commit(self, group: list[Write]) -> None:
        """Commit the group in one transaction; on a lost connection, once more on a new one."""
        fresh = self._session is None
        try:
            session = self._session = self._session or self._database.connect()
        except self._database.error as error:
            self._fail(group, error)
            return
        self._transact(session, group)
        if session.lost and session is self._session:
            self._release()
            if not fresh:
                self._commit(group)

    def _transact(self, session: Session, group: list[Write]) -> None:
        began = time.monotonic()
        try:
            session.begin({write.lock for write in group if write.lock and write.wanted})
        except self._database.error as error:
            # All of them: each by itself would wait for the same lock, one after the other.
            session.rollback()
            self._fail(group, error)
            return
        with self._turn:
            # Only now: to begin may have taken so long that nobody waits any more.
            wanted = [write for write in group if write.wanted]
        try:
            size = self._run(session, wanted)
        except Exception as error:  # noqa: BLE001 - each write gets its own answer below
            session.rollback()
            self._fail(wanted, error)
            if not session.lost and len(wanted) > 1:
                for write in wanted:
                    self._commit([write])
        else:
            self._committed(size, time.monotonic() - began)

    def _run(self, session: Session, wanted: list[Write]) -> int:
        """Run and commit the commands, as many of them as there is time for, but at least one.

        Returns how many.
        """
        until = time.monotonic() + self._database.timeout_seconds * LONGEST_GROUP_SHARE
        group: list[Write] = []
        for write in wanted:
            write.again = bool(group) and time.monotonic() > until
            if not write.again:
                _run_command(write, session)
                group.append(write)
        try:
            session.commit()
        except self._database.error:
            session.rollback()
            for write in group:
                write.uncertain |= session.lost
            raise
        if self._trouble:
            log.info("the ledger is written again")
        self._trouble = False
        for write in group:
            write.stands, write.uncertain = True, False
        return len(group)

    def _fail(self, group: list[Write], error: Exception) -> None:
        passing = isinstance(error, self._database.passing_error)
        if passing and not self._trouble:
            # Once: callers are told each time.
            log.error("the ledger cannot be written", reason=reason_of(error))
        self._trouble = passing
        for write in group:
            write.error = error
            write.again = write.kept and self._trouble
            if isinstance(error, self._database.error):
                # One for each: an error that is raised twice shows the way of both.
                write.error = StoreUnavailable("the ledger cannot be written")
                write.error.__cause__ = error

    def _finish(self, group: list[Write]) -> list[Write]:
        """Have the callers answered; return what has to be written before all that is queued.

        Before it, because a caller who was told that its admission failed may have come back.
        """
        following, ended = [], []
        with self._turn:
            for write in group:
                if write.again:
                    following.append(write)
                    continue
                write.answered = True
                ended.append(write)
                if undoing := write.undoing():
                    following.append(undoing)
        self._answer(ended)
        return following

    def _release(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def _run_command(write: Write, session: Session) -> None:
    try:
        # A command that runs a second time is answered by its second run alone.
        write.result, write.error = write.command(session.connection), None
    except Refusal as refusal:
        write.error = refusal
