"""Get, list, watch and cancel."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from imsgateway.v1 import job_pb2, job_service_pb2
from tests.integration.world import a_world, cover, refused, until

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


async def test_watch_begins_at_any_replica_and_goes_on_at_another(tmp_path):
    """It sees the job that another process tracks, and what happened before it was resumed."""
    async with a_world(tmp_path, job_seconds=600) as world:
        job = await world.acme.submit(cover())
        async with world.replica(poll_interval_seconds=60) as other:
            watch = _watch(other, job.name)
            assert (await watch.read()).job.state == State.STATE_QUEUED
            await world.acme.cancel(job.name)
            # What a look comes too late for is not shown.
            ended = (State.STATE_CANCELLING, State.STATE_CANCELLED)
            assert (await watch.read()).job.state in ended
            watch.cancel()
            await until(lambda: len(other.gateway.watches) == 0)
            await world.acme.wait(job.name, timeout_seconds=30)
            states = [update.job.state async for update in _watch(other, job.name)]
            assert states == [State.STATE_CANCELLED]


async def test_many_watches_of_one_job_all_see_its_end(world):
    """And leave nothing behind, however they ended."""
    job = await world.acme.submit(cover())
    watches = [_watch(world, job.name) for _ in range(30)]
    # A job that is done by then is all that a watch shows.
    first = [(await watch.read()).job.state for watch in watches]
    for watch in watches[::3]:
        watch.cancel()

    async def last_of(number):
        return [first[number], *[update.job.state async for update in watches[number]]][-1]

    kept = [number for number in range(len(watches)) if number % 3]
    ends = await asyncio.gather(*map(last_of, kept))
    assert set(ends) == {State.STATE_SUCCEEDED}
    await until(lambda: len(world.gateway.watches) == 0)


async def test_shutdown_does_not_wait_for_watched_jobs(tmp_path):
    """A watch lasts as long as its job; its caller is sent to another replica."""
    async with a_world(tmp_path, job_seconds=600) as world:
        job = await world.acme.submit(cover())
        watch = _watch(world, job.name)
        await watch.read()
        async with asyncio.timeout(60):
            await world.gateway.drain(3600)
        answer = await refused(watch.read())
        assert answer.code == grpc.StatusCode.UNAVAILABLE


async def test_job_open_for_longer_than_its_limit_is_shown_as_overdue(tmp_path):
    """By every call that shows it, as long as it has not ended."""
    async with a_world(tmp_path, job_seconds=600) as world:
        job = await world.acme.submit(cover())
        assert not (await world.acme.get(job.name)).overdue
        async with world.replica(overdue_hours=1e-9) as other:
            assert (await other.acme.get(job.name)).overdue
            assert [each.overdue async for each in other.acme.list()] == [True]
            assert (await _watch(other, job.name).read()).job.overdue
            assert (await other.acme.cancel(job.name)).overdue
            done = await world.acme.wait(job.name, timeout_seconds=30)
            assert not (await other.acme.get(done.name)).overdue


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


async def test_list_shows_the_jobs_that_its_filter_asks_for(world):
    """By state, algorithm, time and label, alone and together."""
    other = job_pb2.Job(video_clip={"input": {"oss_uri": "oss://acme-media/in.mp4"}})
    first = await world.acme.submit(cover(labels={"team": "x", "stage": "one"}))
    second = await world.acme.submit(cover(labels={"team": "x"}))
    third = await world.acme.submit(other)
    names = {job.name: number for number, job in enumerate((first, second, third), 1)}
    for job in (first, second, third):
        await world.acme.wait(job.name, timeout_seconds=30)
    time = second.create_time.ToJsonString()
    for text, expected in {
        "": [3, 2, 1],
        "state = SUCCEEDED": [3, 2, 1],
        "state != SUCCEEDED": [],
        "algorithm = cover": [2, 1],
        'algorithm != "cover"': [3],
        "labels.team = x": [2, 1],
        "labels.team = x AND labels.stage = one": [1],
        "labels.team = y": [],
        f'create_time >= "{time}"': [3, 2],
        f'create_time < "{time}"': [1],
        f'state = SUCCEEDED AND create_time <= "{time}" AND algorithm = cover': [2, 1],
    }.items():
        assert [names[name] for name in await _listed(world, text)] == expected, text


async def _listed(world, text):
    """Return the names of all jobs that fit, read in pages of one."""
    request, found = pb.ListJobsRequest(filter=text, page_size=1), []
    while True:
        page = await world.acme.jobs.ListJobs(request)
        found += [job.name for job in page.jobs]
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def test_filter_never_finds_another_tenants_jobs(world):
    """Whatever it asks for."""
    await world.acme.submit(cover(labels={"team": "x"}))
    for text in ("", "labels.team = x", "state != FAILED", "algorithm = cover"):
        page = await world.globex.jobs.ListJobs(pb.ListJobsRequest(filter=text))
        assert (list(page.jobs), page.next_page_token) == ([], "")


@pytest.mark.parametrize("text", ["state = NOPE", "state =", "tenant = globex", "labels.a != b"])
async def test_filter_that_means_nothing_is_refused_with_its_place(world, text):
    """And is on record as a bad request."""
    answer = await refused(world.acme.jobs.ListJobs(pb.ListJobsRequest(filter=text)))
    assert (answer.code, answer.paths) == (grpc.StatusCode.INVALID_ARGUMENT, ["filter"])
    (violation,) = answer.details["BadRequest"].field_violations
    assert violation.description.startswith("character ")
    assert world.records[-1]["violations"] == ["filter"]


async def test_page_token_of_another_filter_is_refused(world):
    """Its position means nothing in another list; another spelling is the same list."""
    for _ in range(2):
        await world.acme.submit(cover())
    request = pb.ListJobsRequest(page_size=1, filter="algorithm = cover")
    token = (await world.acme.jobs.ListJobs(request)).next_page_token
    spelled = pb.ListJobsRequest(page_token=token, filter="algorithm='cover'")
    assert len((await world.acme.jobs.ListJobs(spelled)).jobs) == 1
    for text in ("", "algorithm != cover", "algorithm = cover AND state = SUCCEEDED"):
        call = world.acme.jobs.ListJobs(pb.ListJobsRequest(page_token=token, filter=text))
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
            "subject": "principal/robot",
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
