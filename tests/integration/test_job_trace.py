"""What a job's owner is told of its way: the submit's steps, and every state with its time."""

from __future__ import annotations

import asyncio
import uuid
from itertools import pairwise

import grpc
import pytest

from ims_gateway_client import GatewayError, UpstreamRefused
from imsgateway.v1 import job_pb2, job_service_pb2
from tests.integration.test_resolution import WINDOW_SECONDS, a_desk
from tests.integration.world import a_world, cover, refused, until

State = job_pb2.Job
Submit = job_service_pb2.SubmitJobRequest
STEPS = ["authenticate", "validate", "authorize", "admit", "translate", "send", "settle"]


def states(trace):
    """Return the states that a job came to, in their order."""
    return [State.State.Name(change.state).removeprefix("STATE_") for change in trace.changes]


def step(trace, name):
    """Return the step of that name."""
    return next(each for each in trace.submit.steps if each.name == name)


async def the_only_job(world):
    """Return the one job of the tenant, as its list shows it."""
    (job,) = [job async for job in world.acme.list()]
    return job


async def test_a_job_that_went_well_is_told_from_call_to_result(world):
    """With the steps of its submit, what was decided in them, and each state."""
    job = await world.acme.submit(cover())
    await world.acme.wait(job.name, timeout_seconds=30)
    trace = await world.acme.trace(job.name)
    (record,) = [record for record in world.records if record["job"] == job.name][:1]

    assert (trace.name, trace.algorithm) == (f"{job.name}/trace", "cover")
    assert trace.state == State.STATE_SUCCEEDED
    assert (trace.decision_id, trace.trace_id) == (record["decision_id"], record["trace_id"])
    assert trace.submit.code == "OK"
    assert [each.name for each in trace.submit.steps] == STEPS
    begins = [each.start_offset.ToMicroseconds() for each in trace.submit.steps]
    assert begins == sorted(begins)
    last = trace.submit.steps[-1]
    ended = last.start_offset.ToMicroseconds() + last.duration.ToMicroseconds()
    assert ended <= trace.submit.duration.ToMicroseconds()
    assert step(trace, "authorize").attributes["imsgateway.rule"] == "acme.yaml#grants[0]"
    assert step(trace, "admit").attributes["imsgateway.quota.outcome"] == "committed"
    left = [(each.limit_id, each.remaining) for each in step(trace, "admit").limits]
    assert left == [("burst", 9_999), ("daily", 999)]
    request_id = step(trace, "send").attributes["imsgateway.upstream.request_id"]
    assert request_id == record["upstream_request_id"]
    assert states(trace)[:2] == ["SUBMITTING", "QUEUED"]
    assert states(trace)[-1] == "SUCCEEDED"
    times = [change.time.ToMicroseconds() for change in trace.changes]
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert [change.cause for change in trace.changes][:2] == ["submit", "accepted"]
    assert not trace.HasField("next_poll_time")


async def test_who_has_just_submitted_finds_the_record_at_once(world):
    """Though records are written once a second; and an open job says when it is asked about."""
    for _ in range(5):
        job = await world.acme.submit(cover())
        trace = await world.acme.trace(job.name)
        assert trace.HasField("submit")
        assert trace.HasField("next_poll_time") == (trace.state != State.STATE_SUCCEEDED)


async def test_a_job_of_a_stream_has_a_trace_like_any_other(world):
    """An item is a call of its own."""
    [(_, job)] = [outcome async for outcome in world.acme.submit_many([cover()])]
    trace = await world.acme.trace(job.name)
    assert [each.name for each in trace.submit.steps] == STEPS[1:]


async def test_a_rejected_job_says_where_it_ended(world):
    """At the service, with its code; what it took of the limits is back."""
    world.fault("refuse", code="Forbidden.RAM", message="no right to it")
    with pytest.raises(UpstreamRefused):
        await world.acme.submit(cover())
    trace = await world.acme.trace((await the_only_job(world)).name)

    assert states(trace) == ["SUBMITTING", "REJECTED"]
    assert trace.failure.code == "Forbidden.RAM"
    assert (trace.submit.code, trace.submit.reason) == ("FAILED_PRECONDITION", "UPSTREAM_REFUSED")
    assert step(trace, "send").outcome == "AccountRefused"
    assert step(trace, "admit").attributes["imsgateway.quota.outcome"] == "released"


async def test_a_repeated_call_changes_nothing_of_what_happened(world):
    """The trace is that of the call which made the job."""
    request_id = str(uuid.uuid4())
    job = await world.acme.submit(cover(), request_id=request_id)
    before = await world.acme.trace(job.name)
    assert (await world.acme.submit(cover(), request_id=request_id)).name == job.name
    after = await world.acme.trace(job.name)
    assert after.submit == before.submit
    assert [each.name for each in after.submit.steps] == STEPS


async def test_words_for_operators_stay_with_them(tmp_path):
    """Neither the fault of the network nor an operator's name is in the owner's trace."""
    async with a_desk(tmp_path, settings={"submit_timeout_seconds": 2}, job_seconds=600) as desk:
        job = await desk.unknown()
        trace = await desk.world.acme.trace(job.name)
        assert states(trace) == ["SUBMITTING", "SUBMIT_UNKNOWN"]
        assert step(trace, "send").outcome == "OutcomeUnknown"
        assert desk.last_cause(job.name).startswith("SubmitIProductionJob: ")
        assert [change.cause for change in trace.changes] == ["submit", ""]
        desk.age(job.name, WINDOW_SECONDS + 3600)
        await desk.resolve(job.name, never_created={})
        trace = await desk.world.acme.trace(job.name)
        assert [change.cause for change in trace.changes] == [
            "submit",
            "",
            "resolved by an operator",
        ]
        assert "alice" not in str(trace)


async def test_without_its_record_a_job_still_has_its_states(world):
    """Only the latest decisions are kept; the ledger says when a job was sent, and moved."""
    job = await world.acme.submit(cover())
    await world.acme.trace(job.name)
    world.rows("DELETE FROM decisions")
    trace = await world.acme.trace(job.name)
    assert not trace.HasField("submit")
    assert trace.HasField("dispatch_time")
    assert trace.trace_id
    assert states(trace)[:2] == ["SUBMITTING", "QUEUED"]


async def test_what_goes_on_after_a_hang_up_is_in_the_states(world):
    """The record ends with the call, the submit does not."""
    world.fault("accept_then_hang")
    call = world.acme.jobs.SubmitJob(Submit(job=cover()))
    waiting = asyncio.ensure_future(call)
    await until(lambda: world.emulator.hanging)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: world.records)
    job = await the_only_job(world)
    trace = await world.acme.trace(job.name)
    assert (trace.submit.code, trace.state) == ("CANCELLED", State.STATE_SUBMITTING)
    assert "send" not in [each.name for each in trace.submit.steps]
    assert trace.HasField("dispatch_time")
    world.emulator.release()
    await world.acme.wait(job.name, timeout_seconds=30)
    assert "QUEUED" in states(await world.acme.trace(job.name))


async def test_a_trace_needs_what_getting_the_job_needs(make_world):
    """No grant for get, no trace; and a name that is none is told so."""
    grant = {"subject": "role/editor", "actions": ["submit", "list"], "read": ["*"], "write": ["*"]}
    async with make_world(acme={"grants": [grant | {"algorithms": ["*"]}]}) as world:
        job = await world.acme.submit(cover())
        with pytest.raises(GatewayError) as denied:
            await world.acme.trace(job.name)
        assert denied.value.reason == "POLICY_DENIED"
        request = job_service_pb2.GetJobTraceRequest(name=job.name)
        answer = await refused(world.acme.jobs.GetJobTrace(request))
        assert (answer.code, answer.paths) == (grpc.StatusCode.INVALID_ARGUMENT, ["name"])


async def test_a_replica_tells_of_a_job_of_another(tmp_path):
    """All of it is in the ledger."""
    async with a_world(tmp_path) as world, world.replica() as other:
        job = await world.acme.submit(cover())
        await world.acme.trace(job.name)
        trace = await other.acme.trace(job.name)
        assert [each.name for each in trace.submit.steps] == STEPS
