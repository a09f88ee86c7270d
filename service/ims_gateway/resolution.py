"""Settles jobs of which nobody knew whether the service took them: what an operator found out.

Decides what an operator's word is checked against: an upstream job must be this job and nobody
else's, and "never created" must be said late enough. What it never does: send a job again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from ims_gateway.algorithms.translation import submit_parameters
from ims_gateway.errors import (
    JobNotFound,
    JobStateConflict,
    ResolutionMismatch,
    ResolutionTooEarly,
)
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.record import Change, JobRecord
from ims_gateway.jobs.states import State
from ims_gateway.settlement import holds_in, read_refusal_of
from ims_gateway.telemetry.call import Call
from ims_gateway.upstream.errors import UpstreamError
from ims_gateway.upstream.gate import Gates
from imsgateway.v1 import job_pb2

MICROSECONDS: Final = 1_000_000
# How long the service accepts a call that was signed (wire facts).
SIGNATURE_SECONDS: Final = 15 * 60
TEXTS: Final = ("Name", "FunctionName", "UserData")
DOCUMENTS: Final = ("Input", "Output")


class Resolution:
    """Resolves jobs in SUBMIT_UNKNOWN.

    `clock` gives microseconds since the epoch; `timeout_seconds` is how long a submit may take.
    """

    def __init__(
        self, ledger: Ledger, gates: Gates, clock: Callable[[], int], timeout_seconds: float
    ) -> None:
        self._ledger = ledger
        self._gates = gates
        self._clock = clock
        self._timeout_seconds = timeout_seconds

    async def adopt(self, call: Call, name: str, upstream_job_id: str) -> JobRecord:
        """Take the upstream job for this one, if the service describes it as what was submitted.

        The job is followed from then on, and its quota is spent. Raises JobNotFound,
        JobStateConflict, ResolutionMismatch, StoreUnavailable, and the refusals of a query.
        """
        record = await self._unknown(call, name)
        reply = await self._query(call, record, upstream_job_id)
        with call.step("verify"):
            if differing := differences(record, reply):
                raise ResolutionMismatch(differing)
        change = Change(
            State.QUEUED,
            cause=f"resolved by {call.caller.name}: an upstream job that was verified",
            upstream_job_id=upstream_job_id,
            next_poll_time=self._clock(),
        )
        return await self._settle(call, record, change)

    async def reject(self, call: Call, name: str) -> JobRecord:
        """Take it that the job was never created, and return its quota.

        Raises JobNotFound, JobStateConflict, ResolutionTooEarly, StoreUnavailable.
        """
        record = await self._unknown(call, name)
        self._refuse_early(record)
        change = Change(
            State.REJECTED,
            cause=f"resolved by {call.caller.name}: never created",
            failure_code="NEVER_CREATED",
            failure_message="an operator found that the service never took the job",
        )
        return await self._settle(call, record, change)

    async def _unknown(self, call: Call, name: str) -> JobRecord:
        parent, _, job_id = name.rpartition("/jobs/")
        record = await self._ledger.find(parent.removeprefix("tenants/"), job_id)
        if record is None:
            raise JobNotFound(name)
        call.job = record.name
        call.algorithm = record.algorithm
        if record.state is not State.SUBMIT_UNKNOWN:
            raise _conflict(record)
        return record

    def _refuse_early(self, record: JobRecord) -> None:
        """Refuse while the submit could still arrive.

        Nothing is signed for a job once it is SUBMIT_UNKNOWN. What was signed before is accepted
        for as long as a signature counts; the timeout on top is for clocks that differ and for a
        call that is still under way.
        """
        age = (self._clock() - record.update_time) / MICROSECONDS
        left = SIGNATURE_SECONDS + self._timeout_seconds - age
        if left > 0:
            raise ResolutionTooEarly(left)

    async def _query(
        self, call: Call, record: JobRecord, upstream_job_id: str
    ) -> Mapping[str, Any]:
        if record.account not in self._gates:
            raise JobStateConflict(f"the job's account, {record.account}, is not configured")
        try:
            return await self._gates[record.account].query(call, upstream_job_id)
        except UpstreamError as error:
            raise read_refusal_of(error) from error

    async def _settle(self, call: Call, record: JobRecord, change: Change) -> JobRecord:
        with call.step("settle"):
            record, changed = await self._ledger.resolve(record, change)
        if not changed:
            raise _conflict(record)
        call.quota = holds_in(record.state)
        return record


def differences(record: JobRecord, reply: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the members in which the service's reply is not what was submitted for the job."""
    sent = submit_parameters(job_pb2.Job.FromString(record.spec))
    texts = [name for name in TEXTS if (reply.get(name) or "") != sent.get(name, "")]
    documents = [
        name
        for name in DOCUMENTS
        if _document(reply.get(name), sent[name]) != json.loads(sent[name])
    ]
    return (*texts, *documents)


def _document(said: object, sent: str) -> object:
    """Return a member of the reply, decoded, without the id that a new media asset has got."""
    try:
        document = json.loads(said) if isinstance(said, str) else said
    except (ValueError, RecursionError):
        return said
    if not isinstance(document, dict):
        return document
    asked = json.loads(sent)
    new_asset = asked["Type"] == "Media" and not asked.get("Media")
    return {
        name: value
        for name, value in document.items()
        if value not in ("", None) and not (new_asset and name == "Media")
    }


def _conflict(record: JobRecord) -> JobStateConflict:
    return JobStateConflict(f"the job is in state {record.state.name}, not SUBMIT_UNKNOWN")
