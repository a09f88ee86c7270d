"""imsgateway.v1.JobService: from messages to use cases and back. It decides nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import grpc

from ims_gateway.api import ratelimit
from ims_gateway.api.bulk_items import read_items, reply_of
from ims_gateway.api.job_message import job_message
from ims_gateway.api.job_trace_message import job_trace_message
from ims_gateway.bulk import Bulk
from ims_gateway.following import Following
from ims_gateway.job_trace import JobTraces
from ims_gateway.jobs.record import JobRecord
from ims_gateway.jobs.states import State
from ims_gateway.policy.authorization import Authorization
from ims_gateway.submission import Submission
from ims_gateway.telemetry.call import current
from ims_gateway.validation import Validation
from imsgateway.v1 import job_pb2, job_service_pb2_grpc
from imsgateway.v1 import job_service_pb2 as pb

Context = grpc.aio.ServicerContext[Any, Any]


class JobService(job_service_pb2_grpc.JobServiceServicer):
    """Submit, get, trace, list, watch and cancel."""

    def __init__(
        self,
        submission: Submission,
        bulk: Bulk,
        following: Following,
        authorization: Authorization,
        validation: Validation,
        *,
        traces: JobTraces,
        clock: Callable[[], int],
    ) -> None:
        self._submission = submission
        self._bulk = bulk
        self._following = following
        self._traces = traces
        self._authorization = authorization
        self._validation = validation
        self._clock = clock

    async def SubmitJob(self, request: pb.SubmitJobRequest, context: Context) -> Any:
        """Submit one job, or say what would come of it."""
        call = current.get()
        tenant = self._authorization.tenant(call, request.parent)
        if request.validate_only:
            return await self._submission.preview(call, tenant, request)
        record = await self._submission.submit(call, tenant, request)
        if call.limits:
            context.set_trailing_metadata(ratelimit.of_admission(call.limits, self._clock()))
        return pb.SubmitJobResponse(job=self._message(record))

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> Any:
        """Return one job."""
        call = current.get()
        self._validation.check(request)
        tenant = self._authorization.tenant_of(call, request.name)
        record = await self._following.get(call, tenant, request.name)
        fresh = None
        if request.include_download_urls and record.state is State.SUCCEEDED:
            fresh = await self._following.fresh_reply(call, record)
        return pb.GetJobResponse(job=self._message(record, fresh_reply=fresh))

    async def GetJobTrace(self, request: pb.GetJobTraceRequest, context: Context) -> Any:
        """Return what happened to one job."""
        call = current.get()
        self._validation.check(request)
        name = request.name.removesuffix("/trace")
        tenant = self._authorization.tenant_of(call, name)
        trace = await self._traces.get(call, tenant, name)
        return pb.GetJobTraceResponse(trace=job_trace_message(trace))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> Any:
        """Return one page of jobs."""
        call = current.get()
        self._validation.check(request)
        tenant = self._authorization.tenant(call, request.parent)
        records, token = await self._following.list(
            call,
            tenant,
            page_size=request.page_size,
            page_token=request.page_token,
            text=request.filter,
        )
        jobs = [self._message(record, result=False) for record in records]
        return pb.ListJobsResponse(jobs=jobs, next_page_token=token)

    async def WatchJob(
        self, request: pb.WatchJobRequest, context: Context
    ) -> AsyncIterator[pb.WatchJobResponse]:
        """Send the job at every change of its state."""
        call = current.get()
        self._validation.check(request)
        tenant = self._authorization.tenant_of(call, request.name)
        async with aclosing(self._following.watch(call, tenant, request.name)) as records:
            async for record in records:
                yield pb.WatchJobResponse(job=self._message(record))

    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> Any:
        """Ask for a job's cancellation."""
        call = current.get()
        self._validation.check(request)
        tenant = self._authorization.tenant_of(call, request.name)
        record = await self._following.cancel(call, tenant, request.name)
        return pb.CancelJobResponse(job=self._message(record))

    async def SubmitJobs(
        self, request_iterator: AsyncIterator[Any], context: Context
    ) -> AsyncIterator[pb.SubmitJobsResponse]:
        """Submit the jobs of a stream, and answer each as it is done."""
        call = current.get()
        self._authorization.tenant(call, "")
        async with aclosing(self._bulk.submit(call, read_items(request_iterator))) as outcomes:
            async for outcome in outcomes:
                yield reply_of(outcome, self._message)

    def _message(self, record: JobRecord, **options: Any) -> job_pb2.Job:
        return job_message(record, overdue=self._following.overdue(record), **options)
