"""A submit, from the caller's wish to the service's answer, when all goes well."""

from __future__ import annotations

import asyncio
import json
import uuid

import grpc
from google.protobuf import json_format
from opentelemetry import trace

from imsgateway.v1 import job_pb2, job_service_pb2
from tests.integration.world import as_json, cover, refused

State = job_pb2.Job


async def test_accepted_job_reaches_its_end_with_a_typed_result(world):
    """A submitted cover is queued at once and ends with its images."""
    submitted = await world.acme.submit(cover(user_data="mine"))
    assert submitted.state == State.STATE_QUEUED
    assert submitted.principal == "principal/robot"
    done = await world.acme.wait(submitted.name, timeout_seconds=30)
    assert done.state == State.STATE_SUCCEEDED
    assert done.user_data == "mine"
    assert len(done.cover.result.images) == 3
    assert not any(image.download_url for image in done.cover.result.images)
    assert done.end_time.ToMicroseconds() > done.create_time.ToMicroseconds()


async def test_download_urls_are_fetched_when_asked_for_and_never_stored(world):
    """Presigned addresses come from the service at the time of the call."""
    job = await world.acme.wait((await world.acme.submit(cover())).name, timeout_seconds=30)
    fresh = await world.acme.get(job.name, include_download_urls=True)
    assert all("Signature=" in image.download_url for image in fresh.cover.result.images)
    stored = world.rows("SELECT * FROM jobs")
    assert "Signature=" not in str(stored)


async def test_default_output_is_the_tenants(world):
    """A job without an output gets one below the tenant's folder, and says so."""
    job = await world.acme.submit(cover())
    assert job.cover.output.uri == "oss://acme-media/out/{source}-{timestamp}-{sequenceId}.png"
    received = world.emulator.describe(world.emulator.jobs[0])
    assert job.cover.output.uri in as_json(received)


async def test_output_only_fields_of_a_request_are_ignored(world):
    """A caller cannot name its job, claim a state, or plant a result."""
    job = cover(name="tenants/globex/jobs/x", state=State.STATE_SUCCEEDED, upstream_job_id="x")
    job.cover.result.images.add(uri="oss://acme-media/planted.png")
    submitted = await world.acme.submit(job)
    assert submitted.name.startswith("tenants/acme/jobs/")
    assert submitted.state == State.STATE_QUEUED
    assert submitted.upstream_job_id != "x"
    assert not submitted.cover.result.images


async def test_repeated_request_id_returns_the_job_that_exists(world):
    """The same id and body is one job upstream, however often it is submitted."""
    request_id = str(uuid.uuid4())
    first = await world.acme.submit(cover(), request_id=request_id)
    again = await world.acme.submit(cover(), request_id=request_id.upper())
    assert again.name == first.name
    assert world.sent == 1
    assert world.used() == 1


async def test_racing_submits_of_one_request_id_reach_the_service_once(world):
    """Two hundred callers with one id get one job."""
    request_id = str(uuid.uuid4())
    submits = (world.acme.submit(cover(), request_id=request_id) for _ in range(200))
    jobs = await asyncio.gather(*submits)
    assert len({job.name for job in jobs}) == 1
    assert world.sent == 1
    assert world.used() == 1


async def test_request_id_of_another_body_is_refused(world):
    """An id stands for one job only."""
    request_id = str(uuid.uuid4())
    await world.acme.submit(cover(), request_id=request_id)
    other = job_service_pb2.SubmitJobRequest(job=cover(priority=3), request_id=request_id)
    answer = await refused(world.acme.jobs.SubmitJob(other))
    assert (answer.code, answer.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert world.sent == 1


async def test_one_request_id_is_two_jobs_in_two_tenants(world):
    """Request ids of one tenant say nothing about another's."""
    request_id = str(uuid.uuid4())
    ours = await world.acme.submit(cover(), request_id=request_id)
    theirs = await world.globex.submit(cover("oss://globex-media/in.mp4"), request_id=request_id)
    assert ours.name != theirs.name
    assert world.sent == 2


async def test_repeated_call_gets_its_job_although_the_quota_is_used_up(make_world):
    """Recall comes before every limit."""
    limits = [{"id": "daily", "kind": "day", "max": 1}]
    async with make_world(acme={"limits": limits}) as world:
        request_id = str(uuid.uuid4())
        first = await world.acme.submit(cover(), request_id=request_id)
        assert (await world.acme.submit(cover(), request_id=request_id)).name == first.name


async def test_validate_only_shows_everything_and_does_nothing(world):
    """A dry run names decision, quota effect and upstream call, and writes nothing."""
    preview = await world.acme.validate(cover(user_data="private", priority=4))
    assert preview.decision.allowed
    assert [found.object for found in preview.decision.objects] == [
        "oss://acme-media/in.mp4",
        "oss://acme-media/out/{source}-{timestamp}-{sequenceId}.png",
    ]
    assert preview.quota.admitted
    assert {limit.limit_id: limit.remaining for limit in preview.quota.limits}["daily"] == 999
    parameters = dict(preview.upstream_request.parameters)
    assert parameters["FunctionName"] == "Cover"
    assert json.loads(parameters["ScheduleConfig"]) == {"Priority": 4}
    assert parameters["UserData"] == "[redacted]"
    assert "Signature" not in json_format.MessageToJson(preview)
    assert world.sent == 0
    assert world.rows("SELECT * FROM jobs") == world.rows("SELECT * FROM counters") == []


async def test_validate_only_tells_a_denial_without_failing(world):
    """The dry run of a job that policy denies says which object and why."""
    preview = await world.acme.validate(cover("oss://globex-media/in.mp4"))
    assert not preview.decision.allowed
    assert not preview.decision.objects[0].allowed
    assert preview.decision.objects[1].allowed


async def test_explain_answers_for_a_job_that_is_not_sent(world):
    """ExplainAccess names the rule that allows each object."""
    decision = await world.acme.explain(cover())
    assert decision.allowed
    assert {found.rule for found in decision.objects} == {"acme.yaml#grants[0]"}
    assert world.sent == 0


async def test_caller_is_told_who_it_is(world):
    """WhoAmI names principal, tenant and roles."""
    me = await world.acme.who_am_i()
    assert (me.principal, me.tenant, list(me.roles)) == (
        "principal/robot",
        "tenants/acme",
        ["editor"],
    )


async def test_every_step_of_a_submit_is_a_span_and_a_line_of_its_record(world):
    """The trace shows the way of the request, below the caller's own span."""
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    request = job_service_pb2.SubmitJobRequest(job=cover())
    await world.acme.jobs.SubmitJob(request, metadata=(("traceparent", caller),))
    steps = [
        "authenticate",
        "validate",
        "authorize",
        "admit",
        "translate",
        "send",
        "settle",
    ]
    record = world.records[-1]
    assert [step["step"] for step in record["steps"]] == steps
    assert record["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    server = next(span for span in world.spans.spans if span.name.endswith("/SubmitJob"))
    assert trace.format_span_id(server.parent.span_id) == "b7ad6b7169203331"
    children = [
        span.name
        for span in world.spans.spans
        if span.parent and span.parent.span_id == server.context.span_id
    ]
    assert children == steps
