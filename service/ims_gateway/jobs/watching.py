"""Looks into the ledger for everybody in this process who watches a job.

One look serves all watches, and their jobs are made due sooner, for whichever process's tracker has
them. Decides what is news to whom. A watch that is slow gets the latest state only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from ims_gateway.errors import GatewayBusy, JobNotFound, StoreUnavailable, TryLater
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.news import mark_of
from ims_gateway.jobs.pace import MICROSECONDS
from ims_gateway.jobs.record import JobRecord

# Jobs in one statement: an old SQLite takes 999 parameters.
AT_ONCE: Final = 500


class _Watch:
    """One watch: what it has been told last, and what waits to be fetched."""

    def __init__(self, seen: JobRecord) -> None:
        self.name = seen.name
        self.mark = mark_of(seen)
        self._news: JobRecord | Exception = seen
        self._told = asyncio.Event()

    def tell(self, record: JobRecord) -> None:
        self.mark = mark_of(record)
        self._news = record
        self._told.set()

    def fail(self, error: Exception) -> None:
        self._news = error
        self._told.set()

    async def next(self) -> JobRecord:
        await self._told.wait()
        self._told.clear()
        if isinstance(self._news, Exception):
            raise self._news
        return self._news


class Watches:
    """All watches of a process. `clock` gives microseconds since the epoch."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Callable[[], int],
        *,
        look_seconds: float,
        poll_seconds: float,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._look_seconds = look_seconds
        self._pause = round(poll_seconds * MICROSECONDS)
        self._hastened_time = 0
        self._watches: dict[str, set[_Watch]] = {}
        self._looks: asyncio.Task[None] | None = None
        self._drained: TryLater | None = None

    def __len__(self) -> int:
        return sum(map(len, self._watches.values()))

    async def changes(self, record: JobRecord) -> AsyncGenerator[JobRecord, None]:
        """Yield the job whenever it is not what it was, until its state is terminal.

        Raises JobNotFound where the job is purged meanwhile, StoreUnavailable, and GatewayBusy
        when the gateway shuts down.
        """
        if record.ended:
            return
        watch = _Watch(record)
        self._join(record.job_id, watch)
        try:
            while not record.ended:
                record = await watch.next()
                yield record
        finally:
            self._leave(record.job_id, watch)

    def drain(self) -> None:
        """End every watch: each would last as long as its job, and goes on at another replica."""
        self._drained = GatewayBusy("the gateway shuts down: watch the job anew")
        self._fail(self._drained)

    async def look(self) -> None:
        """Tell every watch what is news to it. Raises StoreUnavailable."""
        # Who joins later waits for the next look: this one may see less than was seen already.
        watching = {job_id: tuple(watches) for job_id, watches in self._watches.items()}
        for batch in _batches(list(watching)):
            seen = {job_id: {watch.mark for watch in watching[job_id]} for job_id in batch}
            for job_id, record in (await self._ledger.news(seen)).items():
                for watch in watching[job_id]:
                    if record is None:
                        watch.fail(JobNotFound(watch.name))
                    elif watch.mark != mark_of(record):
                        watch.tell(record)

    async def hasten(self) -> None:
        """Have the watched jobs asked about soon, if that is due. Raises StoreUnavailable."""
        now = self._clock()
        if abs(now - self._hastened_time) < self._pause:
            return
        self._hastened_time = now
        for batch in _batches(list(self._watches)):
            await self._ledger.hasten(batch, now + self._pause)

    async def _run(self) -> None:
        while True:
            try:
                # Without it the watch goes on, only less closely.
                with suppress(StoreUnavailable):
                    await self.hasten()
                await self.look()
            except Exception as error:  # noqa: BLE001 - told to all, or they would wait forever
                self._fail(error)
            await asyncio.sleep(self._look_seconds)

    def _fail(self, error: Exception) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.fail(error)

    def _join(self, job_id: str, watch: _Watch) -> None:
        if self._drained is not None:
            watch.fail(self._drained)
        if job_id not in self._watches:
            self._hastened_time = 0
        self._watches.setdefault(job_id, set()).add(watch)
        if self._looks is None:
            self._looks = asyncio.create_task(self._run())

    def _leave(self, job_id: str, watch: _Watch) -> None:
        watches = self._watches[job_id]
        watches.discard(watch)
        if not watches:
            del self._watches[job_id]
        if not self._watches and self._looks is not None:
            self._looks.cancel()
            self._looks = None


def _batches(job_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(job_ids), AT_ONCE):
        yield job_ids[start : start + AT_ONCE]
