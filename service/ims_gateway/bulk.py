"""Many submits over one stream: how many of them at once, and what is said of each.

Every item goes the whole way of `submission` by itself, with a decision and a record of its own; a
refused item ends neither the stream nor another item. A place is an item's from before it is read
until its reply has been taken, so what a stream holds in memory is bounded however slowly its
caller reads. What it never does: read ahead, or decide about a job.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from ims_gateway.errors import GatewayBusy, Refusal
from ims_gateway.jobs.record import JobRecord
from ims_gateway.policy.authorization import Authorization, denial
from ims_gateway.submission import Submission
from ims_gateway.telemetry.call import Call, current
from ims_gateway.telemetry.calls import Calls
from imsgateway.v1 import job_pb2, job_service_pb2

# As many calls as an account makes at once by default: one stream can keep it busy, and more items
# would wait here for their turn with nothing gained.
AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True)
class Item:
    """The caller's number, and the request; or why the item's bytes are none."""

    index: int
    request: job_service_pb2.SubmitJobRequest | Refusal


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an item: its job (with validate_only the job that it would be) or a refusal."""

    index: int
    call_id: str
    result: JobRecord | job_pb2.Job | Refusal


class Bulk:
    """Submits the items of streams."""

    def __init__(self, submission: Submission, authorization: Authorization, calls: Calls) -> None:
        self._submission = submission
        self._authorization = authorization
        self._calls = calls
        self._readers: set[asyncio.Task[None]] = set()

    async def submit(self, call: Call, items: AsyncIterator[Item]) -> AsyncGenerator[Outcome, None]:
        """Yield the outcome of every item, as they come.

        When `items` ends or raises, what is under way is finished first. A generator that is closed
        before (the caller hung up) drops it; a submit that was admitted is settled all the same.
        Raises what `items` raises, and GatewayBusy when the gateway shuts down.
        """
        window = _Window(lambda item: self._answer(call, item))
        reader = asyncio.create_task(window.fill(items))
        reader.add_done_callback(lambda _: window.end())
        self._readers.add(reader)
        try:
            while (outcome := await window.outcomes.get()) is not None:
                yield outcome
                window.release()
        finally:
            self._readers.discard(reader)
            await window.drop(reader)
        if reader.cancelled():
            raise GatewayBusy("the gateway shuts down: send anew what got no reply")
        reader.result()

    def drain(self) -> None:
        """Read nothing further from any stream; each ends when what is under way has ended."""
        while self._readers:
            self._readers.pop().cancel()

    async def _answer(self, stream: Call, item: Item) -> Outcome:
        call = self._calls.open_item(stream, item.index)
        # Of this item's task only: its log lines are about the item.
        current.set(call)
        try:
            result = await self._submit(call, item.request)
        except asyncio.CancelledError:
            self._calls.abandon(call)
            raise
        except Exception as error:  # noqa: BLE001 - an item's end is not the stream's
            refusal = self._calls.refuse(call, error)
            # Only now: a refusal of a flood has the id of the record that it was counted into.
            return Outcome(item.index, call.id, refusal)
        self._calls.close(call)
        return Outcome(item.index, call.id, result)

    async def _submit(
        self, call: Call, request: job_service_pb2.SubmitJobRequest | Refusal
    ) -> JobRecord | job_pb2.Job:
        if isinstance(request, Refusal):
            raise request
        tenant = self._authorization.tenant(call, request.parent)
        if not request.validate_only:
            return await self._submission.submit(call, tenant, request)
        preview = await self._submission.preview(call, tenant, request)
        # A reply has no room for a decision. Limits are not answered for: every item by itself
        # would fit.
        if call.decision is not None and not call.decision.allowed:
            raise denial(call.caller, call.decision)
        return preview.job


class _Window:
    """The items of one stream that have a place, and the outcomes that were not taken yet."""

    def __init__(self, work: Callable[[Item], Awaitable[Outcome]]) -> None:
        self._work = work
        self._places = asyncio.Semaphore(AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()
        # Bounded by the places.
        self.outcomes: asyncio.Queue[Outcome | None] = asyncio.Queue()

    async def fill(self, items: AsyncIterator[Item]) -> None:
        """Take an item whenever there is a place for it. Returns when the last one has ended."""
        try:
            await self._places.acquire()
            async for item in items:
                task = asyncio.create_task(self._run(item))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
                await self._places.acquire()
        finally:
            if self._running:
                await asyncio.wait(self._running)

    def release(self) -> None:
        """Give the place of an outcome that was taken to another item."""
        self._places.release()

    def end(self) -> None:
        """Let no more outcomes be waited for."""
        self.outcomes.put_nowait(None)

    async def drop(self, reader: asyncio.Task[None]) -> None:
        """Cancel what still runs, and return when nothing does."""
        tasks = (reader, *self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, item: Item) -> None:
        self.outcomes.put_nowait(await self._work(item))
