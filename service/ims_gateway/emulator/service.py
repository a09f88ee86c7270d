"""The service behind the listeners: verifies a call, carries it out, counts what became of it.

Decides every answer that needs no waiting; each call is one step that nothing interrupts,
which is what makes the counts exact. Knows nothing of HTTP connections.
"""

from collections.abc import Callable, Mapping

from ims_gateway.emulator.call import CANCEL, QUERY, SUBMIT, Call
from ims_gateway.emulator.counts import Counts
from ims_gateway.emulator.envelope import Refusal, Reply, refused, success
from ims_gateway.emulator.faults import COURSES, FaultKind, FaultPlan, Faults
from ims_gateway.emulator.jobs import Job, Jobs
from ims_gateway.emulator.parameters import check_submit, read_job_id
from ims_gateway.emulator.results import describe
from ims_gateway.emulator.settings import EmulatorSettings
from ims_gateway.emulator.signature import Caller, Verifier
from ims_gateway.emulator.spoiled import spoil

_VERSION = "2020-11-09"


class Service:
    """One region's endpoint and all that it remembers."""

    def __init__(self, settings: EmulatorSettings) -> None:
        self.counts = Counts()
        self.faults = Faults()
        self.jobs = Jobs(
            run_seconds=settings.job_seconds, cancelled_status=settings.cancelled_status
        )
        self._region = settings.region
        self._clock = settings.clock
        self._verifier = Verifier(
            settings.access_keys,
            window_seconds=settings.nonce_window_seconds,
            clock=settings.clock,
        )
        self._operations: Mapping[str, Callable[[Call, Caller, FaultPlan | None], Reply]] = {
            SUBMIT: self._submit,
            QUERY: self._query,
            CANCEL: self._cancel,
        }

    def answer(self, call: Call, plan: FaultPlan | None) -> Reply:
        """Verify a call and carry it out, with those faults of the plan that need no waiting."""
        counts = self.counts.of(call.action)
        try:
            operation = self._find_operation(call)
            caller = self._verifier.verify(call)
            counts.verified += 1
            spoiled = spoil(plan) if plan else None
            if spoiled is not None:
                return spoiled
            reply = operation(call, caller, plan)
        except Refusal as refusal:
            return self.refuse(call.action, call.host, refusal)
        counts.accepted += 1
        return reply

    def refuse(self, action: str, host: str, refusal: Refusal) -> Reply:
        """Count a refusal and return its envelope."""
        self.counts.of(action).refused[refusal.code] += 1
        return refused(refusal, host)

    def describe(self, job: Job) -> Mapping[str, object]:
        """Return what a query would say of a job, without the RequestId."""
        return describe(job, self._region, self._clock())

    def status(self, job: Job) -> str:
        """Return the status that a query would say."""
        return job.status(self._clock())

    def reset(self) -> None:
        """Forget jobs, counts, nonces and plans."""
        self.counts.clear()
        self.faults.clear()
        self.jobs.clear()
        self._verifier.forget_nonces()

    def _find_operation(self, call: Call) -> Callable[[Call, Caller, FaultPlan | None], Reply]:
        operation = self._operations.get(call.action)
        known = operation and call.headers.get("x-acs-version") == _VERSION
        if operation is None or not known or (call.method, call.path) != ("POST", "/"):
            raise Refusal("InvalidApi.NotFound", "The API is not found.")
        return operation

    def _submit(self, call: Call, caller: Caller, plan: FaultPlan | None) -> Reply:
        check_submit(call.parameters, self._region)
        course = plan.fault if plan and plan.fault in COURSES else None
        job = self.jobs.accept(caller, call.parameters, self._clock(), course)
        if plan and plan.fault is FaultKind.ACCEPTED_NO_JOB_ID:
            return success({})
        return success({"JobId": job.job_id})

    def _query(self, call: Call, caller: Caller, plan: FaultPlan | None) -> Reply:
        members = dict(self.describe(self._find_job(call, caller)))
        if plan and plan.fault is FaultKind.ACCEPTED_NO_JOB_ID:
            del members["JobId"]
        return success(members)

    def _cancel(self, call: Call, caller: Caller, _: FaultPlan | None) -> Reply:
        # What the upstream says of a job that is over is unverified; here nothing happens.
        self.jobs.cancel(self._find_job(call, caller), self._clock())
        return success({"Message": "success"})

    def _find_job(self, call: Call, caller: Caller) -> Job:
        job = self.jobs.find(read_job_id(call.parameters), caller.account_id)
        if job is None:
            raise Refusal("InvalidParameter.JobNotFound", "The job is not found.")
        return job
