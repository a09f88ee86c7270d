"""Feeds a bulk submit: the caller's items, into one stream after another.

Decides how far the items are read ahead of their replies, and that a new stream begins with what
the one before left unanswered. Items are taken by a thread or task of their own, so that replies
are handed out while the next item is waited for.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from queue import SimpleQueue
from threading import Lock, Semaphore, Thread, Timer

from ims_gateway_client.batch import WINDOW, Again, Batch, Outcome
from ims_gateway_client.errors import GatewayError
from imsgateway.v1.job_pb2 import Job
from imsgateway.v1.job_service_pb2 import (
    SubmitJobRequest,
    SubmitJobsRequest,
    SubmitJobsResponse,
)

Item = Job | SubmitJobRequest


class Feed:
    """Reads an iterable in a thread. Close it; the thread ends with the item that it waits for."""

    def __init__(self, batch: Batch, items: Iterable[Item]) -> None:
        self._batch = batch
        self._items = items
        self._room = Semaphore(WINDOW)
        self._lock = Lock()
        self._outbox: SimpleQueue[SubmitJobsRequest | None] = SimpleQueue()
        self._closed = False
        self._error: BaseException | None = None
        Thread(target=self._run, name="submit-many", daemon=True).start()

    def open(self) -> Iterator[SubmitJobsRequest]:
        """Return the requests of a new stream; those of the one before end."""
        with self._lock:
            self._outbox.put(None)
            outbox: SimpleQueue[SubmitJobsRequest | None] = SimpleQueue()
            self._outbox = outbox
            for request in self._batch.unanswered():
                outbox.put(request)
            self._end()
        return iter(outbox.get, None)

    def settle(self, response: SubmitJobsResponse) -> Outcome | None:
        """Return what came of an item, and let another one follow it; None if it is sent again."""
        with self._lock:
            outcome = self._batch.settle(response)
            self._end()
        if isinstance(outcome, Again):
            timer = Timer(outcome.pause_seconds, self._send, (outcome.request,))
            timer.daemon = True
            timer.start()
            return None
        if outcome is not None:
            self._room.release()
        return outcome

    def give_up(self, error: GatewayError) -> Sequence[Outcome]:
        """Send nothing more, and return what was left without a reply."""
        self.close()
        return self._batch.give_up(error)

    def finish(self) -> None:
        """Raise what the items raised, if they did."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Send nothing more."""
        with self._lock:
            self._closed = True
            self._outbox.put(None)
        self._room.release()

    def _run(self) -> None:
        try:
            for item in self._items:
                self._room.acquire()
                with self._lock:
                    if self._closed:
                        return
                    self._outbox.put(self._batch.add(item))
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            self._error = error
        with self._lock:
            self._batch.exhausted = True
            self._end()

    def _send(self, request: SubmitJobsRequest) -> None:
        with self._lock:
            if self._batch.awaits(request):
                self._outbox.put(request)

    def _end(self) -> None:
        """Close the stream once there is nothing more to send, not even again."""
        if self._batch.ended:
            self._outbox.put(None)


class AsyncFeed:
    """Reads an iterable of either kind in a task. Close it."""

    def __init__(self, batch: Batch, items: Iterable[Item] | AsyncIterable[Item]) -> None:
        self._batch = batch
        self._items = items
        self._room = asyncio.Semaphore(WINDOW)
        self._outbox: asyncio.Queue[SubmitJobsRequest | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._run())

    def open(self) -> AsyncIterator[SubmitJobsRequest]:
        """Return the requests of a new stream; those of the one before end."""
        self._outbox.put_nowait(None)
        self._outbox = asyncio.Queue()
        for request in self._batch.unanswered():
            self._outbox.put_nowait(request)
        self._end()
        return _until_none(self._outbox)

    def settle(self, response: SubmitJobsResponse) -> Outcome | None:
        """Return what came of an item, and let another one follow it; None if it is sent again."""
        outcome = self._batch.settle(response)
        self._end()
        if isinstance(outcome, Again):
            loop = asyncio.get_running_loop()
            loop.call_later(outcome.pause_seconds, self._send, outcome.request)
            return None
        if outcome is not None:
            self._room.release()
        return outcome

    async def give_up(self, error: GatewayError) -> Sequence[Outcome]:
        """Send nothing more, and return what was left without a reply."""
        await self.aclose()
        return self._batch.give_up(error)

    async def finish(self) -> None:
        """Raise what the items raised, if they did."""
        await self._task

    async def aclose(self) -> None:
        """Send nothing more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._outbox.put_nowait(None)

    async def _run(self) -> None:
        try:
            async for item in _each(self._items):
                await self._room.acquire()
                self._outbox.put_nowait(self._batch.add(item))
        finally:
            self._batch.exhausted = True
            self._end()

    def _send(self, request: SubmitJobsRequest) -> None:
        if self._batch.awaits(request):
            self._outbox.put_nowait(request)

    def _end(self) -> None:
        """Close the stream once there is nothing more to send, not even again."""
        if self._batch.ended:
            self._outbox.put_nowait(None)


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def _until_none(
    outbox: "asyncio.Queue[SubmitJobsRequest | None]",
) -> AsyncIterator[SubmitJobsRequest]:
    while (request := await outbox.get()) is not None:
        yield request
