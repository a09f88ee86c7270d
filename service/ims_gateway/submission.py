"""The way of a request, top to bottom: read this first.

    authenticate   in `api/interceptors.py`, the only step that is not here
    validate       the contract's rules and the tenant's region; wrong input costs nothing
    authorize      casbin, for every object that the job reads or writes
    admit          recall by request id, every limit, and the intent: one transaction
    wait           in turn, for a place among the account's calls, where none was free
    translate      into the parameters of SubmitIProductionJob
    send           signed, once
    settle         accepted, rejected (quota returned) or unknown (quota held): one transaction

Recall stands in the transaction of `admit`, and apart from it only where the answer is no before:
where policy says so, or a wait would be in vain. A repeated call gets its job although the grant or
the quota is gone by now. From `admit` to `settle` a submit runs in a task of its own, since a
caller's deadline or hang-up cancels the gRPC handler wherever it stands, and a paid call must be
settled all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Final

from ims_gateway import errors, settlement
from ims_gateway.algorithms.translation import submit_parameters, with_default_output
from ims_gateway.identity.principal import Principal
from ims_gateway.intents import intent_of
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.record import Change, Intent, JobRecord
from ims_gateway.jobs.spec import spec_of
from ims_gateway.policy.authorization import Authorization, denial
from ims_gateway.policy.decision import Decision
from ims_gateway.preview import decision_message, quota_effect, upstream_request
from ims_gateway.quota.limits import Demand
from ims_gateway.quota.prices import PriceList
from ims_gateway.quoting import demand_of, missing_duration
from ims_gateway.recalling import Recalling
from ims_gateway.settlement import Outcome
from ims_gateway.settling import Settling
from ims_gateway.telemetry import conventions
from ims_gateway.telemetry.call import Call
from ims_gateway.telemetry.limits import report
from ims_gateway.telemetry.measures import SubmitMeasures
from ims_gateway.tenancy.tenant import Tenant
from ims_gateway.upstream.errors import UpstreamError
from ims_gateway.upstream.gate import Gate, Gates
from ims_gateway.upstream.slots import Place
from ims_gateway.upstream.turns import Standing
from ims_gateway.validation import Validation
from imsgateway.v1 import access_service_pb2, decision_pb2, job_pb2, job_service_pb2

MICROSECONDS: Final = 1_000_000
# What an answer needs at the least: with less time left nothing is sent.
SHORTEST_CALL_SECONDS: Final = 0.05
# An intent older than its call can last belongs to a process that is gone.
LEASE_MARGIN_SECONDS: Final = 10.0

# The service's own priority of a job that names none is not documented: the middle.
USUAL_PRIORITY: Final = 5

RequestWithJob = job_service_pb2.SubmitJobRequest | access_service_pb2.ExplainAccessRequest
Decide = Callable[[Principal, Tenant, job_pb2.Job], Decision]


class Submission:
    """Submits jobs. `clock` gives microseconds since the epoch, `prices` the list in force."""

    def __init__(
        self,
        *,
        validation: Validation,
        authorization: Authorization,
        ledger: Ledger,
        gates: Gates,
        prices: Callable[[], PriceList],
        clock: Callable[[], int],
        timeout_seconds: float,
        poll_seconds: float,
        measures: SubmitMeasures,
    ) -> None:
        self._measures = measures
        self._validation = validation
        self._authorization = authorization
        self._ledger = ledger
        self._gates = gates
        self._prices = prices
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._poll_seconds = poll_seconds
        self._settling = Settling(ledger, measures, prices)
        self._in_flight: dict[str, asyncio.Task[JobRecord]] = {}
        self._recalling = Recalling(ledger, measures, self._in_flight, timeout_seconds)

    async def submit(
        self, call: Call, tenant: Tenant, request: job_service_pb2.SubmitJobRequest
    ) -> JobRecord:
        """Take one job from its caller's wish to the service's answer.

        Returns the job's record, made now or by an earlier call with the same request id. Raises
        one of the refusals of `errors`.
        """
        spec = self._validate(call, tenant, request)
        decision = self._authorize(call, tenant, spec, self._authorization.submit)
        intent = self._intent(call, tenant, request, spec)
        if not decision.allowed:
            return await self._recalling.recall_or_refuse(
                call, intent, denial(call.caller, decision)
            )
        task = asyncio.create_task(self._admit_and_send(call, tenant, intent, spec))
        self._in_flight[intent.job_id] = task
        task.add_done_callback(lambda done: self._forget(intent.job_id, done))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            call.abandoned = True
            raise

    async def preview(
        self, call: Call, tenant: Tenant, request: job_service_pb2.SubmitJobRequest
    ) -> job_service_pb2.SubmitJobResponse:
        """Answer what a submit would do: decision, quota effect, upstream request.

        Changes nothing. Raises InvalidRequest, StoreUnavailable.
        """
        spec = self._validate(call, tenant, request)
        decision = self._authorize(call, tenant, spec, self._authorization.explain)
        demand = self._demand(call, tenant, spec)
        limits = await self._ledger.preview(demand, tenant.limits)
        account = self._gates[tenant.account].account
        return job_service_pb2.SubmitJobResponse(
            job=spec,
            decision=decision_message(decision, call.id),
            quota=quota_effect(limits),
            upstream_request=upstream_request(account, submit_parameters(spec)),
        )

    def explain(
        self, call: Call, tenant: Tenant, request: access_service_pb2.ExplainAccessRequest
    ) -> decision_pb2.Decision:
        """Answer what the policy says about a job. Raises InvalidRequest."""
        spec = self._validate(call, tenant, request)
        decision = self._authorize(call, tenant, spec, self._authorization.explain)
        return decision_message(decision, call.id)

    async def drain(self) -> None:
        """Wait until every submit that was admitted is settled."""
        while self._in_flight:
            await asyncio.wait(list(self._in_flight.values()))

    def _validate(self, call: Call, tenant: Tenant, request: RequestWithJob) -> job_pb2.Job:
        """Return the job as it will be sent: its output filled in, output-only fields left out."""
        call.algorithm = request.job.WhichOneof("algorithm") or ""
        with call.step("validate"):
            spec = spec_of(request.job)
            if tenant.default_output and call.algorithm:
                spec = with_default_output(spec, tenant.default_output)
            self._validation.check_job(request, spec, tenant)
            # Afterwards: only of a job by the contract it can be told what it costs.
            demand, prices = self._demand(call, tenant, spec), self._prices()
            if missing := missing_duration(spec, demand, tenant.limits, prices):
                raise errors.InvalidRequest(missing)
        return spec

    def _authorize(self, call: Call, tenant: Tenant, spec: job_pb2.Job, decide: Decide) -> Decision:
        with call.step("authorize") as span:
            decision = decide(call.caller, tenant, spec)
            call.decision = decision
            span.set_attribute(conventions.POLICY_VERSION, decision.policy_version)
            if decision.rule:
                span.set_attribute(conventions.RULE, decision.rule)
            if decision.failed:
                span.set_attribute(conventions.DIMENSION, decision.failed.name)
        return decision

    async def _admit_and_send(
        self, call: Call, tenant: Tenant, intent: Intent, spec: job_pb2.Job
    ) -> JobRecord:
        """Admit, send and settle one job that is allowed.

        A place that is free is taken before the admission. The intent then says at once that its
        call goes out, and the dispatch needs no transaction of its own. A call that would wait in
        vain is refused before it costs anything.
        """
        gate = self._gates[intent.account]
        async with gate.slots.place(_standing(tenant, spec)) as place:
            if refusal := gate.refusal(place, call.seconds_left(self._timeout_seconds)):
                return await self._recalling.recall_or_refuse(call, intent, refusal)
            if place.taken:
                intent = replace(intent, dispatch_time=intent.create_time)
            with call.step("admit") as span:
                admission = await self._ledger.admit(intent, tenant.limits)
                if admission.recalled:
                    span.set_attribute(conventions.RECALLED, value=True)
                else:
                    span.set_attribute(conventions.QUOTA_OUTCOME, "held")
            if not admission.recalled:
                call.job = admission.record.name
                report(call, admission.limits)
                call.quota = "held"
                if place.taken:
                    self._measures.waited(call, intent, 0.0)
                return await self._send_and_settle(call, gate, place, intent, spec)
        return await self._recalling.attach(call, admission.record)

    async def _send_and_settle(
        self, call: Call, gate: Gate, place: Place, intent: Intent, spec: job_pb2.Job
    ) -> JobRecord:
        try:
            if not place.taken:
                await self._wait(call, place, intent)
            change = await self._send(call, gate, place, intent, spec)
        except errors.TryLater as refusal:
            await self._settling.settle(
                call, intent, settlement.never_sent(refusal), Outcome.NEVER_SENT
            )
            raise
        except UpstreamError as error:
            outcome = settlement.outcome_of(error)
            await self._settling.settle(call, intent, settlement.failed(error), outcome)
            raise settlement.refusal_of(error, call.job) from error
        except BaseException:
            await self._settling.settle(call, intent, settlement.INTERRUPTED, Outcome.UNKNOWN)
            raise
        finally:
            place.release()
        return await self._settling.settle(call, intent, change, Outcome.ACCEPTED)

    async def _wait(self, call: Call, place: Place, intent: Intent) -> None:
        """Wait for a place, and note that the call goes out.

        Raises UpstreamBusy, UpstreamUnreachable, StoreUnavailable.
        """
        with call.step("wait") as span:
            span.set_attribute(conventions.WAIT_AHEAD, place.ahead)
            span.set_attribute(conventions.WAIT_ESTIMATE, place.estimate_seconds)
            began = perf_counter()
            try:
                await place.wait(call.seconds_left(self._timeout_seconds))
            finally:
                waited_seconds = perf_counter() - began
                span.set_attribute(conventions.WAIT_SECONDS, waited_seconds)
                self._measures.waited(call, intent, waited_seconds)
        with call.step("dispatch"):
            if not await self._ledger.dispatch(intent.job_id):
                raise errors.UpstreamBusy("the job waited for too long")

    async def _send(
        self, call: Call, gate: Gate, place: Place, intent: Intent, spec: job_pb2.Job
    ) -> Change:
        """Translate and send once. Raises UpstreamBusy, UpstreamError."""
        if call.seconds_left(self._timeout_seconds) < SHORTEST_CALL_SECONDS:
            raise errors.UpstreamBusy("nobody waits for the answer any more")
        if self._clock() >= intent.lease_until:
            raise errors.UpstreamBusy("the process was held up, and the intent's lease is over")
        with call.step("translate"):
            parameters = submit_parameters(spec)
        reply = await gate.submit(call, place, parameters, self._timeout_seconds)
        first_poll = self._clock() + round(self._poll_seconds * MICROSECONDS)
        return settlement.accepted(reply, first_poll)

    def _intent(
        self,
        call: Call,
        tenant: Tenant,
        request: job_service_pb2.SubmitJobRequest,
        spec: job_pb2.Job,
    ) -> Intent:
        now = self._clock()
        lease_seconds = 2 * self._timeout_seconds + LEASE_MARGIN_SECONDS
        return intent_of(
            call,
            tenant,
            request,
            spec,
            self._demand(call, tenant, spec),
            now=now,
            lease_until=now + round(lease_seconds * MICROSECONDS),
        )

    def _demand(self, call: Call, tenant: Tenant, spec: job_pb2.Job) -> Demand:
        subject = call.caller.acting_in(tenant.name)
        return demand_of(tenant.name, subject, spec, self._prices())

    def _forget(self, job_id: str, task: asyncio.Task[JobRecord]) -> None:
        self._in_flight.pop(job_id)
        # A refusal that no caller waits for any more is on record; asyncio need not report it.
        if not task.cancelled():
            task.exception()


def _standing(tenant: Tenant, spec: job_pb2.Job) -> Standing:
    priority = spec.priority if spec.HasField("priority") else USUAL_PRIORITY
    return Standing(tenant.name, tenant.weight, priority)
