"""Get, list, watch and cancel."""

from __future__ import annotations

import asyncio

import grpc
from tests.integration.world import a_world, cover, refused, until

from imsgateway.v1 import job_pb2, job_service_pb2

State = job_pb2.Job
pb = job_service_pb2


async def test_watch_begins_with_the_present_state_and_ends_with_the_terminal_one(world):
    """A watcher sees each state once, in order."""
    job = await world.acme.submit(cover())
    states = [update.job.state async for update in _watch(world, job.name)]
    order = [State.STATE_QUEUED, State.STATE_RUNNING, State.STATE_SUCCEEDED]
    assert states == [state for state in order if state in states]
    assert states[-1] == State.STATE_SUCCEEDED
    again = [update.job.state async for update in _watch(world, job.name)]
    assert again == [State.STATE_SUCCEEDED]


def _watch(world, name):
    return world.acme.jobs.WatchJob(pb.WatchJobRequest(name=name))


async def test_list_pages_through_all_jobs_newest_first(world):
    """Pages neither repeat nor lose a job."""
    submitted = [(await world.acme.submit(cover())).name for _ in range(7)]
    seen = []
    request = pb.ListJobsRequest(page_size=3)
    sizes = []
    while True:
        page = await world.acme.jobs.ListJobs(request)
        seen += [job.name for job in page.jobs]
        sizes.append(len(page.jobs))
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == submitted[::-1]
    assert sizes == [3, 3, 1]


async def test_page_token_of_another_tenant_or_of_nothing_is_refused(world):
    """A token is bound to the list it came from."""
    for _ in range(2):
        await world.acme.submit(cover())
    page = await world.acme.jobs.ListJobs(pb.ListJobsRequest(page_size=1))
    for token in (page.next_page_token, "nonsense", "WzFd"):
        call = world.globex.jobs.ListJobs(pb.ListJobsRequest(page_token=token))
        answer = await refused(call)
        assert (answer.code, answer.paths) == (grpc.StatusCode.INVALID_ARGUMENT, ["page_token"])


async def test_foreign_job_and_missing_job_are_the_same(world):
    """Neither name, nor id alone, nor code, nor text tells a foreign job from none."""
    job = await world.acme.submit(cover())
    job_id = job.name.rpartition("/")[2]
    names = [job.name, f"tenants/globex/jobs/{job_id}", "tenants/globex/jobs/none"]
    for rpc, request in (
        ("GetJob", pb.GetJobRequest),
        ("CancelJob", pb.CancelJobRequest),
    ):
        answers = []
        for name in names:
            answer = await refused(getattr(world.globex.jobs, rpc)(request(name=name)))
            answers.append((answer.code, answer.reason, answer.message))
        assert set(answers) == {(grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", "no such job")}
    for name in names:
        answer = await refused(world.globex.jobs.WatchJob(pb.WatchJobRequest(name=name)).read())
        assert answer.reason == "JOB_NOT_FOUND"
    assert [job async for job in world.globex.list()] == []


async def test_cancelled_job_ends_cancelled(tmp_path):
    """A cancellation is passed on, and the job ends as the service says."""
    async with a_world(tmp_path, job_seconds=600) as world:
        job = await world.acme.submit(cover())
        cancelling = await world.acme.cancel(job.name)
        assert cancelling.state == State.STATE_CANCELLING
        done = await world.acme.wait(job.name, timeout_seconds=30)
        assert done.state == State.STATE_CANCELLED
        assert (await world.acme.cancel(job.name)).state == State.STATE_CANCELLED


async def test_job_whose_submit_is_not_settled_cannot_be_cancelled(world):
    """There is nothing upstream yet that could be named."""
    world.fault("hang")
    waiting = asyncio.ensure_future(world.acme.submit(cover()))
    await until(lambda: world.emulator.hanging)
    (job,) = [job async for job in world.acme.list()]
    answer = await refused(world.acme.jobs.CancelJob(pb.CancelJobRequest(name=job.name)))
    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_STATE")
    world.emulator.release()
    await waiting


async def test_reading_needs_a_grant_of_its_own(tmp_path):
    """A caller that may only submit can neither read nor list nor cancel."""
    grants = [
        {
            "subject": "key/robot",
            "actions": ["submit"],
            "read": ["oss://acme-media/*"],
            "write": ["oss://acme-media/*"],
        }
    ]
    async with a_world(tmp_path, acme={"grants": grants}) as world:
        job = await world.acme.submit(cover())
        calls = (
            world.acme.jobs.GetJob(pb.GetJobRequest(name=job.name)),
            world.acme.jobs.ListJobs(pb.ListJobsRequest()),
            world.acme.jobs.CancelJob(pb.CancelJobRequest(name=job.name)),
            world.acme.jobs.WatchJob(pb.WatchJobRequest(name=job.name)).read(),
        )
        for call in calls:
            answer = await refused(call)
            assert (answer.reason, answer.metadata["dimension"]) == ("POLICY_DENIED", "ACTION")
