"""After the submit: get, list, watch and cancel a job.

Decides who may see a job and what a watch sends. Another tenant's job is never found. The jobs
themselves are moved on by the tracker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final

from ims_gateway.errors import JobNotFound, JobStateConflict
from ims_gateway.jobs import filters, pages
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.pace import MICROSECONDS
from ims_gateway.jobs.record import Change, JobRecord
from ims_gateway.jobs.states import OPEN, State
from ims_gateway.jobs.watching import Watches
from ims_gateway.policy.authorization import Authorization, denial
from ims_gateway.settlement import read_refusal_of
from ims_gateway.telemetry.call import Call
from ims_gateway.tenancy.tenant import Tenant
from ims_gateway.upstream.errors import UpstreamError
from ims_gateway.upstream.gate import Gate, Gates

DEFAULT_PAGE: Final = 50


class Following:
    """Answers about jobs of a tenant, and cancels them. `clock`: microseconds since the epoch."""

    def __init__(
        self,
        *,
        authorization: Authorization,
        ledger: Ledger,
        gates: Gates,
        watches: Watches,
        clock: Callable[[], int],
        overdue_seconds: float,
    ) -> None:
        self._authorization = authorization
        self._ledger = ledger
        self._gates = gates
        self._watches = watches
        self._clock = clock
        self._overdue = round(overdue_seconds * MICROSECONDS)

    async def get(self, call: Call, tenant: Tenant, name: str) -> JobRecord:
        """Return one job. Raises JobNotFound, PolicyDenied, StoreUnavailable."""
        return await self._visible(call, tenant, name, "get")

    def overdue(self, record: JobRecord) -> bool:
        """Say whether the job is open for longer than any job should be."""
        return record.overdue(self._clock(), self._overdue)

    async def fresh_reply(self, call: Call, record: JobRecord) -> dict[str, object]:
        """Ask the service for a job's present reply, which holds fresh presigned addresses.

        Raises UpstreamThrottled, UpstreamUnreachable, UpstreamUnclear, UpstreamRefused,
        JobStateConflict.
        """
        try:
            return await self._gate(record).query(call, record.upstream_job_id)
        except UpstreamError as error:
            raise read_refusal_of(error) from error

    async def list(
        self, call: Call, tenant: Tenant, *, page_size: int, page_token: str, text: str
    ) -> tuple[Sequence[JobRecord], str]:
        """Return one page of the jobs that fit the filter `text`, and the token of the next page.

        Newest first. Raises InvalidRequest for a filter that makes no sense, or a token of another
        tenant, of another filter or of no list; PolicyDenied, StoreUnavailable.
        """
        wanted = filters.parse(text)
        after = pages.position(page_token, tenant.name, wanted)
        self._authorize(call, tenant, "list")
        page = await self._ledger.page(tenant.name, page_size or DEFAULT_PAGE, after, wanted)
        token = pages.token(tenant.name, wanted, page.end) if page.end is not None else ""
        return page.records, token

    async def watch(self, call: Call, tenant: Tenant, name: str) -> AsyncGenerator[JobRecord, None]:
        """Yield the job as it is, then after every change, until its state is terminal.

        Policy is asked at each change, since it may be another one by then. Raises JobNotFound,
        PolicyDenied, StoreUnavailable.
        """
        record = await self._visible(call, tenant, name, "watch")
        yield record
        async with aclosing(self._watches.changes(record)) as changes:
            async for changed in changes:
                tenant = self._authorization.tenant_of(call, name)
                if tenant.resource != name.rpartition("/jobs/")[0]:
                    raise JobNotFound(name)
                self._authorize(call, tenant, "watch", changed.algorithm)
                yield changed

    async def cancel(self, call: Call, tenant: Tenant, name: str) -> JobRecord:
        """Ask the service to cancel a job, and return it; one that has ended is returned as it is.

        What became of it is found out by the tracker. Raises JobNotFound, PolicyDenied,
        JobStateConflict, and the refusals of an upstream call.
        """
        record = await self._visible(call, tenant, name, "cancel")
        if record.ended or record.state is State.CANCELLING:
            return record
        if record.state not in OPEN:
            raise JobStateConflict(f"a job in state {record.state.name} cannot be cancelled")
        return await asyncio.shield(self._cancel(call, record))

    async def _cancel(self, call: Call, record: JobRecord) -> JobRecord:
        try:
            await self._gate(record).cancel(call, record.upstream_job_id)
        except UpstreamError as error:
            raise read_refusal_of(error) from error
        change = Change(
            State.CANCELLING,
            cause=f"cancelled by {call.caller.name}",
            next_poll_time=self._clock(),
        )
        with call.step("settle"):
            record, _ = await self._ledger.change(record.job_id, change)
        return record

    def _gate(self, record: JobRecord) -> Gate:
        if record.account not in self._gates:
            raise JobStateConflict("the upstream account that took the job is no more")
        return self._gates[record.account]

    async def _visible(self, call: Call, tenant: Tenant, name: str, action: str) -> JobRecord:
        record = await self._find(tenant, name)
        call.job = record.name
        call.algorithm = record.algorithm
        self._authorize(call, tenant, action, record.algorithm)
        return record

    async def _find(self, tenant: Tenant, name: str) -> JobRecord:
        parent, _, job_id = name.rpartition("/jobs/")
        record = await self._ledger.find(tenant.name, job_id)
        if record is None or parent != tenant.resource:
            raise JobNotFound(name)
        return record

    def _authorize(self, call: Call, tenant: Tenant, action: str, algorithm: str = "-") -> None:
        with call.step("authorize"):
            decision = self._authorization.follow(call.caller, tenant, action, algorithm)
            call.decision = decision
            if not decision.allowed:
                raise denial(call.caller, decision)
