import asyncio
import inspect
import threading
import time
import uuid
from contextlib import closing

import grpc
import pytest

from ims_gateway_client import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    OutcomeUnknown,
    RateExceeded,
    Unavailable,
    errors,
)
from imsgateway.v1.access_service_pb2 import ExplainAccessResponse, WhoAmIResponse
from imsgateway.v1.decision_pb2 import Decision
from imsgateway.v1.job_service_pb2 import (
    CancelJobResponse,
    GetJobResponse,
    GetJobTraceResponse,
    ListJobsRequest,
    ListJobsResponse,
    SubmitJobResponse,
    WatchJobResponse,
)
from imsgateway.v1.job_trace_pb2 import JobTrace

NAME = "tenants/acme/jobs/0198-a"
KEY = "imsk_test_secret"


def accepted(request, _context):
    """Answer a submit as the gateway does."""
    job = request.job
    job.name, job.request_id = NAME, request.request_id
    return SubmitJobResponse(job=job)


def _changes(*items):
    return [item if not hasattr(item, "state") else WatchJobResponse(job=item) for item in items]


def test_every_call_carries_the_credential(client, gateway):
    """The credential travels as a bearer token in the metadata."""
    gateway.answers["WhoAmI"] = [WhoAmIResponse(tenant="tenants/acme")]
    assert client.who_am_i().tenant == "tenants/acme"
    assert gateway.calls[0].metadata["authorization"] == f"Bearer {KEY}"


def test_submit_makes_a_request_id(client, gateway, job):
    """A submit without a request_id gets a fresh UUID each time."""
    gateway.answers["SubmitJob"] = [accepted]
    first, second = client.submit(job), client.submit(job)
    sent = [request.request_id for request in gateway.requests("SubmitJob")]
    assert [uuid.UUID(text).version for text in sent] == [4, 4]
    assert sent[0] != sent[1]
    assert [first.request_id, second.request_id] == sent
    assert first.cover == job.cover


def test_submit_reuses_its_request_id_when_it_repeats_itself(client, gateway, job, unavailable):
    """An unavailable gateway gets the very same request again."""
    gateway.answers["SubmitJob"] = [unavailable, unavailable, accepted]
    assert client.submit(job, parent="tenants/acme").name == NAME
    first, *others = gateway.requests("SubmitJob")
    assert len(others) == 2
    assert first.request_id
    assert all(other == first for other in others)


def test_submit_keeps_the_callers_request_id(client, gateway, job):
    """A request_id that the caller gives is the one that is sent."""
    gateway.answers["SubmitJob"] = [accepted]
    request_id = str(uuid.uuid4())
    assert client.submit(job, request_id=request_id).request_id == request_id


def test_submit_gives_up_with_the_request_id_in_the_error(client, gateway, job, unavailable):
    """After four attempts the caller gets the error, with the id that makes going on safe."""
    gateway.answers["SubmitJob"] = [unavailable]
    with pytest.raises(Unavailable) as caught:
        client.submit(job)
    sent = {request.request_id for request in gateway.requests("SubmitJob")}
    assert len(gateway.calls) == 4
    assert sent == {caught.value.request_id}


def test_submit_waits_as_long_as_the_gateway_asks(client, gateway, job, refuse, retry_after):
    """RetryInfo sets the least pause between two attempts."""
    asked = refuse(grpc.StatusCode.UNAVAILABLE, "UPSTREAM_THROTTLED", retry_after(0.6))
    gateway.answers["SubmitJob"] = [asked, accepted]
    begun = time.monotonic()
    client.submit(job)
    assert time.monotonic() - begun >= 0.6


def test_submit_does_not_wait_beyond_its_timeout(client, gateway, job, refuse, retry_after):
    """A pause that the timeout has no room for is not begun."""
    asked = refuse(grpc.StatusCode.UNAVAILABLE, "UPSTREAM_THROTTLED", retry_after(3600))
    gateway.answers["SubmitJob"] = [asked]
    with pytest.raises(Unavailable) as caught:
        client.submit(job, timeout_seconds=30)
    assert caught.value.retry_after_seconds == 3600
    assert len(gateway.calls) == 1


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_EXCEEDED", RateExceeded),
        (grpc.StatusCode.UNKNOWN, "SUBMIT_OUTCOME_UNKNOWN", OutcomeUnknown),
        (grpc.StatusCode.INTERNAL, "INTERNAL", errors.GatewayFault),
    ],
)
def test_submit_is_repeated_for_nothing_else(
    client, gateway, job, refuse, retry_after, *, code, reason, kind
):
    """Only an unavailable gateway is asked twice, whatever RetryInfo says."""
    gateway.answers["SubmitJob"] = [refuse(code, reason, retry_after(0.01))]
    with pytest.raises(kind):
        client.submit(job)
    assert len(gateway.calls) == 1


def test_a_late_submit_says_which_id_to_repeat(client, gateway, job):
    """DEADLINE_EXCEEDED is a TimeoutError with the request_id, and is not repeated."""
    gateway.answers["SubmitJob"] = [
        lambda _request, context: time.sleep(context.time_remaining() + 0.2) or SubmitJobResponse()
    ]
    with pytest.raises(TimeoutError) as caught:
        client.submit(job, timeout_seconds=0.3)
    assert isinstance(caught.value, DeadlineExceeded)
    assert caught.value.request_id == gateway.requests("SubmitJob")[0].request_id
    assert len(gateway.calls) == 1


def test_validate_asks_without_submitting(client, gateway, job):
    """Validate sets validate_only and returns the whole reply."""
    gateway.answers["SubmitJob"] = [SubmitJobResponse(job=job, decision=Decision(allowed=True))]
    assert client.validate(job, parent="tenants/acme").decision.allowed
    (sent,) = gateway.requests("SubmitJob")
    assert sent.validate_only
    assert sent.job == job
    assert not sent.request_id


def test_reads_are_repeated_while_the_gateway_is_unavailable(client, gateway, unavailable, at, job):
    """GRPC repeats reads by the service config."""
    reads = {
        "GetJob": (GetJobResponse(job=at("QUEUED")), lambda: client.get(NAME)),
        "GetJobTrace": (GetJobTraceResponse(), lambda: client.trace(NAME)),
        "ListJobs": (ListJobsResponse(), lambda: list(client.list())),
        "WhoAmI": (WhoAmIResponse(), client.who_am_i),
        "ExplainAccess": (ExplainAccessResponse(), lambda: client.explain(job)),
    }
    for method, (reply, call) in reads.items():
        gateway.answers[method] = [unavailable, unavailable, reply]
        call()
        assert len(gateway.requests(method)) == 3, method


def test_cancel_is_not_repeated(client, gateway, unavailable):
    """A cancellation changes something, so its caller decides."""
    gateway.answers["CancelJob"] = [unavailable]
    with pytest.raises(Unavailable):
        client.cancel(NAME)
    assert len(gateway.calls) == 1


def test_get_passes_its_arguments_on(client, gateway, at):
    """Download addresses are asked for only on demand."""
    gateway.answers["GetJob"] = [GetJobResponse(job=at("SUCCEEDED"))]
    assert client.get(NAME).name == NAME
    client.get(NAME, include_download_urls=True)
    assert [request.include_download_urls for request in gateway.requests("GetJob")] == [
        False,
        True,
    ]


def test_a_trace_is_asked_for_by_its_job(client, gateway):
    """The caller names the job; the trace's own name is the contract's affair."""
    trace = JobTrace(name=f"{NAME}/trace", decision_id="d-1")
    gateway.answers["GetJobTrace"] = [GetJobTraceResponse(trace=trace)]
    assert client.trace(NAME) == trace
    assert gateway.requests("GetJobTrace")[0].name == f"{NAME}/trace"


def test_cancel_and_explain_return_what_the_gateway_says(client, gateway, at, job):
    """The replies are unwrapped."""
    gateway.answers["CancelJob"] = [CancelJobResponse(job=at("CANCELLING"))]
    gateway.answers["ExplainAccess"] = [ExplainAccessResponse(decision=Decision(decision_id="d1"))]
    assert client.cancel(NAME) == at("CANCELLING")
    assert client.explain(job, parent="tenants/acme").decision_id == "d1"
    assert gateway.requests("ExplainAccess")[0].parent == "tenants/acme"


def test_list_walks_all_pages_and_fetches_them_late(client, gateway, at):
    """Jobs come one by one; a page is fetched when the one before it is used up."""
    pages = [
        ListJobsResponse(jobs=[at("QUEUED"), at("RUNNING")], next_page_token="two"),
        ListJobsResponse(next_page_token="three"),
        ListJobsResponse(jobs=[at("FAILED")]),
    ]
    gateway.answers["ListJobs"] = list(pages)
    with closing(client.list("tenants/acme", page_size=2)) as jobs:
        assert next(jobs) == at("QUEUED")
        assert len(gateway.calls) == 1
        assert list(jobs) == [at("RUNNING"), at("FAILED")]
    assert gateway.requests("ListJobs") == [
        ListJobsRequest(parent="tenants/acme", page_size=2, page_token=token)
        for token in ("", "two", "three")
    ]


def test_watch_ends_at_a_terminal_state(client, gateway, at):
    """The stream is over when the job is, even if the gateway left it open."""
    gateway.answers["WatchJob"] = [_changes(at("QUEUED"), at("RUNNING"), at("SUCCEEDED"))]
    assert list(client.watch(NAME)) == [at("QUEUED"), at("RUNNING"), at("SUCCEEDED")]
    assert len(gateway.calls) == 1


def test_watch_resumes_where_the_connection_broke(client, gateway, at, unavailable):
    """A stream that breaks or ends early is opened anew; what is known is not repeated."""
    gateway.answers["WatchJob"] = [
        [unavailable],
        _changes(at("QUEUED"), unavailable),
        _changes(at("QUEUED"), at("RUNNING")),
        _changes(at("SUCCEEDED")),
    ]
    assert list(client.watch(NAME)) == [at("QUEUED"), at("RUNNING"), at("SUCCEEDED")]
    assert len(gateway.calls) == 4


def test_watch_gives_up_on_a_gateway_that_was_never_there(client, gateway, unavailable):
    """Four attempts without a word are enough."""
    gateway.answers["WatchJob"] = [[unavailable]]
    with pytest.raises(Unavailable):
        list(client.watch(NAME))
    assert len(gateway.calls) == 4


def test_watch_raises_other_errors_at_once(client, gateway, refuse):
    """Only an unavailable gateway is worth another attempt."""
    gateway.answers["WatchJob"] = [[refuse(grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")]]
    with pytest.raises(errors.JobNotFound) as caught:
        list(client.watch(NAME))
    assert caught.value.job_name == NAME
    assert len(gateway.calls) == 1


def test_leaving_a_watch_early_ends_the_call(client, gateway, at):
    """The gateway sees the call cancelled when the caller stops listening."""
    left = threading.Event()

    def begin(_request, context):
        context.add_callback(left.set)
        return WatchJobResponse(job=at("QUEUED"))

    def go_on(_request, _context):
        left.wait(10)
        return WatchJobResponse(job=at("RUNNING"))

    gateway.answers["WatchJob"] = [[begin, go_on]]
    with closing(client.watch(NAME)) as states:
        assert next(states) == at("QUEUED")
    assert left.wait(10)


def test_wait_returns_the_job_that_has_ended(client, gateway, at):
    """Good and bad ends are both ends."""
    gateway.answers["WatchJob"] = [_changes(at("RUNNING"), at("FAILED"))]
    assert client.wait(NAME, 30) == at("FAILED")


def test_wait_raises_when_the_time_is_over(client, gateway, at):
    """The deadline covers the whole wait."""
    gateway.answers["WatchJob"] = [
        [
            *_changes(at("RUNNING")),
            lambda _request, context: time.sleep(context.time_remaining() + 0.2),
        ]
    ]
    with pytest.raises(DeadlineExceeded) as caught:
        client.wait(NAME, 0.3)
    assert caught.value.job_name == NAME


def test_wait_does_not_wait_for_an_operator(client, gateway, at):
    """A job whose outcome nobody knows raises OutcomeUnknown, though it has not ended."""
    gateway.answers["WatchJob"] = [_changes(at("SUBMITTING"), at("SUBMIT_UNKNOWN"))]
    with pytest.raises(OutcomeUnknown) as caught:
        client.wait(NAME, 30)
    assert caught.value.job_name == NAME


def test_nobody_listening_is_unavailable_with_the_target_in_the_text(gateway):
    """A refused connection is told from a refused call."""
    gateway.stop()
    with Client(gateway.target, timeout_seconds=10) as client, pytest.raises(Unavailable) as caught:
        client.get(NAME)
    assert gateway.target in str(caught.value)


def test_both_clients_offer_the_same():
    """What one client has, the other has, with the same parameters."""

    def surface(kind):
        return {
            name: list(inspect.signature(member).parameters)
            for name, member in vars(kind).items()
            if inspect.isfunction(member) and not name.startswith("_")
        }

    assert surface(Client) == surface(AsyncClient)


async def test_the_asynchronous_client_is_a_context_manager(gateway):
    """`async with` closes the connection."""
    gateway.answers["WhoAmI"] = [WhoAmIResponse(tenant="tenants/acme")]
    async with AsyncClient(gateway.target) as client:
        assert (await client.who_am_i()).tenant == "tenants/acme"


async def test_cancelling_a_waiting_task_ends_the_call(gateway, at):
    """Asyncio's cancellation reaches the gateway and stays a CancelledError."""
    begun, left = threading.Event(), threading.Event()

    def begin(_request, context):
        context.add_callback(left.set)
        begun.set()
        return WatchJobResponse(job=at("RUNNING"))

    def go_on(_request, _context):
        left.wait(10)
        return WatchJobResponse(job=at("SUCCEEDED"))

    gateway.answers["WatchJob"] = [[begin, go_on]]
    async with AsyncClient(gateway.target) as client:
        waiting = asyncio.create_task(client.wait(NAME))
        assert await asyncio.to_thread(begun.wait, 10)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await asyncio.to_thread(left.wait, 10)
