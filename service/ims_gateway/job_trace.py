"""What happened to one job: its submit's decision record, and its course in the ledger.

Decides what its owner is told of it. What it never does: tell more than its owner was told by other
calls. An operator's name and the words about hosts and networks stay with the operators.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ims_gateway.following import Following
from ims_gateway.jobs.course import Course, Transition
from ims_gateway.jobs.decisions import NEWEST, Wanted
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.pace import MICROSECONDS
from ims_gateway.jobs.record import JobRecord
from ims_gateway.telemetry.call import Call
from ims_gateway.tenancy.tenant import Tenant

# Causes that are for everybody, whole or by how they begin. Any other, such as the class of an
# error on the network, is for operators; the job's failure tells its owner what there is to tell.
TOLD: Final = frozenset(
    {
        "submit",
        "accepted",
        "never sent",
        "interrupted",
        "admitted too late",
        "lease lapsed",
        "lease lapsed, never sent",
        "the service says so",
        "unknown to the service",
    }
)
BY_A_CALLER: Final = "cancelled by "
BY_AN_OPERATOR: Final = "resolved by "
# A record comes to the ledger a second after its call; one that is not there by then is gone.
LATE: Final = 10 * MICROSECONDS


@dataclass(frozen=True, slots=True)
class JobTrace:
    """A job with its course, and the decision record of its submit where there is one.

    `time` is when all of it was so, in microseconds since the epoch.
    """

    job: JobRecord
    course: Course
    record: Mapping[str, Any] | None
    time: int


class JobTraces:
    """Finds what is known of jobs. `clock` gives microseconds since the epoch.

    `flush` brings the records of calls that have just ended to the ledger.
    """

    def __init__(
        self,
        following: Following,
        ledger: Ledger,
        flush: Callable[[], Awaitable[object]],
        clock: Callable[[], int],
    ) -> None:
        self._following = following
        self._ledger = ledger
        self._flush = flush
        self._clock = clock

    async def get(self, call: Call, tenant: Tenant, name: str) -> JobTrace:
        """Return what happened to a job. Raises JobNotFound, PolicyDenied, StoreUnavailable."""
        job = await self._following.get(call, tenant, name)
        with call.step("trace"):
            record = await self._record(job)
            if record is None and self._clock() - job.update_time < LATE:
                # Who has just submitted need not wait until the record is written by itself.
                await self._flush()
                record = await self._record(job)
            course = await self._ledger.course(job.job_id)
        told = [_told(transition) for transition in course.transitions]
        return JobTrace(job, replace(course, transitions=told), record, self._clock())

    async def _record(self, job: JobRecord) -> Mapping[str, Any] | None:
        page = await self._ledger.decisions(Wanted(decision_id=job.decision_id), NEWEST, 1)
        records: Sequence[Mapping[str, Any]] = [json.loads(text) for text in page.records]
        return next((record for record in records if record.get("job") == job.name), None)


def _told(transition: Transition) -> Transition:
    """Return a transition with what its job's owner is told of the cause."""
    cause = transition.cause
    if cause in TOLD or cause.startswith(BY_A_CALLER):
        return transition
    operator = cause.startswith(BY_AN_OPERATOR)
    return replace(transition, cause="resolved by an operator" if operator else "")
