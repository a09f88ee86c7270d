"""The jobs that were accepted, and how far each one is.

Decides a job's status from its age alone, so nothing runs in the background and a test
moves time by moving the clock. Never forgets a job: what is counted here was submitted.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ims_gateway.emulator.faults import FaultKind
from ims_gateway.emulator.parameters import decode
from ims_gateway.emulator.signature import Caller

QUEUING, ANALYZING, SUCCESS, FAIL = "Queuing", "Analyzing", "Success", "Fail"

# The first quarter of a job's time is spent in the queue.
_QUEUE_SHARE = 0.25
_RUNNING_SPELLINGS: Mapping[FaultKind | None, str] = {
    FaultKind.UNKNOWN_STATUS: "Processing",
    FaultKind.ANALYSING_SPELLING: "Analysing",
}


@dataclass(frozen=True, slots=True)
class Job:
    """One accepted submit.

    parameters: decoded query, each value the string that was received. accepted_at,
    cancelled_at: seconds since the epoch. course: how the job is told to go, if not well.
    """

    job_id: str
    caller: Caller
    parameters: Mapping[str, str]
    accepted_at: float
    run_seconds: float
    course: FaultKind | None = None
    cancelled_at: float | None = None
    cancelled_status: str = FAIL

    @property
    def decoded(self) -> dict[str, Any]:
        """The parameters, with the JSON in them decoded."""
        return decode(self.parameters)

    def status(self, now: float) -> str:
        """Return the status that a query at this time is told."""
        age = now - self.accepted_at
        if self.cancelled_at is not None:
            return self.cancelled_status
        if age < self.run_seconds * _QUEUE_SHARE:
            return QUEUING
        if age < self.run_seconds or self.course is FaultKind.NEVER_FINISH:
            return _RUNNING_SPELLINGS.get(self.course, ANALYZING)
        return FAIL if self.course is FaultKind.FAIL else SUCCESS

    def finished_at(self, now: float) -> float | None:
        """Return when the job came to its end, or None while it has not."""
        if self.cancelled_at is not None:
            return self.cancelled_at
        ended = self.status(now) in (SUCCESS, FAIL)
        return self.accepted_at + self.run_seconds if ended else None


class Jobs:
    """Every job of this emulator, in the order of acceptance."""

    def __init__(self, *, run_seconds: float, cancelled_status: str) -> None:
        self._run_seconds = run_seconds
        self._cancelled_status = cancelled_status
        self._jobs: dict[str, Job] = {}

    def all(self) -> tuple[Job, ...]:
        """Return every job, oldest first."""
        return tuple(self._jobs.values())

    def accept(
        self,
        caller: Caller,
        parameters: Mapping[str, str],
        now: float,
        course: FaultKind | None,
    ) -> Job:
        """Take a job on."""
        job = Job(
            secrets.token_hex(16),
            caller,
            parameters,
            now,
            self._run_seconds,
            course,
            cancelled_status=self._cancelled_status,
        )
        self._jobs[job.job_id] = job
        return job

    def find(self, job_id: str, account_id: str) -> Job | None:
        """Return a job of this account."""
        job = self._jobs.get(job_id)
        return job if job and job.caller.account_id == account_id else None

    def cancel(self, job: Job, now: float) -> None:
        """Cancel a job, unless it has come to an end."""
        if job.finished_at(now) is None:
            self._jobs[job.job_id] = replace(job, cancelled_at=now)

    def clear(self) -> None:
        """Forget every job."""
        self._jobs.clear()
