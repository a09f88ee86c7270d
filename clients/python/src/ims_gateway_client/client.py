"""The client for threads.

Decides nothing: this and its twin for asyncio, aio.py, ask the same modules.
"""

import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message

from ims_gateway_client.batch import Batch, Outcome
from ims_gateway_client.channel import DEFAULT_TARGET, Endpoint, TlsOptions, open_channel
from ims_gateway_client.credentials import Credential, Token
from ims_gateway_client.error_details import error_of
from ims_gateway_client.errors import GatewayError, Unavailable
from ims_gateway_client.feeding import Feed
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


class Client:
    """Submits jobs and follows them. Safe for use by several threads; close it, or use `with`.

    target: a gRPC target, "host:port". api_key, or token: a function asked before each call.
    tls: True, False or TlsOptions; default: plain text to this machine, TLS to any other.
    timeout_seconds: for one call with its retries, unless the call is given another.

    jobs, access, quota, admin: the raw stubs, on the same channel and with the same credential.
    They raise grpc.RpcError; the methods raise GatewayError, by kind as errors.py says.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        api_key: str | None = None,
        token: Token | None = None,
        tls: TlsOptions | bool | None = None,
        timeout_seconds: float = 30.0,
    ) -> None:
        self._endpoint = Endpoint.of(target, tls=tls)
        self._channel = open_channel(self._endpoint, Credential(api_key, token))
        self._timeout_seconds = timeout_seconds
        self.jobs = JobServiceStub(self._channel)
        self.access = AccessServiceStub(self._channel)
        self.quota = QuotaServiceStub(self._channel)
        self.admin = AdminServiceStub(self._channel)

    def submit(
        self,
        job: Job,
        *,
        request_id: str | None = None,
        parent: str = "",
        timeout_seconds: float | None = None,
    ) -> Job:
        """Submit a job and return it as the gateway recorded it.

        request_id: a UUID that makes repeating safe; default: a new one. While the gateway is
        unavailable the call is repeated with it; the error of a failed submit carries it.
        parent: "tenants/{tenant}"; default: the caller's own. Raises OutcomeUnknown where the job
        may have been taken: follow its job_name and never submit it anew.
        """
        request = submit_request(job, request_id=request_id, parent=parent)
        return self._submit(request, timeout_seconds).job

    def submit_many(
        self,
        jobs: Iterable[Job | SubmitJobRequest],
        *,
        parent: str = "",
        timeout_seconds: float | None = None,
    ) -> Generator[Outcome, None, None]:
        """Submit many jobs over one stream; yield what came of each, as they come.

        jobs: read in a thread of their own, up to 256 ahead of the replies. A SubmitJobRequest may
        stand for a job, to give it a request_id of your own. Yields the position among jobs with
        the job as the gateway recorded it, or with the error that was its answer: one job's error
        ends nothing. A job that met an unavailable service is repeated as by submit. A stream that
        breaks is opened anew for most of a minute, and what has no reply is sent again with the
        same request_ids. When that fails for good, what has no reply is yielded with the error and
        its request_id; then the error is raised. timeout_seconds: for all of it; default: no limit.
        Closing the generator ends the call, and jobs that were taken go on.
        """
        batch = Batch(parent, timeout_seconds)
        with closing(Feed(batch, jobs)) as feed:
            try:
                while not batch.ended:
                    broken = None
                    try:
                        for response in self._exchange(feed.open(), batch):
                            if outcome := feed.settle(response):
                                yield outcome
                    except Unavailable as error:
                        broken = error
                    time.sleep(batch.pause_after(broken))
            except GatewayError as error:
                yield from feed.give_up(error)
                raise
            feed.finish()

    def validate(
        self,
        job: Job,
        *,
        request_id: str | None = None,
        parent: str = "",
        timeout_seconds: float | None = None,
    ) -> SubmitJobResponse:
        """Check a job without submitting it: the decision, the limits and the upstream call."""
        request = validate_request(job, request_id=request_id, parent=parent)
        return self._submit(request, timeout_seconds)

    def get(self, name: str, *, include_download_urls: bool = False) -> Job:
        """Return a job. name: "tenants/{tenant}/jobs/{job}"."""
        request = GetJobRequest(name=name, include_download_urls=include_download_urls)
        return self._call(self.jobs.GetJob, request).job

    def trace(self, name: str) -> JobTrace:
        """Return what happened to a job, step by step. name: as for get."""
        request = GetJobTraceRequest(name=f"{name}/trace")
        return self._call(self.jobs.GetJobTrace, request).trace

    def list(self, parent: str = "", *, page_size: int = 0) -> Iterator[Job]:
        """Yield the tenant's jobs, newest first, fetching pages as they are needed.

        page_size: 0 to 1000; 0 leaves it to the gateway.
        """
        request = ListJobsRequest(parent=parent, page_size=page_size)
        while True:
            page = self._call(self.jobs.ListJobs, request)
            yield from page.jobs
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def watch(
        self, name: str, *, timeout_seconds: float | None = None
    ) -> Generator[Job, None, None]:
        """Yield the job as it is now and at every change, until it has ended.

        Resumes when the connection breaks, for most of a minute. timeout_seconds: for all of it;
        default: no limit. Closing the generator ends the call.
        """
        watch = Watch(name, timeout_seconds)
        while not watch.ended:
            broken = None
            try:
                for job in self._stream(watch):
                    if watch.is_news(job):
                        yield job
            except Unavailable as error:
                broken = error
            time.sleep(watch.pause_after(broken))

    def wait(self, name: str, timeout_seconds: float | None = None) -> Job:
        """Return the job once it has ended, well or badly.

        Raises DeadlineExceeded after timeout_seconds (default: never), and OutcomeUnknown for a job
        that only an operator can move.
        """
        with closing(self.watch(name, timeout_seconds=timeout_seconds)) as states:
            return next(filter(is_settled, states))

    def cancel(self, name: str) -> Job:
        """Ask for the job's cancellation and return it; one that has ended is returned as it is."""
        return self._call(self.jobs.CancelJob, CancelJobRequest(name=name)).job

    def explain(self, job: Job, *, parent: str = "") -> Decision:
        """Return the policy's answer to a job that is not sent."""
        request = ExplainAccessRequest(parent=parent, job=job)
        return self._call(self.access.ExplainAccess, request).decision

    def list_algorithms(self, *, parent: str = "") -> ListAlgorithmsResponse:
        """Return all algorithms, with what the caller may do with each and by which rules."""
        return self._call(self.access.ListAlgorithms, ListAlgorithmsRequest(parent=parent))

    def who_am_i(self) -> WhoAmIResponse:
        """Return who the gateway takes the caller for."""
        return self._call(self.access.WhoAmI, WhoAmIRequest())

    def usage(self, *, parent: str = "") -> GetUsageResponse:
        """Return each limit of the tenant with what is used of it."""
        return self._call(self.quota.GetUsage, GetUsageRequest(parent=parent))

    def usage_history(self, *, parent: str = "", days: int = 0) -> ListUsageHistoryResponse:
        """Return what the tenant used on each of its last days, today first.

        days: 0 to 100; 0 leaves it to the gateway.
        """
        request = ListUsageHistoryRequest(parent=parent, page_size=days)
        return self._call(self.quota.ListUsageHistory, request)

    def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._endpoint.target!r})"

    def _submit(
        self, request: SubmitJobRequest, timeout_seconds: float | None
    ) -> SubmitJobResponse:
        attempts = Attempts(self._timeout_seconds if timeout_seconds is None else timeout_seconds)
        while True:
            try:
                return self._call(self.jobs.SubmitJob, request, attempts.remaining_seconds())
            except Unavailable as error:
                time.sleep(attempts.pause_after(error))

    def _call(
        self,
        method: "grpc.UnaryUnaryMultiCallable[Any, Reply]",
        request: Message,
        timeout_seconds: float | None = None,
    ) -> Reply:
        timeout = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as failed:
            raise error_of(failed, request, self._endpoint.target) from failed

    def _exchange(
        self, requests: Iterator[SubmitJobsRequest], batch: Batch
    ) -> Iterator[SubmitJobsResponse]:
        stream = self.jobs.SubmitJobs(requests, timeout=batch.remaining_seconds())
        try:
            yield from stream
        except grpc.RpcError as failed:
            raise error_of(failed, SubmitJobsRequest(), self._endpoint.target) from failed
        finally:
            stream.cancel()

    def _stream(self, watch: Watch) -> Iterator[Job]:
        stream = self.jobs.WatchJob(watch.request, timeout=watch.remaining_seconds())
        try:
            for response in stream:
                yield response.job
        except grpc.RpcError as failed:
            raise error_of(failed, watch.request, self._endpoint.target) from failed
        finally:
            stream.cancel()
