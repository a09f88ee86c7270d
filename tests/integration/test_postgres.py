"""Two replicas on one PostgreSQL, and a PostgreSQL that stands still."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections import Counter

import grpc
import pytest

from imsgateway.v1 import job_pb2, job_service_pb2
from tests.integration.world import a_world, answer_of, cover, until

Submit = job_service_pb2.SubmitJobRequest
Get = job_service_pb2.GetJobRequest
Watch = job_service_pb2.WatchJobRequest
State = job_pb2.Job
HELD = "SELECT COUNT(*) FROM holds WHERE state <> 'released' AND tenant = 'acme'"
FREEZE_SECONDS = 10
PATIENCE_SECONDS = 1.0


@pytest.fixture
def url(postgresql):
    """Return the URL of a ledger in PostgreSQL."""
    return postgresql.new_database()


async def outcome(call):
    """Return what a call gave, or the answer with which it was refused."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        return answer_of(error)


async def test_racing_submits_of_one_request_id_over_two_replicas_reach_the_service_once(
    tmp_path, url
):
    """Two hundred callers at two gateways get one job."""
    request = Submit(job=cover(), request_id=str(uuid.uuid4()))
    async with a_world(tmp_path, database_url=url) as world, world.replica() as other:
        calls = ((world, other)[number % 2].acme.jobs.SubmitJob(request) for number in range(200))
        answers = await asyncio.gather(*calls)

        assert len({answer.job.name for answer in answers}) == 1
        assert {answer.job.upstream_job_id for answer in answers} == {world.emulator.jobs[0].job_id}
        assert world.sent == 1
        assert world.used() == 1


async def test_racing_submits_over_two_replicas_never_overspend(tmp_path, url):
    """Of two hundred, the limit's fifty reach the service; the counter is what the jobs hold."""
    limits = [
        {"id": "burst", "kind": "rate", "per_second": 10_000, "burst": 10_000},
        {"id": "daily", "kind": "day", "max": 50},
    ]
    async with (
        a_world(tmp_path, acme={"limits": limits}, database_url=url) as world,
        world.replica() as other,
    ):
        calls = (
            outcome((world, other)[number % 2].acme.jobs.SubmitJob(Submit(job=cover())))
            for number in range(200)
        )
        answers = await asyncio.gather(*calls)

        reasons = Counter(getattr(answer, "reason", "accepted") for answer in answers)
        assert reasons == {"accepted": 50, "QUOTA_EXCEEDED": 150}
        assert world.sent == len(world.emulator.jobs) == 50
        assert world.rows(HELD) == [(50,)]
        assert world.used() == 50


async def test_rejections_over_two_replicas_return_exactly_what_was_taken(tmp_path, url):
    """Jobs of two tenants are refused at both gateways at once: nobody waits in a circle."""
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    async with a_world(tmp_path, database_url=url) as world, world.replica() as other:
        world.fault("refuse", code="InvalidParameter", times=None)
        calls = []
        for number in range(200):
            at = (world, other)[number % 2]
            tenant = ("acme", "globex")[number // 2 % 2]
            job = cover(f"oss://{tenant}-media/in.mp4")
            calls.append(outcome(at.clients[tenant].jobs.SubmitJob(Submit(job=job))))
        answers = await asyncio.gather(*calls)

        assert {answer.reason for answer in answers} == {"UPSTREAM_REFUSED"}
        assert world.rows("SELECT SUM(used) FROM counters") == [(0,)]
        assert world.rows("SELECT DISTINCT state FROM holds") == [("released",)]
        assert world.rows(deadlocks) == [(0,)]


async def test_watch_at_one_replica_sees_the_job_that_the_other_tracks(tmp_path, url):
    """The watcher's own gateway polls nothing in this time."""
    async with (
        a_world(tmp_path, database_url=url, job_seconds=0.5) as world,
        world.replica(poll_interval_seconds=60.0) as other,
    ):
        job = await world.acme.submit(cover())
        seen = [update.job async for update in other.acme.jobs.WatchJob(Watch(name=job.name))]

        assert seen[0].state in (State.STATE_QUEUED, State.STATE_RUNNING)
        assert seen[-1].state == State.STATE_SUCCEEDED
        assert len(seen[-1].cover.result.images) == 3


async def test_repeated_request_id_finds_its_job_at_another_replica_and_after_a_restart(
    tmp_path, url
):
    """It is one job, whoever answers."""
    request = Submit(job=cover(), request_id=str(uuid.uuid4()))
    async with a_world(tmp_path, database_url=url) as world:
        async with world.replica() as other:
            first = await other.acme.jobs.SubmitJob(request)
        async with world.replica() as restarted:
            again = await restarted.acme.jobs.SubmitJob(request)

        assert again.job.name == first.job.name
        assert world.sent == 1


async def test_a_server_that_is_restarted_is_not_noticed(tmp_path, url, postgresql):
    """Every connection is gone, and no call fails for it."""
    async with a_world(tmp_path, database_url=url) as world:
        first = await world.acme.submit(cover())
        postgresql.hang_up()
        second = await world.acme.submit(cover())

        assert {job.name async for job in world.acme.list()} == {first.name, second.name}


async def test_frozen_postgresql_sends_nothing_fails_in_time_and_recovers(
    tmp_path, url, postgresql
):
    """For ten seconds no process of the server runs.

    Calls end as UNAVAILABLE long before their deadline, no submit is sent, and those who were told
    so get their job by repeating the call. What they had left behind holds no quota.
    """
    settings = {"database_timeout_seconds": PATIENCE_SECONDS}
    requests = [Submit(job=cover(), request_id=str(uuid.uuid4())) for _ in range(20)]
    async with (
        a_world(tmp_path, database_url=url, settings=settings) as world,
        world.replica() as other,
    ):
        job = await world.acme.submit(cover())
        sent = world.sent
        with postgresql.frozen():
            thawing = time.monotonic() + FREEZE_SECONDS
            answers = await asyncio.gather(
                *(outcome(at.acme.jobs.SubmitJob(request, timeout=FREEZE_SECONDS - 2))
                  for at in (world, other) for request in requests),
                *(outcome(at.acme.jobs.GetJob(Get(name=job.name), timeout=FREEZE_SECONDS - 2))
                  for at in (world, other)),
            )  # fmt: skip
            assert {answer.reason for answer in answers} == {"STORE_UNAVAILABLE"}
            assert {answer.code for answer in answers} == {grpc.StatusCode.UNAVAILABLE}
            # Callers go on coming, and are refused for as long as it takes.
            while time.monotonic() < thawing:
                late = await outcome(other.acme.jobs.SubmitJob(requests[0], timeout=5))
                assert late.reason == "STORE_UNAVAILABLE"
                await asyncio.sleep(0.1)
            assert world.sent == sent

        await asyncio.gather(*(accepted([world], request) for request in requests))
        assert world.sent == sent + len(requests)
        await until(lambda: books_are_right(world, len(requests) + 1))


async def accepted(worlds, request):
    """Submit, at one replica after the other, until the call gets through; return the job."""
    for world in itertools.cycle(worlds):
        answer = await outcome(world.acme.jobs.SubmitJob(request, timeout=60))
        if not hasattr(answer, "reason"):
            assert answer.job.upstream_job_id
            return answer.job
        assert answer.code is grpc.StatusCode.UNAVAILABLE
        await asyncio.sleep(0.05)
    raise AssertionError


def books_are_right(world, jobs):
    """Say whether this many jobs were sent, all are settled, and nothing else holds quota."""
    open_intents = "SELECT COUNT(*) FROM jobs WHERE lease_until IS NOT NULL"
    return (
        len(world.emulator.jobs) == world.used() == jobs
        and world.rows(HELD) == [(jobs,)]
        and world.rows(open_intents) == [(0,)]
    )


async def test_postgresql_that_freezes_in_the_middle_of_its_work_loses_and_doubles_nothing(
    tmp_path, url, postgresql
):
    """Wherever a transaction stood, each request ends as one job, and holds are what jobs took."""
    settings = {"database_timeout_seconds": PATIENCE_SECONDS}
    requests = [Submit(job=cover(), request_id=str(uuid.uuid4())) for _ in range(200)]
    async with (
        a_world(tmp_path, database_url=url, settings=settings) as world,
        world.replica() as other,
    ):
        worlds = [world, other]
        calls = [
            asyncio.create_task(accepted(worlds[:: (-1) ** number], request))
            for number, request in enumerate(requests)
        ]
        for share in (20, 60, 100):
            await until(lambda share=share: world.sent >= share)
            with postgresql.frozen():
                await asyncio.sleep(1.5 * PATIENCE_SECONDS)
        jobs = await asyncio.gather(*calls)

        assert len({job.name for job in jobs}) == len(requests)
        await until(lambda: books_are_right(world, len(requests)))


async def test_submit_that_is_under_way_when_postgresql_freezes_is_settled_afterwards(
    tmp_path, url, postgresql
):
    """The service has taken the job: the gateway writes that down as soon as it can."""
    settings = {"database_timeout_seconds": PATIENCE_SECONDS}
    async with a_world(tmp_path, database_url=url, settings=settings) as world:
        world.fault("accept_then_hang")
        call = asyncio.ensure_future(world.acme.jobs.SubmitJob(Submit(job=cover())))
        await until(lambda: world.emulator.hanging)
        with postgresql.frozen():
            world.emulator.release()
            # Longer than one try to write takes.
            await asyncio.sleep(2 * PATIENCE_SECONDS)
            assert not call.done()
        job = (await call).job

        assert job.upstream_job_id == world.emulator.jobs[0].job_id
        assert world.sent == 1
