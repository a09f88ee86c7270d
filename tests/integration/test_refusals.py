"""What is refused, why, and that it costs nothing."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from imsgateway.v1 import job_pb2, job_service_pb2
from tests.integration.world import as_json, cover, refused

Submit = job_service_pb2.SubmitJobRequest
BOX = {"x": 0.9, "y": 0, "width": 0.3, "height": 0.1}
INVALID: dict[str, tuple[Submit, list[str]]] = {
    "no job": (Submit(), ["job"]),
    "no algorithm": (Submit(job=job_pb2.Job()), ["job.algorithm"]),
    "no input": (Submit(job=job_pb2.Job(cover={})), ["job.cover.input"]),
    "bad request id": (Submit(job=cover(), request_id="7"), ["request_id"]),
    "priority": (Submit(job=cover(priority=11)), ["job.priority"]),
    "long user data": (Submit(job=cover(user_data="u" * 300)), ["job.user_data"]),
    "long name": (Submit(job=cover(display_name="n" * 101)), ["job.display_name"]),
    "missing placeholder": (
        Submit(
            job=job_pb2.Job(
                music_demix={
                    "input": {"oss_uri": "oss://acme-media/song.mp3"},
                    "output": {"uri": "oss://acme-media/out.wav"},
                }
            )
        ),
        ["job.music_demix.output.uri"],
    ),
    "unknown placeholder": (
        Submit(
            job=job_pb2.Job(
                video_h2v={
                    "input": {"oss_uri": "oss://acme-media/in.mp4"},
                    "output": {"uri": "oss://acme-media/{sauce}.mp4"},
                }
            )
        ),
        ["job.video_h2v.output.uri"],
    ),
    "foreign region": (
        Submit(job=cover("https://acme-media.oss-cn-beijing.aliyuncs.com/in.mp4")),
        ["job.cover.input.oss_uri"],
    ),
    "internal host": (
        Submit(job=cover("https://acme-media.oss-cn-shanghai-internal.aliyuncs.com/in.mp4")),
        ["job.cover.input.oss_uri"],
    ),
    "several at once": (
        Submit(
            job=job_pb2.Job(
                user_data="u" * 300,
                video_delogo={
                    "input": {"oss_uri": "https://acme-media.oss-us-west-1.aliyuncs.com/in.mp4"},
                    "boxes": [BOX, BOX, BOX],
                },
            )
        ),
        [
            "job.user_data",
            "job.video_delogo.boxes",
            "job.video_delogo.boxes[0]",
            "job.video_delogo.boxes[1]",
            "job.video_delogo.boxes[2]",
            "job.video_delogo.input.oss_uri",
        ],
    ),
}


async def nothing_happened(world: Any, *, reached_policy: bool = False) -> None:
    """Nothing was sent, charged or decided, and the call is on record."""
    assert world.sent == 0
    assert world.rows("SELECT * FROM jobs") == world.rows("SELECT * FROM counters") == []
    assert world.rows("SELECT * FROM rates") == []
    record = world.records[-1]
    assert ("policy" in record) == reached_policy
    assert "admit" not in [step["step"] for step in record["steps"]]


@pytest.mark.parametrize("kind", INVALID)
async def test_invalid_input_is_refused_with_every_path_and_costs_nothing(world, kind):
    """Wrong input reaches neither policy nor quota nor the service, and is recorded."""
    request, paths = INVALID[kind]
    answer = await refused(world.acme.jobs.SubmitJob(request))
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert sorted(set(answer.paths)) == paths
    await nothing_happened(world)
    assert world.records[-1]["code"] == "INVALID_ARGUMENT"
    assert sorted(set(world.records[-1]["violations"])) == paths
    assert answer.metadata["decision_id"] == world.records[-1]["decision_id"]


RAW = {
    # SubmitJobRequest.job (2) { user_data (3): ff }
    "text that is not UTF-8": (b"\x12\x03\x1a\x01\xff", ["job.user_data"]),
    # job (2) { labels (7) { key (1): ff, value (2): ff } }
    "a map's texts": (
        b"\x12\x08\x3a\x06\x0a\x01\xff\x12\x01\xff",
        ["job.labels[0].key", "job.labels[0].value"],
    ),
    "broken bytes": (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", [""]),
    "an oversized message": (b"\x12" + b"\x00" * (5 * 1024 * 1024), [""]),
}


@pytest.mark.parametrize("kind", RAW)
async def test_bytes_that_are_no_message_are_refused_like_other_bad_input(world, kind):
    """Not INTERNAL, as grpc.aio would say, but INVALID_ARGUMENT with the field."""
    message, paths = RAW[kind]
    metadata = (("authorization", f"Bearer {world.keys['acme']}"),)
    async with grpc.aio.insecure_channel(world.target) as channel:
        call = channel.unary_unary("/imsgateway.v1.JobService/SubmitJob")
        answer = await refused(call(message, metadata=metadata))
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert answer.paths == paths
    await nothing_happened(world)


DENIED = {
    "an object to read": (cover("oss://globex-media/in.mp4"), "READ"),
    "an object to write": (
        job_pb2.Job(
            video_h2v={
                "input": {"oss_uri": "oss://acme-media/in.mp4"},
                "output": {"uri": "oss://globex-media/out.mp4"},
            }
        ),
        "WRITE",
    ),
    "a background image": (
        job_pb2.Job(
            video_green_screen_matting={
                "input": {"oss_uri": "oss://acme-media/in.mp4"},
                "background_image_uri": "http://globex-media.oss-cn-shanghai.aliyuncs.com/b.png",
            }
        ),
        "READ",
    ),
    "a track to mix": (
        job_pb2.Job(
            audio_mixing={
                "input": {"oss_uri": "oss://acme-media/in.mp3"},
                "tracks": [{"file_uri": "http://globex-media.oss-cn-shanghai.aliyuncs.com/b.mp3"}],
            }
        ),
        "READ",
    ),
    "a media asset": (job_pb2.Job(video_h2v={"input": {"media_id": "4711"}}), "READ"),
}


@pytest.mark.parametrize("kind", DENIED)
async def test_object_of_another_tenant_is_denied_wherever_it_stands(world, kind):
    """Each address of a request is checked, and the answer says which dimension failed."""
    job, dimension = DENIED[kind]
    answer = await refused(world.acme.jobs.SubmitJob(Submit(job=job)))
    assert (answer.code, answer.reason) == (grpc.StatusCode.PERMISSION_DENIED, "POLICY_DENIED")
    assert answer.metadata["dimension"] == dimension
    assert answer.metadata["decision_id"] == world.records[-1]["decision_id"]
    await nothing_happened(world, reached_policy=True)


async def test_caller_cannot_act_for_another_tenant_whether_it_exists_or_not(world):
    """A foreign parent and an invented one get the same answer."""
    answers = []
    for tenant in ("globex", "nosuch"):
        request = Submit(job=cover(), parent=f"tenants/{tenant}")
        answer = await refused(world.acme.jobs.SubmitJob(request))
        message = answer.message.replace(tenant, "X")
        answers.append((answer.code, answer.reason, message, answer.metadata["dimension"]))
    assert answers[0] == answers[1]
    assert answers[0][0] == grpc.StatusCode.PERMISSION_DENIED


BAD_CREDENTIALS = {
    "none": (),
    "another scheme": (("authorization", "Basic {key}"),),
    "two": (("authorization", "Bearer {key}"), ("authorization", "Bearer {key}")),
    "an unknown key": (("authorization", "Bearer imsk_00000000_" + "a" * 43),),
    "a changed key": (("authorization", "Bearer {key}x"),),
    "an empty one": (("authorization", "Bearer "),),
}


@pytest.mark.parametrize("kind", BAD_CREDENTIALS)
async def test_caller_without_a_valid_key_learns_nothing(world, kind):
    """Every failed authentication looks the same, also for a message that is not valid."""
    metadata = tuple(
        (name, value.format(key=world.keys["acme"])) for name, value in BAD_CREDENTIALS[kind]
    )
    async with grpc.aio.insecure_channel(world.target) as channel:
        call = channel.unary_unary("/imsgateway.v1.JobService/SubmitJob")
        answer = await refused(call(b"\xff", metadata=metadata))
    assert (answer.code, answer.reason) == (grpc.StatusCode.UNAUTHENTICATED, "NOT_AUTHENTICATED")
    assert answer.message.startswith("the call needs a valid credential")
    assert set(answer.metadata) == {"decision_id"}
    await nothing_happened(world)


async def test_denied_job_consumes_no_quota_and_a_refused_one_no_other_limit(make_world):
    """All or nothing: the limit that refuses is the only one that was looked at in vain."""
    limits = [
        {"id": "burst", "kind": "rate", "per_second": 0.001, "burst": 2},
        {"id": "daily", "kind": "day", "max": 100},
    ]
    async with make_world(acme={"limits": limits}) as world:
        await refused(world.acme.jobs.SubmitJob(Submit(job=cover("oss://globex-media/x.mp4"))))
        await world.acme.submit(cover())
        await world.acme.submit(cover())
        before = world.rows("SELECT * FROM counters"), world.rows("SELECT * FROM rates")
        answer = await refused(world.acme.jobs.SubmitJob(Submit(job=cover())))
        assert (answer.code, answer.reason) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "RATE_EXCEEDED",
        )
        violation = answer.details["QuotaFailure"].violations[0]
        assert (violation.quota_metric, violation.quota_id) == ("submit/rate", "burst")
        assert answer.details["RetryInfo"].retry_delay.ToSeconds() > 0
        assert (world.rows("SELECT * FROM counters"), world.rows("SELECT * FROM rates")) == before
        assert world.used() == 2
        assert world.sent == 2


async def test_daily_count_refuses_and_says_when_the_day_ends(make_world):
    """A used-up count is QUOTA_EXCEEDED, and charges no rate."""
    limits = [
        {"id": "burst", "kind": "rate", "per_second": 1000, "burst": 1000},
        {"id": "daily", "kind": "day", "max": 1},
    ]
    async with make_world(acme={"limits": limits}) as world:
        await world.acme.submit(cover())
        rates = world.rows("SELECT * FROM rates")
        answer = await refused(world.acme.jobs.SubmitJob(Submit(job=cover())))
        assert answer.reason == "QUOTA_EXCEEDED"
        assert answer.details["QuotaFailure"].violations[0].quota_value == 1
        assert 0 < answer.details["RetryInfo"].retry_delay.ToSeconds() <= 86400
        assert world.rows("SELECT * FROM rates") == rates
        assert world.sent == 1


async def test_nothing_secret_reaches_records_or_spans(world):
    """Keys, user data, signatures and the query string stay out of every record."""
    job = cover(user_data="PRIVATE-DATA", display_name="PRIVATE-NAME")
    done = await world.acme.wait((await world.acme.submit(job)).name, timeout_seconds=30)
    await world.acme.get(done.name, include_download_urls=True)
    world.fault("refuse", message="quotes PRIVATE-DATA")
    await refused(world.acme.jobs.SubmitJob(Submit(job=job)))
    spans = [
        [span.name, dict(span.attributes or {}), span.status.description]
        for span in world.spans.spans
    ]
    seen = as_json(world.records) + as_json(spans)
    for secret in (
        world.keys["acme"],
        "the-account-secret",
        "PRIVATE",
        "Signature",
        "FunctionName",
    ):
        assert secret not in seen
