"""What the ledger keeps of a job. All times are microseconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass

from ims_gateway.jobs.states import OPEN, TERMINAL, State
from ims_gateway.quota.charges import LimitState
from ims_gateway.quota.limits import Demand


@dataclass(frozen=True, slots=True)
class Intent:
    """The wish to submit one job, before anything is sent.

    `spec` is the serialized Job of the request, `body_hash` what a repeated request must equal.
    After `lease_until` the process that made the intent counts as dead. From `dispatch_time` on the
    call may have gone out; None where it has to wait for a place first. `cost` is what the job
    is taken to cost, in micro-units of the price list's currency.
    """

    job_id: str
    tenant: str
    request_id: str
    body_hash: bytes
    principal: str
    algorithm: str
    account: str
    spec: bytes
    create_time: int
    lease_until: int
    dispatch_time: int | None
    decision_id: str
    traceparent: str
    labels: tuple[tuple[str, str], ...] = ()
    cost: int = 0

    @property
    def demand(self) -> Demand:
        """What the job asks of its tenant's limits."""
        name = self.principal.partition("/")[2]
        return Demand(self.tenant, name, self.algorithm, self.cost)


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One row of the ledger. `reply` is the storable JSON of the service's last query reply."""

    job_id: str
    tenant: str
    request_id: str
    body_hash: bytes
    principal: str
    algorithm: str
    account: str
    spec: bytes
    state: State
    create_time: int
    update_time: int
    end_time: int | None
    upstream_job_id: str
    upstream_request_id: str
    failure_code: str
    failure_message: str
    reply: str
    decision_id: str
    traceparent: str
    # When it was first seen to be open for too long.
    overdue_time: int | None = None

    @property
    def name(self) -> str:
        """The job's resource name."""
        return f"tenants/{self.tenant}/jobs/{self.job_id}"

    @property
    def trace_id(self) -> str:
        """Id of the trace of its submit (W3C Trace Context); empty where there is none."""
        return self.traceparent.partition("-")[2].partition("-")[0]

    @property
    def ended(self) -> bool:
        """Whether the state is terminal."""
        return self.state in TERMINAL

    def overdue(self, now: int, limit: int) -> bool:
        """Say whether the service has had the job for longer than `limit` and not ended it."""
        return self.state in OPEN and now - self.create_time > limit


@dataclass(frozen=True, slots=True)
class Change:
    """A change of state, why it came about, and what it adds to the record; None keeps a value."""

    state: State
    cause: str
    upstream_job_id: str | None = None
    upstream_request_id: str | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    reply: str | None = None
    next_poll_time: int | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """What came of an intent: its record, and whether it is new or was there before."""

    record: JobRecord
    recalled: bool
    limits: tuple[LimitState, ...] = ()
