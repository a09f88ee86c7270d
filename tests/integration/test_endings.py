"""Every way in which a sent submit can end, and what it leaves in the ledger."""

from __future__ import annotations

import asyncio
import socket
import uuid

import grpc
import pytest

from imsgateway.v1 import job_pb2, job_service_pb2
from tests.integration.world import a_world, cover, refused, until

Submit = job_service_pb2.SubmitJobRequest
State = job_pb2.Job
UNKNOWN = {
    "a server error": ("server_error", {}),
    "a page from a proxy": ("bad_gateway_html", {}),
    "an empty answer": ("empty_200", {}),
    "an answer without a job id": ("no_job_id", {}),
    "an accepted job without its id": ("accepted_no_job_id", {}),
    "garbage": ("garbage", {}),
    "a closed connection": ("drop", {}),
    "a closed connection after acceptance": ("accept_then_drop", {}),
    "no answer": ("hang", {}),
    "no answer after acceptance": ("accept_then_hang", {}),
}


async def the_only_job(world):
    """Return the one job of the tenant, as its list shows it."""
    jobs = [job async for job in world.acme.list()]
    assert len(jobs) == 1
    return jobs[0]


@pytest.mark.parametrize("kind", UNKNOWN)
async def test_unclear_answer_is_unknown_held_and_never_sent_again(tmp_path, kind):
    """Nobody knows whether the job exists: its quota stays held, and a repeat sends nothing."""
    fault, more = UNKNOWN[kind]
    async with a_world(tmp_path, settings={"submit_timeout_seconds": 0.5}) as world:
        world.fault(fault, **more)
        request = Submit(job=cover(), request_id=str(uuid.uuid4()))
        for _ in range(2):
            answer = await refused(world.acme.jobs.SubmitJob(request))
            assert (answer.code, answer.reason) == (
                grpc.StatusCode.UNKNOWN,
                "SUBMIT_OUTCOME_UNKNOWN",
            )
            job = await the_only_job(world)
            assert job.state == State.STATE_SUBMIT_UNKNOWN
            assert answer.details["ResourceInfo"].resource_name == job.name
        assert world.sent == 1
        assert world.used() == 1
        assert world.rows("SELECT state FROM holds") == [("held",)]
        world.emulator.release()


@pytest.mark.parametrize(
    ("fault", "state", "replays"),
    [("drop", State.STATE_QUEUED, 0), ("accept_then_drop", State.STATE_SUBMIT_UNKNOWN, 1)],
)
async def test_resend_of_the_same_bytes_makes_no_second_job(tmp_path, fault, state, replays):
    """Where an account is set to resend, the nonce guard decides: taken once, or still unknown."""
    async with a_world(tmp_path, account={"resend_unknown": True}) as world:
        world.fault(fault)
        call = world.acme.jobs.SubmitJob(Submit(job=cover()))
        if state == State.STATE_SUBMIT_UNKNOWN:
            assert (await refused(call)).reason == "SUBMIT_OUTCOME_UNKNOWN"
        else:
            await call
        assert (await the_only_job(world)).state == state
        assert len(world.emulator.jobs) == 1
        assert world.sent == 2
        counts = world.emulator.counts.of("SubmitIProductionJob")
        assert counts.nonce_replays == replays


async def test_waiting_submit_is_dispatched_when_its_place_is_free(tmp_path):
    """A job that had to wait for a place says so in its record, and is sent."""
    async with a_world(tmp_path, account={"max_in_flight": 1}) as world:
        world.fault("hang")
        first = asyncio.ensure_future(world.acme.submit(cover()))
        await until(lambda: world.emulator.hanging)
        second = asyncio.ensure_future(world.acme.submit(cover()))
        await until(lambda: len(world.rows("SELECT 1 FROM jobs")) == 2)
        dispatched = "SELECT COUNT(*) FROM jobs WHERE dispatch_time IS NOT NULL"
        assert world.rows(dispatched) == [(1,)]
        world.emulator.release()
        await asyncio.gather(first, second)
        steps = [step["step"] for step in world.records[-1]["steps"]]
        assert steps[3:] == ["admit", "wait", "dispatch", "translate", "send", "settle"]
        assert world.rows(dispatched) == [(2,)]


async def test_throttled_submit_returns_its_quota_and_may_be_repeated(world):
    """A throttle surely did not count: the same request id is sent again, and succeeds."""
    world.fault("throttle", retry_after_ms=2500)
    request = Submit(job=cover(), request_id=str(uuid.uuid4()))
    answer = await refused(world.acme.jobs.SubmitJob(request))
    assert (answer.code, answer.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_THROTTLED")
    assert answer.details["RetryInfo"].retry_delay.ToMilliseconds() == 2500
    assert (await the_only_job(world)).state == State.STATE_REJECTED
    assert world.used() == 0
    assert world.rows("SELECT state FROM holds") == [("released",)]
    accepted = (await world.acme.jobs.SubmitJob(request)).job
    assert accepted.state == State.STATE_QUEUED
    assert world.used() == 1


async def test_client_repeats_a_throttled_submit_with_its_request_id(world):
    """The Python client needs no help to get a throttled job through."""
    world.fault("throttle", retry_after_ms=10)
    job = await world.acme.submit(cover())
    assert job.state == State.STATE_QUEUED
    assert len(world.emulator.jobs) == 1


async def test_refused_job_returns_its_quota_and_shows_the_services_reason(world):
    """The caller gets the service's code and request id; nothing stays held."""
    world.fault("refuse", code="Forbidden.RAM", message="no right to it")
    answer = await refused(world.acme.jobs.SubmitJob(Submit(job=cover())))
    assert (answer.code, answer.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "UPSTREAM_REFUSED",
    )
    assert answer.metadata["upstream_code"] == "Forbidden.RAM"
    assert answer.metadata["upstream_request_id"]
    job = await the_only_job(world)
    assert job.state == State.STATE_REJECTED
    assert job.failure.code == "Forbidden.RAM"
    assert world.used() == 0


async def test_unreachable_service_returns_the_quota(tmp_path):
    """A refused connection surely reached nobody."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{unused.getsockname()[1]}"
        account = {"endpoint": endpoint, "scheme": "http", "ca_file": None}
        async with a_world(tmp_path, account=account) as world:
            answer = await refused(world.acme.jobs.SubmitJob(Submit(job=cover())))
            assert (answer.code, answer.reason) == (
                grpc.StatusCode.UNAVAILABLE,
                "UPSTREAM_UNREACHABLE",
            )
            assert world.used() == 0


@pytest.mark.parametrize("ending", ["hang-up", "deadline"])
async def test_submit_is_settled_although_its_caller_is_gone(world, ending):
    """A caller that hangs up or runs out of time cancels the handler, not the paid call."""
    world.fault("accept_then_hang")
    request = Submit(job=cover(), request_id=str(uuid.uuid4()))
    call = world.acme.jobs.SubmitJob(request, timeout=None if ending == "hang-up" else 0.5)
    waiting = asyncio.ensure_future(call)
    await until(lambda: world.emulator.hanging)
    if ending == "hang-up":
        call.cancel()
    with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
        await waiting
    assert (await the_only_job(world)).state == State.STATE_SUBMITTING
    world.emulator.release()
    job = (await world.acme.jobs.SubmitJob(request)).job
    assert job.state == State.STATE_QUEUED
    assert job.upstream_job_id == world.emulator.jobs[0].job_id
    assert world.sent == 1
    assert world.used() == 1


async def test_deadline_is_recorded_as_what_it_is(world):
    """The record of an expired call says DEADLINE_EXCEEDED, that of a cancelled one CANCELLED."""
    world.fault("hang")
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await world.acme.jobs.SubmitJob(Submit(job=cover()), timeout=0.3)
    assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: world.records)
    assert world.records[-1]["code"] == "DEADLINE_EXCEEDED"
    world.emulator.release()


async def test_no_job_is_sent_that_nobody_waits_for(tmp_path):
    """With the account's one place taken, a caller whose time runs out is never sent."""
    async with a_world(tmp_path, account={"max_in_flight": 1}) as world:
        world.fault("hang")
        first = asyncio.ensure_future(world.acme.jobs.SubmitJob(Submit(job=cover())))
        await until(lambda: world.emulator.hanging)
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await world.globex.jobs.SubmitJob(
                Submit(job=cover("oss://globex-media/in.mp4")), timeout=0.3
            )
        assert late.value.code() in (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.StatusCode.UNAVAILABLE,
        )
        world.emulator.release()
        await first

        async def rejected():
            return [job.state async for job in world.globex.list()] == [State.STATE_REJECTED]

        await until(rejected)
        assert world.sent == 1
        assert world.rows("SELECT used FROM counters WHERE tenant = 'globex'") == [(0,)]


@pytest.mark.parametrize(
    ("fault", "state", "code"),
    [
        ("fail", State.STATE_FAILED, "JOB_FAILED"),
        ("success_with_error_file", State.STATE_FAILED, "OUTPUT_NOT_WRITTEN"),
        ("analysing_spelling", State.STATE_SUCCEEDED, ""),
        ("unknown_status", State.STATE_SUCCEEDED, ""),
    ],
)
async def test_end_of_a_job_is_told_as_it_is(world, fault, state, code):
    """A Success whose file is an error sentence is a failure; unknown states are passed through."""
    world.fault(fault)
    job = await world.acme.submit(cover())
    done = await world.acme.wait(job.name, timeout_seconds=30)
    assert done.state == state
    assert done.failure.code == code


@pytest.mark.parametrize(
    ("dispatch_time", "state", "used"),
    [("1", State.STATE_SUBMIT_UNKNOWN, 1), ("NULL", State.STATE_REJECTED, 0)],
)
async def test_intent_of_a_dead_process_is_closed_by_its_lease(world, dispatch_time, state, used):
    """One that may have been sent is unknown; one that surely was not gives its quota back."""
    world.fault("hang")
    waiting = asyncio.ensure_future(world.acme.submit(cover()))
    await until(lambda: world.emulator.hanging)
    job = await the_only_job(world)
    world.rows(f"UPDATE jobs SET lease_until = 1, dispatch_time = {dispatch_time} RETURNING 1")  # noqa: S608 - our own words
    await world.gateway.tracker.poll_due()
    assert (await world.acme.get(job.name)).state == state
    assert world.used() == used
    waiting.cancel()
    world.emulator.release()
