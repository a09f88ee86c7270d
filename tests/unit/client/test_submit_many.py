"""Bulk submits of both clients, against a gateway that does as it is told."""

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import closing
from itertools import islice
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2
from grpc_status import rpc_status

from ims_gateway_client import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    InvalidRequest,
    NotAuthenticated,
    OutcomeUnknown,
    Unavailable,
)
from ims_gateway_client.batch import WINDOW
from imsgateway.v1 import job_service_pb2_grpc
from imsgateway.v1.job_pb2 import Job
from imsgateway.v1.job_service_pb2 import (
    SubmitJobRequest,
    SubmitJobsRequest,
    SubmitJobsResponse,
)

Requests = Iterator[SubmitJobsRequest]
Script = Callable[[Requests, grpc.ServicerContext], Iterator[SubmitJobsResponse]]


class Streams(job_service_pb2_grpc.JobServiceServicer):
    """Plays one script a stream, the last one for all that follow, and keeps what arrived.

    A stream without items has no part in that. Once there is a `refusal`, it ends every stream.
    """

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.arrived: list[list[SubmitJobsRequest]] = []
        self.refusal: status_pb2.Status | None = None

    def SubmitJobs(self, request_iterator: Requests, context: Any) -> Any:  # noqa: N802 - gRPC's
        """Play."""
        if self.refusal is not None:
            context.abort_with_status(rpc_status.to_status(self.refusal))
        arrived = list(islice(request_iterator, 1))
        if not arrived:
            return
        self.arrived.append(arrived)

        def kept() -> Requests:
            yield arrived[0]
            for request in request_iterator:
                arrived.append(request)
                yield request

        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        yield from script(kept(), context)

    def ids(self, stream: int) -> dict[int, str]:
        """Return the request ids of a stream by index."""
        return {sent.index: sent.request.request_id for sent in self.arrived[stream]}


@pytest.fixture
def streams() -> Iterator[Streams]:
    """Return a gateway without a script, as `streams.target`."""
    served = Streams()
    executor = futures.ThreadPoolExecutor(8)
    server = grpc.server(executor)
    job_service_pb2_grpc.add_JobServiceServicer_to_server(served, server)
    served.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield served
    server.stop(0).wait()
    executor.shutdown()


@pytest.fixture
def gateway(streams: Streams) -> Streams:
    """Connect the clients to the streams."""
    return streams


def taken(sent: SubmitJobsRequest) -> SubmitJobsResponse:
    """Answer an item as the gateway does."""
    job = Job(name=f"tenants/acme/jobs/{sent.index}", request_id=sent.request.request_id)
    return SubmitJobsResponse(index=sent.index, job=job)


def refused(sent: SubmitJobsRequest, status: status_pb2.Status) -> SubmitJobsResponse:
    """Answer an item with a refusal."""
    return SubmitJobsResponse(index=sent.index, error=status)


def take_all(requests: Requests, _context: Any) -> Iterator[SubmitJobsResponse]:
    """Take every item."""
    yield from map(taken, requests)


def break_after(count: int, status: status_pb2.Status) -> Script:
    """Return a script that takes some items, and breaks when it is sent another one."""

    def play(requests: Requests, context: Any) -> Iterator[SubmitJobsResponse]:
        for number, sent in enumerate(requests):
            if number == count:
                context.abort_with_status(rpc_status.to_status(status))
            yield taken(sent)

    return play


def test_every_item_has_a_request_id_of_its_own_and_its_position(client, streams, job):
    """Without ids of the caller's, each item gets a fresh UUID, and its reply says which it was."""
    streams.scripts = [take_all]
    outcomes = dict(client.submit_many([job] * 5, parent="tenants/acme"))
    assert sorted(outcomes) == list(range(5))
    assert {uuid.UUID(text).version for text in streams.ids(0).values()} == {4}
    assert len(set(streams.ids(0).values())) == 5
    assert {i: said.request_id for i, said in outcomes.items()} == streams.ids(0)
    assert {sent.request.parent for sent in streams.arrived[0]} == {"tenants/acme"}
    assert all(sent.request.job == job for sent in streams.arrived[0])


def test_callers_own_request_stays_as_it_is(client, streams, job):
    """A whole request brings its id, its tenant and its wish to be checked only."""
    streams.scripts = [take_all]
    own = SubmitJobRequest(
        job=job, request_id=str(uuid.uuid4()), parent="tenants/globex", validate_only=True
    )
    list(client.submit_many([own, SubmitJobRequest(job=job)], parent="tenants/acme"))
    first, second = (sent.request for sent in streams.arrived[0])
    assert first == own
    assert (second.parent, second.validate_only) == ("tenants/acme", False)
    assert uuid.UUID(second.request_id)


def test_nothing_to_submit_ends_at_once(client, streams):
    """No items, no outcomes, no error."""
    streams.scripts = [take_all]
    assert list(client.submit_many([])) == []


def test_refused_item_is_an_outcome_among_others(client, streams, job, refuse):
    """Its error has the kind, the details and the request_id that a single submit's would have."""
    bad = refuse(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", decision_id="d-1")
    lost = refuse(grpc.StatusCode.UNKNOWN, "SUBMIT_OUTCOME_UNKNOWN")

    def play(requests: Requests, _context: Any) -> Iterator[SubmitJobsResponse]:
        answers = [taken, lambda sent: refused(sent, bad), lambda sent: refused(sent, lost)]
        for sent in requests:
            yield answers[sent.index](sent)

    streams.scripts = [play]
    outcomes = dict(client.submit_many([job] * 3))
    assert isinstance(outcomes[0], Job)
    assert isinstance(outcomes[1], InvalidRequest)
    assert (outcomes[1].code, outcomes[1].decision_id) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "d-1",
    )
    assert outcomes[1].request_id == streams.ids(0)[1]
    assert isinstance(outcomes[2], OutcomeUnknown)
    assert len(streams.arrived[0]) == 3


def test_item_that_met_an_unavailable_service_is_sent_again(client, streams, job, unavailable):
    """On the same stream, with the same id, until it is taken."""

    def play(requests: Requests, _context: Any) -> Iterator[SubmitJobsResponse]:
        seen: list[int] = []
        for sent in requests:
            seen.append(sent.index)
            first = sent.index == 1 and seen.count(1) < 3
            yield refused(sent, unavailable) if first else taken(sent)

    streams.scripts = [play]
    outcomes = dict(client.submit_many([job] * 3))
    assert all(isinstance(said, Job) for said in outcomes.values())
    assert sorted(sent.index for sent in streams.arrived[0]) == [0, 1, 1, 1, 2]
    assert len({sent.request.request_id for sent in streams.arrived[0]}) == 3
    assert len(streams.arrived) == 1


def test_item_is_given_up_as_a_single_submit_is(client, streams, job, unavailable):
    """After four attempts the error is its outcome, with the id that makes going on safe."""

    def play(requests: Requests, _context: Any) -> Iterator[SubmitJobsResponse]:
        for sent in requests:
            yield refused(sent, unavailable)

    streams.scripts = [play]
    ((index, error),) = client.submit_many([job])
    assert index == 0
    assert isinstance(error, Unavailable)
    assert error.request_id == streams.ids(0)[0]
    assert len(streams.arrived[0]) == 4


def test_what_has_no_reply_is_sent_again_over_a_new_stream(client, streams, job, unavailable):
    """A broken stream costs repeats of what it left open, under the same request ids."""
    streams.scripts = [break_after(2, unavailable), break_after(0, unavailable), take_all]
    outcomes = dict(client.submit_many([job] * 6))
    assert sorted(outcomes) == list(range(6))
    assert {i: said.request_id for i, said in outcomes.items()} == {
        **streams.ids(0),
        **streams.ids(1),
        **streams.ids(2),
    }
    assert sorted(streams.ids(2)) == [2, 3, 4, 5]
    for earlier in (0, 1):
        for index, request_id in streams.ids(earlier).items():
            assert outcomes[index].request_id == request_id


def test_stream_that_is_closed_before_its_end_is_gone_on_with(client, streams, job):
    """A gateway that ends a stream in good order has not answered what it did not answer."""

    def close_early(requests: Requests, _context: Any) -> Iterator[SubmitJobsResponse]:
        yield taken(next(requests))

    streams.scripts = [close_early, take_all]
    outcomes = dict(client.submit_many([job] * 3))
    assert sorted(outcomes) == [0, 1, 2]
    assert sorted(streams.ids(1)) == [1, 2]


def test_a_reply_that_comes_twice_is_one_outcome(client, streams, job):
    """Of an item that was sent twice, the first reply counts."""

    def twice(requests: Requests, _context: Any) -> Iterator[SubmitJobsResponse]:
        for sent in requests:
            yield taken(sent)
            yield taken(sent)

    streams.scripts = [twice]
    assert sorted(index for index, _ in client.submit_many([job] * 3)) == [0, 1, 2]


def test_stream_that_is_refused_is_not_tried_again(client, streams, job, refuse):
    """The gateway's reason comes through, however much was being written when it came."""
    streams.refusal = refuse(grpc.StatusCode.UNAUTHENTICATED, "NOT_AUTHENTICATED")
    with pytest.raises(NotAuthenticated) as caught:
        list(client.submit_many([job] * 100))
    assert caught.value.reason == "NOT_AUTHENTICATED"


def test_failure_for_good_names_every_item_that_has_no_reply(client, streams, job, refuse):
    """Each is an outcome with its own request id; then the error itself is raised."""

    def play(requests: Requests, context: Any) -> Iterator[SubmitJobsResponse]:
        yield taken(next(requests))
        next(requests)
        streams.refusal = refuse(grpc.StatusCode.UNAUTHENTICATED, "NOT_AUTHENTICATED")
        context.abort_with_status(rpc_status.to_status(streams.refusal))

    streams.scripts = [play]
    outcomes: dict[int, Any] = {}
    with pytest.raises(NotAuthenticated):
        outcomes.update(client.submit_many([job] * 3))
    assert isinstance(outcomes[0], Job)
    rest = {index: said for index, said in outcomes.items() if index}
    assert all(isinstance(said, NotAuthenticated) for said in rest.values())
    known = {index: said.request_id for index, said in rest.items()}
    assert known.items() >= {i: text for i, text in streams.ids(0).items() if i}.items()
    assert len(set(known.values())) == len(known)


def test_time_that_is_over_ends_all_of_it(client, streams, job):
    """The deadline is one for all streams and items."""

    def never(requests: Requests, context: Any) -> Iterator[SubmitJobsResponse]:
        over = threading.Event()
        context.add_callback(over.set)
        for sent in requests:
            if sent.index:
                over.wait(30)
            yield taken(sent)

    streams.scripts = [never]
    outcomes: dict[int, Any] = {}
    with pytest.raises(DeadlineExceeded):
        outcomes.update(client.submit_many([job] * 2, timeout_seconds=0.5))
    assert isinstance(outcomes[0], Job)
    assert isinstance(outcomes[1], TimeoutError)
    assert outcomes[1].request_id == streams.ids(0)[1]


def test_error_of_the_callers_iterable_comes_after_the_replies(client, streams, job):
    """What was sent is answered first, and then the caller gets its own error."""
    streams.scripts = [take_all]
    outcomes: dict[int, Any] = {}

    def jobs() -> Iterator[Job]:
        yield job
        yield job
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        outcomes.update(client.submit_many(jobs()))
    assert sorted(outcomes) == [0, 1]


def test_no_more_items_are_read_than_the_window_has_room_for(client, streams, job):
    """However long the replies take, an endless iterable is read only so far ahead."""
    full = threading.Event()
    read: list[int] = []

    def hold(requests: Requests, _context: Any) -> Iterator[SubmitJobsResponse]:
        held = [next(requests) for _ in range(WINDOW)]
        full.set()
        yield from map(taken, held)
        yield from map(taken, requests)

    def jobs() -> Iterator[Job]:
        for number in range(2 * WINDOW):
            if not full.is_set():
                read.append(number)
            yield job

    streams.scripts = [hold]
    assert len(list(client.submit_many(jobs()))) == 2 * WINDOW
    # One more is in the reader's hand.
    assert len(read) <= WINDOW + 1


def test_leaving_early_ends_the_call(client, streams, job):
    """The gateway sees the call cancelled when the caller stops listening."""
    left = threading.Event()

    def play(requests: Requests, context: Any) -> Iterator[SubmitJobsResponse]:
        context.add_callback(left.set)
        yield taken(next(requests))
        left.wait(10)

    streams.scripts = [play]
    with closing(client.submit_many(iter(lambda: job, None))) as outcomes:
        assert next(outcomes)[0] == 0
    assert left.wait(10)


def test_replies_are_handed_out_while_the_next_item_is_waited_for(streams, job):
    """A caller that makes its next job of the last one's outcome is not held up."""
    streams.scripts = [take_all]
    answered = threading.Semaphore(0)

    def jobs() -> Iterator[Job]:
        yield job
        for _ in range(3):
            assert answered.acquire(timeout=10)
            yield job

    with Client(streams.target) as client:
        for _ in client.submit_many(jobs()):
            answered.release()
    assert len(streams.arrived[0]) == 4


async def test_asynchronous_items_and_replies_take_turns(streams, job):
    """The same with an asynchronous iterable, such as a queue that waits for what was answered."""
    streams.scripts = [take_all]
    answered = asyncio.Semaphore(0)

    async def jobs():
        yield job
        for _ in range(3):
            await asyncio.wait_for(answered.acquire(), 10)
            yield job

    async with AsyncClient(streams.target) as client:
        async for _ in client.submit_many(jobs()):
            answered.release()
    assert len(streams.arrived[0]) == 4
