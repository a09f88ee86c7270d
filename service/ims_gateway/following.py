"""After the submit: get, list, watch and cancel a job.

Decides who may see a job and what a watch sends. Another tenant's job is never found. The jobs
themselves are moved on by the tracker.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Sequence
from typing import Final

from ims_gateway.errors import InvalidRequest, JobNotFound, JobStateConflict, Violation
from ims_gateway.jobs.ledger import NEWEST, Ledger
from ims_gateway.jobs.record import Change, JobRecord
from ims_gateway.jobs.states import OPEN, State
from ims_gateway.policy.authorization import Authorization, denial
from ims_gateway.settlement import read_refusal_of
from ims_gateway.telemetry.call import Call
from ims_gateway.tenancy.tenant import Tenant
from ims_gateway.upstream.errors import UpstreamError
from ims_gateway.upstream.gate import Gates

DEFAULT_PAGE: Final = 50


class Following:
    """Answers about jobs of a tenant, and cancels them."""

    def __init__(
        self,
        *,
        authorization: Authorization,
        ledger: Ledger,
        gates: Gates,
        watch_seconds: float,
    ) -> None:
        self._authorization = authorization
        self._ledger = ledger
        self._gates = gates
        self._watch_seconds = watch_seconds

    async def get(self, call: Call, tenant: Tenant, name: str) -> JobRecord:
        """Return one job. Raises JobNotFound, PolicyDenied, StoreUnavailable."""
        return await self._visible(call, tenant, name, "get")

    async def fresh_reply(self, call: Call, record: JobRecord) -> dict[str, object]:
        """Ask the service for a job's present reply, which holds fresh presigned addresses.

        Raises UpstreamThrottled, UpstreamUnreachable, UpstreamUnclear, UpstreamRefused.
        """
        try:
            return await self._gates[record.account].query(call, record.upstream_job_id)
        except UpstreamError as error:
            raise read_refusal_of(error) from error

    async def list(
        self, call: Call, tenant: Tenant, page_size: int, page_token: str
    ) -> tuple[Sequence[JobRecord], str]:
        """Return one page of jobs, newest first, and the token of the next page.

        Raises InvalidRequest for a token of another tenant or of no list, PolicyDenied.
        """
        after = _position(page_token, tenant) if page_token else NEWEST
        self._authorize(call, tenant, "list")
        count = page_size or DEFAULT_PAGE
        records = await self._ledger.page(tenant.name, count + 1, after)
        more = len(records) > count
        page = records[:count]
        return page, _token(tenant, page[-1]) if more else ""

    async def watch(self, call: Call, tenant: Tenant, name: str) -> AsyncIterator[JobRecord]:
        """Yield the job as it is, then after every change, until its state is terminal.

        Raises JobNotFound, PolicyDenied, StoreUnavailable.
        """
        record = await self._visible(call, tenant, name, "watch")
        yield record
        while not record.ended:
            await asyncio.sleep(self._watch_seconds)
            latest = await self._find(tenant, name)
            if latest.update_time != record.update_time or latest.state != record.state:
                record = latest
                yield record

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
            await self._gates[record.account].cancel(call, record.upstream_job_id)
        except UpstreamError as error:
            raise read_refusal_of(error) from error
        change = Change(
            State.CANCELLING, cause=f"cancelled by {call.caller.name}", next_poll_time=0
        )
        with call.step("settle"):
            record, _ = await self._ledger.change(record.job_id, change)
        return record

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
                raise denial(call.caller, decision, call.id)


def _token(tenant: Tenant, record: JobRecord) -> str:
    position = json.dumps([tenant.name, record.create_time, record.job_id])
    return base64.urlsafe_b64encode(position.encode()).decode()


def _position(token: str, tenant: Tenant) -> tuple[int, str]:
    """Return where the page of the token begins. A forged one finds the tenant's own jobs only."""
    try:
        owner, create_time, job_id = json.loads(base64.urlsafe_b64decode(token))
        if owner == tenant.name:
            return int(create_time), str(job_id)
    except (binascii.Error, UnicodeDecodeError, ValueError, TypeError):
        pass
    fault = Violation("page_token", "page_token", "is not a next_page_token of this list")
    raise InvalidRequest((fault,))
