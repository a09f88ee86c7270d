"""imsgateway.v1.JobService: from messages to use cases and back. It decides nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from ims_gateway.api.job_message import job_message
from ims_gateway.errors import NotImplementedYet
from ims_gateway.following import Following
from ims_gateway.jobs.states import State
from ims_gateway.policy.authorization import Authorization
from ims_gateway.submission import Submission
from ims_gateway.telemetry.call import current
from ims_gateway.validation import Validation
from imsgateway.v1 import job_service_pb2 as pb
from imsgateway.v1 import job_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class JobService(job_service_pb2_grpc.JobServiceServicer):
    """Submit, get, list, watch and cancel."""

    def __init__(
        self,
        submission: Submission,
        following: Following,
        authorization: Authorization,
        validation: Validation,
    ) -> None:
        self._submission = submission
        self._following = following
        self._authorization = authorization
        self._validation = validation

    async def SubmitJob(self, request: pb.SubmitJobRequest, context: Context) -> Any:
        """Submit one job, or say what would come of it."""
        call = current.get()
        tenant = self._authorization.tenant(call.caller, request.parent, call.id)
        if request.validate_only:
            return await self._submission.preview(call, tenant, request)
        record = await self._submission.submit(call, tenant, request)
        return pb.SubmitJobResponse(job=job_message(record))

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> Any:
        """Return one job."""
        call = current.get()
        self._validation.check(request)
        tenant = self._authorization.tenant(call.caller, "", call.id)
        record = await self._following.get(call, tenant, request.name)
        fresh = None
        if request.include_download_urls and record.state is State.SUCCEEDED:
            fresh = await self._following.fresh_reply(call, record)
        return pb.GetJobResponse(job=job_message(record, fresh_reply=fresh))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> Any:
        """Return one page of jobs."""
        call = current.get()
        self._validation.check(request)
        tenant = self._authorization.tenant(call.caller, request.parent, call.id)
        records, token = await self._following.list(
            call, tenant, request.page_size, request.page_token
        )
        jobs = [job_message(record, result=False) for record in records]
        return pb.ListJobsResponse(jobs=jobs, next_page_token=token)

    async def WatchJob(
        self, request: pb.WatchJobRequest, context: Context
    ) -> AsyncIterator[pb.WatchJobResponse]:
        """Send the job at every change of its state."""
        call = current.get()
        self._validation.check(request)
        tenant = self._authorization.tenant(call.caller, "", call.id)
        async for record in self._following.watch(call, tenant, request.name):
            yield pb.WatchJobResponse(job=job_message(record))

    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> Any:
        """Ask for a job's cancellation."""
        call = current.get()
        self._validation.check(request)
        tenant = self._authorization.tenant(call.caller, "", call.id)
        return pb.CancelJobResponse(
            job=job_message(await self._following.cancel(call, tenant, request.name))
        )

    async def SubmitJobs(
        self, request_iterator: AsyncIterator[pb.SubmitJobsRequest], context: Context
    ) -> AsyncIterator[pb.SubmitJobsResponse]:
        """Refuse: not served by this version."""
        raise NotImplementedYet
        yield  # makes this a stream, as its answer will be
