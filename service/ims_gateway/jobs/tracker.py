"""Follows jobs to their end: asks the service about every open job, and records what it says.

A job is claimed before it is asked about, so that several processes on one ledger do not ask twice.
It also closes intents whose process died. What it never does: submit.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import Final

import structlog

from ims_gateway.algorithms.results import Progress, progress, storable
from ims_gateway.errors import StoreUnavailable
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.record import Change, JobRecord
from ims_gateway.jobs.states import State
from ims_gateway.upstream.errors import JOB_NOT_FOUND, Refused, UpstreamError
from ims_gateway.upstream.gate import Gates

MICROSECONDS: Final = 1_000_000
AT_ONCE: Final = 32
CLAIM_SECONDS: Final = 60
# An old job is asked about less often: after a tenth of its age, but at least once a minute.
SHARE_OF_AGE: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 60.0

log = structlog.get_logger()


class Tracker:
    """Polls the open jobs of a ledger. `clock` gives microseconds since the epoch."""

    def __init__(
        self, ledger: Ledger, gates: Gates, clock: Callable[[], int], interval_seconds: float
    ) -> None:
        self._ledger = ledger
        self._gates = gates
        self._clock = clock
        self._interval_seconds = interval_seconds

    async def run(self) -> None:
        """Poll until cancelled. A ledger that cannot be read is tried again."""
        while True:
            try:
                busy = await self.poll_due()
            except StoreUnavailable as error:
                log.warning("tracker waits for the ledger", error=error.message)
                busy = False
            await asyncio.sleep(0 if busy else self._interval_seconds / 4)

    async def poll_due(self) -> bool:
        """Ask about jobs that are due, once each; say whether more may be due already."""
        for record in await self._ledger.close_lapsed(AT_ONCE):
            log.warning("outcome unknown: its process is gone", job=record.name)
        due = await self._ledger.claim_due(AT_ONCE, CLAIM_SECONDS * MICROSECONDS)
        await asyncio.gather(*(self._poll(record) for record in due))
        return len(due) == AT_ONCE

    async def _poll(self, record: JobRecord) -> None:
        if record.account not in self._gates:
            # Not asked again until the claim ends. The other jobs go on.
            log.error("job of an account that is no more", job=record.name, account=record.account)
            return
        try:
            reply = await self._gates[record.account].client.query(record.upstream_job_id)
        except UpstreamError as error:
            await self._unanswered(record, error)
            return
        await self._advance(record, progress(reply), json.dumps(storable(reply)))

    async def _advance(self, record: JobRecord, said: Progress, reply: str) -> None:
        state = _state(record, State(said.state))
        if state is record.state:
            await self._ledger.poll_at(record.job_id, self._next_poll(record))
            return
        change = Change(
            state,
            cause="the service says so",
            failure_code=said.failure.code if said.failure else None,
            failure_message=said.failure.message if said.failure else None,
            reply=reply,
            next_poll_time=self._next_poll(record),
        )
        await self._ledger.change(record.job_id, change)

    async def _unanswered(self, record: JobRecord, error: UpstreamError) -> None:
        if isinstance(error, Refused) and error.code == JOB_NOT_FOUND:
            gone = State.CANCELLED if record.state is State.CANCELLING else State.FAILED
            change = Change(
                gone, cause="unknown to the service", failure_code=JOB_NOT_FOUND, failure_message=""
            )
            await self._ledger.change(record.job_id, change)
            return
        log.warning("query failed", job=record.name, error=str(error))
        await self._ledger.poll_at(record.job_id, self._next_poll(record))

    def _next_poll(self, record: JobRecord) -> int:
        now = self._clock()
        age_seconds = (now - record.create_time) / MICROSECONDS
        pause = min(LONGEST_PAUSE_SECONDS, max(self._interval_seconds, age_seconds * SHARE_OF_AGE))
        jitter = random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, protects nothing
        return now + round(pause * jitter * MICROSECONDS)


def _state(record: JobRecord, said: State) -> State:
    """Return the state that follows from what the service says.

    The status after a cancellation is not documented; whatever ends such a job without success is
    taken for its cancellation.
    """
    if record.state is State.CANCELLING:
        if said is State.FAILED:
            return State.CANCELLED
        return said if said is State.SUCCEEDED else State.CANCELLING
    if record.state is State.RUNNING and said is State.QUEUED:
        return State.RUNNING
    return said
