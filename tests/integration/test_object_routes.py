"""No route around the object check: every place of an address, in every spelling.

The places are found in the contract's descriptors by this test itself, not by the code that is
tested: whatever text of a job may hold an address or an id of something is tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest
import yaml
from google.api import field_behavior_pb2
from google.protobuf import json_format
from google.protobuf.message import Message

from imsgateway.v1 import job_pb2, job_service_pb2
from tests.integration.world import answer_of

CASES = Path(__file__).parents[1] / "cases"
HOST = "oss-cn-shanghai.aliyuncs.com"
SECRET = "secrets/plan"
MEDIA = "feedfacefeedfacefeedfacefeedface"
# Everything of its own and of the public buckets of the cases; of globex nothing.
GRANTS = [
    {
        "subject": "role/editor",
        "actions": ["submit"],
        "read": ["oss://media-*", "oss://acme-media/*", "media:*"],
        "write": ["oss://media-*", "oss://acme-media/*", "media:*"],
        "ceilings": {"models": ["-", "algo-*"], "pipelines": ["-", "*"], "templates": ["-", "*"]},
    },
    {
        "subject": "role/editor",
        "actions": ["submit"],
        "read": [f"media:{MEDIA}"],
        "write": [f"media:{MEDIA}"],
        "effect": "deny",
    },
]


def spellings(suffix: str) -> list[str]:
    """Return the address of an object of globex, spelled in every way that might be understood."""
    key = f"{SECRET}{suffix}"
    plain = f"globex-media/{key}"
    web = f"globex-media.{HOST}/{key}"
    return [
        f"oss://{plain}",
        f"OSS://{plain}",
        f"Oss://{plain}",
        f"oss:/{plain}",
        f"oss:///{plain}",
        f"oss:{plain}",
        f"//{plain}",
        f"/{plain}",
        plain,
        f" oss://{plain}",
        f"oss://{plain} ",
        f"oss://{plain}\n",
        f"oss://{plain}\x00",
        f"\toss://{plain}",
        f"oss://GLOBEX-MEDIA/{key}",
        f"oss://globex-media//{key}",
        f"oss://globex-media./{key}",
        f"oss://globex%2dmedia/{key}",
        f"oss://acme-media/../{plain}",
        f"oss://acme-media/%2e%2e/{plain}",
        f"oss://acme-media/..%2f{plain}",
        f"oss://acme-media/./../{plain}",
        f"oss://acme-media\\..\\{plain}",
        f"oss://acme-media@{plain}",
        f"oss://acme-media:x@{plain}",
        f"oss://acme-media#@{plain}",
        f"oss://acme-media?@{plain}",
        f"oss://{plain}?versionId=1",
        f"oss://{plain}?x-oss-process=image",
        f"oss://{plain}#acme-media",
        f"oss://{plain}/",
        f"oss://{plain};acme-media",
        f"oss://{plain},oss://acme-media/a{suffix}",
        f"https://{web}",
        f"http://{web}",
        f"HTTPS://{web}",
        f"https://{web.upper()}",
        f"https://Globex-Media.{HOST}/{key}",
        f"https://globex-media.{HOST.upper()}/{key}",
        f"https://globex-media.{HOST}./{key}",
        f"https://globex-media.{HOST}:443/{key}",
        f"https://acme-media@{web}",
        f"https://acme-media.{HOST}@{web}",
        f"https://acme-media.{HOST}:443@{web}",
        f"https://acme-media.{HOST}\\@{web}",
        f"https://acme-media.{HOST}/../{web}",
        f"https://globex%2dmedia.{HOST}/{key}",
        f"https://%67lobex-media.{HOST}/{key}",
        f"https://globex-media.{HOST}/{quote(key, safe='')}",
        f"https://globex-media.{HOST}/{quote(quote(key, safe=''), safe='')}",
        f"https://globex-media.{HOST}/./{key}",
        f"https://globex-media.{HOST}/%2e/{key}",
        f"https://globex-media.{HOST}//{key}",
        f"https://globex-media.oss-cn-shanghai-internal.aliyuncs.com/{key}",
        f"https://globex-media.vpc100-oss-cn-shanghai.aliyuncs.com/{key}",
        f"https://globex-media.oss-accelerate.aliyuncs.com/{key}",
        f"https://globex-media.s3.oss-cn-shanghai.aliyuncs.com/{key}",
        f"https://{HOST}/{plain}",
        f"https://cdn.globex.example/{key}",
        f"https://{web}?Signature=x&Expires=1&OSSAccessKeyId=y",
        f"https://{web}#",
        f"https:/{web}",
        f"https:{web}",
        f"//{web}",
        f"ftp://{web}",
        f"file:///{plain}",
    ]


def good_jobs(algorithm: str) -> Iterator[job_pb2.Job]:
    """Yield the jobs of the algorithm's good golden cases."""
    for path in sorted((CASES / algorithm).glob("*.yaml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "upstream" in document:
            yield json_format.ParseDict(document["job"], job_pb2.Job())


def texts(message: Message) -> Iterator[tuple[Message, str, int | None, str]]:
    """Yield where in a message an address stands: holder, field, index and the text itself."""
    for field, value in message.ListFields():
        behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        if field_behavior_pb2.OUTPUT_ONLY in behaviors:
            continue
        values = list(value) if field.is_repeated else [value]
        for index, each in enumerate(values):
            if isinstance(each, Message):
                yield from texts(each)
            elif isinstance(each, str) and ("://" in each or field.name == "media_id"):
                yield message, field.name, index if field.is_repeated else None, each


def variants(job: job_pb2.Job) -> Iterator[tuple[str, job_pb2.Job]]:
    """Yield the job with one of its objects replaced by one of globex."""
    for place, (_, name, _, text) in enumerate(texts(job)):
        for replacement in [MEDIA] if name == "media_id" else spellings(_ending(text)):
            variant = job_pb2.Job()
            variant.CopyFrom(job)
            holder, field, index, _ = list(texts(variant))[place]
            if index is None:
                setattr(holder, field, replacement)
            else:
                getattr(holder, field)[index] = replacement
            yield f"{name} {replacement!r}", variant


def _ending(text: str) -> str:
    """Return placeholders and file type, so that nothing but the place is wrong."""
    kept = "".join(f"-{{{part.split('}')[0]}}}" for part in text.split("{")[1:])
    return f"{kept}.{text.rpartition('.')[2]}"


@pytest.fixture
async def world(make_world: Any) -> Any:
    """Run a gateway on SQLite: what is tried here never reaches the ledger."""
    async with make_world(acme={"grants": GRANTS}) as running:
        yield running


@pytest.mark.parametrize("algorithm", sorted(path.name for path in CASES.iterdir()))
async def test_another_tenant_s_object_is_reached_by_no_spelling(world, algorithm):
    """Each is refused as malformed or as not granted, costs nothing and is on record."""
    told: Counter[str] = Counter()
    for job in good_jobs(algorithm):
        await world.acme.jobs.SubmitJob(job_service_pb2.SubmitJobRequest(job=job))
        sent = world.sent
        for what, variant in variants(job):
            request = job_service_pb2.SubmitJobRequest(job=variant)
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await world.acme.jobs.SubmitJob(request)
            answer = answer_of(failed.value)
            assert answer.reason in ("INVALID_REQUEST", "POLICY_DENIED"), what
            told[answer.metadata["decision_id"]] += 1
        assert world.sent == sent
    # Only now: of many refusals the most share a record, which is written when it is whole.
    world.gateway.decisions.close()
    records = {record["decision_id"]: record["count"] for record in world.records}
    assert told
    assert all(records[decision_id] == count for decision_id, count in told.items())


async def test_the_spellings_that_are_understood_are_denied_and_not_just_malformed(world):
    """Else the sweep above could pass because everything is malformed."""
    reasons = []
    for spelling in spellings(".mp4"):
        job = job_pb2.Job(
            video_h2v={
                "input": {"oss_uri": spelling},
                "output": {"uri": "oss://acme-media/out.mp4"},
            }
        )
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await world.acme.jobs.SubmitJob(job_service_pb2.SubmitJobRequest(job=job))
        reasons.append((spelling, answer_of(failed.value).reason))
    denied = [spelling for spelling, reason in reasons if reason == "POLICY_DENIED"]
    assert f"oss://globex-media/{SECRET}.mp4" in denied
    assert f"https://globex-media.{HOST}/{SECRET}.mp4" in denied
    assert f"https://globex-media.{HOST}/{quote(f'{SECRET}.mp4', safe='')}" not in denied
    assert len(denied) >= 3
