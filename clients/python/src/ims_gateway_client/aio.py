"""The client for asyncio.

Decides nothing: this and its twin for threads, client.py, ask the same modules. What the methods
promise is written there.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message
from grpc import aio

from ims_gateway_client.batch import Batch, Outcome
from ims_gateway_client.channel import DEFAULT_TARGET, Endpoint, TlsOptions, open_aio_channel
from ims_gateway_client.credentials import AsyncToken, Credential
from ims_gateway_client.error_details import error_of
from ims_gateway_client.errors import GatewayError, Unavailable
from ims_gateway_client.feeding import AsyncFeed
from ims_gateway_client.retries import Attempts
from ims_gateway_client.submits import submit_request, validate_request
from ims_gateway_client.watching import Watch, is_settled
from imsgateway.v1.access_service_pb2 import (
    ExplainAccessRequest,
    ListAlgorithmsRequest,
    ListAlgorithmsResponse,
    WhoAmIRequest,
    WhoAmIResponse,
)
from imsgateway.v1.access_service_pb2_grpc import AccessServiceStub
from imsgateway.v1.admin_service_pb2_grpc import AdminServiceStub
from imsgateway.v1.decision_pb2 import Decision
from imsgateway.v1.job_pb2 import Job
from imsgateway.v1.job_service_pb2 import (
    CancelJobRequest,
    GetJobRequest,
    GetJobTraceRequest,
    ListJobsRequest,
    SubmitJobRequest,
    SubmitJobResponse,
    SubmitJobsRequest,
    SubmitJobsResponse,
)
from imsgateway.v1.job_service_pb2_grpc import JobServiceStub
from imsgateway.v1.job_trace_pb2 import JobTrace
from imsgateway.v1.quota_service_pb2 import (
    GetUsageRequest,
    GetUsageResponse,
    ListUsageHistoryRequest,
    ListUsageHistoryResponse,
)
from imsgateway.v1.quota_service_pb2_grpc import QuotaServiceStub

Reply = TypeVar("Reply")


class AsyncClient:
    """Submits jobs and follows them, like Client. Make it inside the event loop that uses it.

    The arguments are those of Client; token may also be a coroutine function.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        api_key: str | None = None,
        token: AsyncToken | None = None,
        tls: TlsOptions | bool | None = None,
        timeout_seconds: float = 30.0,
    ) -> None:
        self._endpoint = Endpoint.of(target, tls=tls)
        self._channel = open_aio_channel(self._endpoint, Credential(api_key, token))
        self._timeout_seconds = timeout_seconds
        self.jobs = JobServiceStub(self._channel)
        self.access = AccessServiceStub(self._channel)
        self.quota = QuotaServiceStub(self._channel)
        self.admin = AdminServiceStub(self._channel)

    async def submit(
        self,
        job: Job,
        *,
        request_id: str | None = None,
        parent: str = "",
        timeout_seconds: float | None = None,
    ) -> Job:
        """Submit a job and return it as the gateway recorded it."""
        request = submit_request(job, request_id=request_id, parent=parent)
        return (await self._submit(request, timeout_seconds)).job

    async def submit_many(
        self,
        jobs: Iterable[Job | SubmitJobRequest] | AsyncIterable[Job | SubmitJobRequest],
        *,
        parent: str = "",
        timeout_seconds: float | None = None,
    ) -> AsyncGenerator[Outcome, None]:
        """Submit many jobs over one stream; yield what came of each, as they come.

        jobs may be asynchronous too. Leave it early through contextlib.aclosing, as any
        asynchronous generator.
        """
        batch = Batch(parent, timeout_seconds)
        async with aclosing(AsyncFeed(batch, jobs)) as feed:
            try:
                while not batch.ended:
                    broken = None
                    try:
                        async with aclosing(self._exchange(feed.open(), batch)) as responses:
                            async for response in responses:
                                if outcome := feed.settle(response):
                                    yield outcome
                    except Unavailable as error:
                        broken = error
                    await asyncio.sleep(batch.pause_after(broken))
            except GatewayError as error:
                for outcome in await feed.give_up(error):
                    yield outcome
                raise
            await feed.finish()

    async def validate(
        self,
        job: Job,
        *,
        request_id: str | None = None,
        parent: str = "",
        timeout_seconds: float | None = None,
    ) -> SubmitJobResponse:
        """Check a job without submitting it: the decision, the limits and the upstream call."""
        request = validate_request(job, request_id=request_id, parent=parent)
        return await self._submit(request, timeout_seconds)

    async def get(self, name: str, *, include_download_urls: bool = False) -> Job:
        """Return a job. name: "tenants/{tenant}/jobs/{job}"."""
        request = GetJobRequest(name=name, include_download_urls=include_download_urls)
        return (await self._call(self.jobs.GetJob, request)).job

    async def trace(self, name: str) -> JobTrace:
        """Return what happened to a job, step by step. name: as for get."""
        request = GetJobTraceRequest(name=f"{name}/trace")
        return (await self._call(self.jobs.GetJobTrace, request)).trace

    async def list(self, parent: str = "", *, page_size: int = 0) -> AsyncIterator[Job]:
        """Yield the tenant's jobs, newest first, fetching pages as they are needed."""
        request = ListJobsRequest(parent=parent, page_size=page_size)
        while True:
            page = await self._call(self.jobs.ListJobs, request)
            for job in page.jobs:
                yield job
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def watch(
        self, name: str, *, timeout_seconds: float | None = None
    ) -> AsyncGenerator[Job, None]:
        """Yield the job as it is now and at every change, until it has ended.

        Leave it early through contextlib.aclosing, as any asynchronous generator.
        """
        watch = Watch(name, timeout_seconds)
        while not watch.ended:
            broken = None
            try:
                async with aclosing(self._stream(watch)) as stream:
                    async for job in stream:
                        if watch.is_news(job):
                            yield job
            except Unavailable as error:
                broken = error
            await asyncio.sleep(watch.pause_after(broken))

    async def wait(self, name: str, timeout_seconds: float | None = None) -> Job:
        """Return the job once it has ended, well or badly."""
        async with aclosing(self.watch(name, timeout_seconds=timeout_seconds)) as states:
            return await anext(job async for job in states if is_settled(job))

    async def cancel(self, name: str) -> Job:
        """Ask for the job's cancellation and return it; one that has ended is returned as it is."""
        return (await self._call(self.jobs.CancelJob, CancelJobRequest(name=name))).job

    async def explain(self, job: Job, *, parent: str = "") -> Decision:
        """Return the policy's answer to a job that is not sent."""
        request = ExplainAccessRequest(parent=parent, job=job)
        return (await self._call(self.access.ExplainAccess, request)).decision

    async def list_algorithms(self, *, parent: str = "") -> ListAlgorithmsResponse:
        """Return all algorithms, with what the caller may do with each and by which rules."""
        return await self._call(self.access.ListAlgorithms, ListAlgorithmsRequest(parent=parent))

    async def who_am_i(self) -> WhoAmIResponse:
        """Return who the gateway takes the caller for."""
        return await self._call(self.access.WhoAmI, WhoAmIRequest())

    async def usage(self, *, parent: str = "") -> GetUsageResponse:
        """Return each limit of the tenant with what is used of it."""
        return await self._call(self.quota.GetUsage, GetUsageRequest(parent=parent))

    async def usage_history(self, *, parent: str = "", days: int = 0) -> ListUsageHistoryResponse:
        """Return what the tenant used on each of its last days, today first.

        days: 0 to 100; 0 leaves it to the gateway.
        """
        request = ListUsageHistoryRequest(parent=parent, page_size=days)
        return await self._call(self.quota.ListUsageHistory, request)

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._endpoint.target!r})"

    async def _submit(
        self, request: SubmitJobRequest, timeout_seconds: float | None
    ) -> SubmitJobResponse:
        attempts = Attempts(self._timeout_seconds if timeout_seconds is None else timeout_seconds)
        while True:
            try:
                return await self._call(self.jobs.SubmitJob, request, attempts.remaining_seconds())
            except Unavailable as error:
                await asyncio.sleep(attempts.pause_after(error))

    async def _call(
        self,
        method: "aio.UnaryUnaryMultiCallable[Any, Reply]",
        request: Message,
        timeout_seconds: float | None = None,
    ) -> Reply:
        timeout = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        try:
            return await method(request, timeout=timeout)
        except grpc.RpcError as failed:
            raise error_of(failed, request, self._endpoint.target) from failed

    async def _exchange(
        self, requests: AsyncIterator[SubmitJobsRequest], batch: Batch
    ) -> AsyncGenerator[SubmitJobsResponse, None]:
        stream = self.jobs.SubmitJobs(requests, timeout=batch.remaining_seconds())
        try:
            async for response in stream:
                yield response
        except grpc.RpcError as failed:
            error = error_of(failed, SubmitJobsRequest(), self._endpoint.target)
            if error.code is grpc.StatusCode.INTERNAL and not error.reason:
                error = await self._why_it_broke(batch)
            raise error from failed
        finally:
            stream.cancel()

    async def _why_it_broke(self, batch: Batch) -> GatewayError:
        """Return what an INTERNAL stands for that the gateway did not say.

        grpc.aio puts one in the place of the true status when a write fails as the stream ends. A
        stream without writes tells whether there is more to it than a broken connection.
        """
        remaining = batch.remaining_seconds()
        timeout = self._timeout_seconds if remaining is None else remaining
        try:
            await self.jobs.SubmitJobs(iter(()), timeout=timeout).read()
        except grpc.RpcError as failed:
            return error_of(failed, SubmitJobsRequest(), self._endpoint.target)
        return Unavailable("the stream broke", code=grpc.StatusCode.UNAVAILABLE)

    async def _stream(self, watch: Watch) -> AsyncGenerator[Job, None]:
        stream = self.jobs.WatchJob(watch.request, timeout=watch.remaining_seconds())
        try:
            async for response in stream:
                yield response.job
        except grpc.RpcError as failed:
            raise error_of(failed, watch.request, self._endpoint.target) from failed
        finally:
            stream.cancel()
