"""Jobs that ended long ago are forgotten; what they used, and what is not clear, is not."""

from __future__ import annotations

import uuid

import grpc

from imsgateway.v1 import job_pb2, job_service_pb2
from tests.integration.world import cover, refused, until

State = job_pb2.Job
Submit = job_service_pb2.SubmitJobRequest
# model_copy lets a test be shorter than the setting allows.
AT_ONCE = {"retention_days": 1e-9}


async def test_purged_job_is_not_found_and_its_usage_stays(world):
    """For nobody and in no list; the counter still says what was used, and the totals why."""
    ended = await world.acme.submit(cover(labels={"team": "x"}))
    await world.acme.wait(ended.name, timeout_seconds=30)
    world.fault("garbage")
    await refused(world.acme.jobs.SubmitJob(Submit(job=cover())))
    (unknown,) = [
        job.name async for job in world.acme.list() if job.state == State.STATE_SUBMIT_UNKNOWN
    ]
    async with world.replica(**AT_ONCE):

        async def purged():
            return [job.name async for job in world.acme.list()] == [unknown]

        await until(purged)
    request = job_service_pb2.GetJobRequest(name=ended.name)
    answer = await refused(world.acme.jobs.GetJob(request))
    assert (answer.code, answer.reason) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
    labelled = job_service_pb2.ListJobsRequest(filter="labels.team = x")
    assert not (await world.acme.jobs.ListJobs(labelled)).jobs
    assert world.used() == 2
    assert world.rows("SELECT used FROM totals WHERE limit_id = 'daily'") == [(1,)]
    assert world.rows("SELECT amount, state FROM holds WHERE limit_id = 'daily'") == [(1, "held")]


async def test_repeated_request_id_of_a_purged_job_is_a_new_job(world):
    """As the setting warns."""
    request = Submit(job=cover(), request_id=str(uuid.uuid4()))
    first = (await world.acme.jobs.SubmitJob(request)).job
    await world.acme.wait(first.name, timeout_seconds=30)
    assert (await world.acme.jobs.SubmitJob(request)).job.name == first.name
    async with world.replica(**AT_ONCE):
        await until(lambda: world.rows("SELECT COUNT(*) FROM jobs") == [(0,)])
    second = (await world.acme.jobs.SubmitJob(request)).job
    assert second.name != first.name
    assert world.sent == 2


async def test_without_retention_nothing_is_purged(world):
    """Zero keeps all."""
    job = await world.acme.submit(cover())
    await world.acme.wait(job.name, timeout_seconds=30)
    async with world.replica(retention_days=0) as other:
        await other.acme.wait((await other.acme.submit(cover())).name, timeout_seconds=30)
        assert len([each async for each in other.acme.list()]) == 2
