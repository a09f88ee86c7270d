"""Answers a repeated call with the job that its request id already has.

Decides when a job that another call is submitting can be told of. What it never does: send, or
charge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from ims_gateway import errors
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.record import Intent, JobRecord
from ims_gateway.jobs.states import State
from ims_gateway.settlement import Outcome
from ims_gateway.telemetry import propagation
from ims_gateway.telemetry.call import Call
from ims_gateway.telemetry.measures import SubmitMeasures

# How often a job is looked at that another process is submitting.
INTERVAL_SECONDS: Final = 0.1


class Recalling:
    """Recalls jobs. `in_flight` has the submits of this process that are not settled, by job id."""

    def __init__(
        self,
        ledger: Ledger,
        measures: SubmitMeasures,
        in_flight: Mapping[str, asyncio.Task[JobRecord]],
        timeout_seconds: float,
    ) -> None:
        self._ledger = ledger
        self._measures = measures
        self._in_flight = in_flight
        self._timeout_seconds = timeout_seconds

    async def recall_or_refuse(
        self, call: Call, intent: Intent, refusal: errors.Refusal
    ) -> JobRecord:
        """Return the job of an earlier call, whatever stands against a new one.

        Raises the refusal where there is none, RequestIdReused, and as `attach` does.
        """
        with call.step("recall"):
            known = await self._ledger.recall(intent.tenant, intent.request_id, intent.body_hash)
        if known is None:
            raise refusal
        return await self.attach(call, known)

    async def attach(self, call: Call, record: JobRecord) -> JobRecord:
        """Return the job as soon as its submit is settled.

        Raises UpstreamBusy where that lasts longer than the caller waits, or where it was turned
        away, and SubmitOutcomeUnknown.
        """
        call.job = record.name
        call.recalled = True
        self._measures.settled(record, Outcome.RECALLED)
        with call.step("attach") as span:
            span.cause = propagation.read(record.traceparent)
            while record.state is State.SUBMITTING:
                if ours := self._in_flight.get(record.job_id):
                    return await asyncio.shield(ours)
                if call.seconds_left(self._timeout_seconds) <= 0:
                    raise errors.UpstreamBusy("the job's first submit is not settled yet")
                await asyncio.sleep(INTERVAL_SECONDS)
                record = await self._ledger.find(record.tenant, record.job_id) or record
        if record.state is State.SUBMIT_UNKNOWN:
            raise errors.SubmitOutcomeUnknown(record.name)
        if record.state is State.REJECTED:
            raise errors.UpstreamBusy("the job's first submit was turned away; submit it again")
        return record
