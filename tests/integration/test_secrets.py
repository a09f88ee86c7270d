"""Nothing secret gets out: every ending with marked secrets, and a search of all that is written.

A gateway runs as the process that it is, with all of its telemetry on. Two kinds of marks: what
nobody may ever see again (credentials, signatures, signed addresses), searched for everywhere; and
what is in a job, which its owner may read and no telemetry tells.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import sys
import time
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import grpc
import httpx
import pytest
import yaml
from google.protobuf import json_format

from ims_gateway.emulator.faults import FaultKind, FaultPlan
from ims_gateway.emulator.server import Emulator
from ims_gateway.emulator.settings import AccessKey, EmulatorSettings
from ims_gateway.identity.keys import key_hash, new_key
from ims_gateway_client import AsyncClient
from imsgateway.v1 import admin_service_pb2, job_service_pb2, quota_service_pb2
from tests.integration.world import cover, tenant_file, until
from tests.issuers import ISSUER, SUBJECT, a_key, a_token, claims, jwks
from tests.otlp import Collector, collecting
from tests.ports import free_address

Submit = job_service_pb2.SubmitJobRequest
IMSGW = Path(sys.executable).parent / "imsgw"
SUBMIT = "/imsgateway.v1.JobService/SubmitJob"
FOREIGN = "oss://globex-media/in.mp4"


def mark(kind: str) -> str:
    """Return a text that stands nowhere else."""
    return f"MARK{kind}{secrets.token_hex(12)}"


@dataclass
class Marks:
    """What is searched for."""

    pepper: str = field(default_factory=lambda: mark("pepper"))
    access_key_id: str = field(default_factory=lambda: mark("keyid"))
    access_key_secret: str = field(default_factory=lambda: mark("keysecret"))
    security_token: str = field(default_factory=lambda: mark("ststoken"))
    api_key: str = field(default_factory=lambda: new_key()[1])
    wrong_key: str = field(default_factory=lambda: new_key()[1])
    token: str = ""
    wrong_token: str = ""
    baggage: str = field(default_factory=lambda: mark("baggage"))
    signed_query: str = field(default_factory=lambda: mark("signedquery"))
    user_data: str = field(default_factory=lambda: mark("userdata"))
    display_name: str = field(default_factory=lambda: mark("name"))
    label_key: str = field(default_factory=lambda: mark("labelkey").lower())
    label: str = field(default_factory=lambda: mark("label").lower())
    filter: str = field(default_factory=lambda: mark("filter"))
    # Queries of the signed addresses that a caller was given.
    download_queries: list[str] = field(default_factory=list)

    @property
    def credentials(self) -> list[str]:
        """What is nowhere, and what every signature and signed address has in it."""
        return [
            self.pepper,
            self.access_key_id,
            self.access_key_secret,
            self.security_token,
            self.api_key.split("_", 2)[2],
            self.wrong_key.split("_", 2)[2],
            *self.token.split(".")[1:],
            *self.wrong_token.split(".")[1:],
            self.baggage,
            self.signed_query,
            *self.download_queries,
            "SignedHeaders",
            "ACS3-HMAC-SHA256",
            "OSSAccessKeyId",
            "Signature=",
        ]

    @property
    def contents(self) -> list[str]:
        """What only the owner of a job reads."""
        return [self.user_data, self.display_name, self.label_key, self.label, self.filter]


def found(marks: list[str], sinks: dict[str, str]) -> list[tuple[str, str]]:
    """Return which mark is in which sink, as it is or encoded in a way that programs use."""
    return [
        (sink, each)
        for sink, text in sinks.items()
        for each in marks
        if any(spelled in text for spelled in _spellings(each))
    ]


def _spellings(text: str) -> tuple[str, ...]:
    # The last characters of base64 hang on what comes after.
    return text, quote(text, safe=""), base64.b64encode(text.encode()).decode()[:-4]


@dataclass
class Scene:
    """A running gateway, and everything that it has written or said."""

    marks: Marks
    folder: Path
    emulator: Emulator
    collector: Collector
    target: str
    metrics_url: str
    operator_key: str
    errors: list[str] = field(default_factory=list)
    views: list[str] = field(default_factory=list)

    def job(self, uri="oss://acme-media/in.mp4"):
        """Return a job with marks in all that a caller writes freely."""
        marks = self.marks
        return cover(
            uri,
            user_data=marks.user_data,
            display_name=marks.display_name,
            labels={marks.label_key[:60]: marks.label[:60]},
        )

    async def refused(self, call):
        """Await a call that fails, and keep all that its caller is told."""
        with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)) as failed:
            await call
        error = failed.value
        if isinstance(error, grpc.aio.AioRpcError):
            trailers = [(name, str(value)) for name, value in error.trailing_metadata() or ()]
            self.errors.append(f"{error.code()} {error.details()} {trailers}")

    async def sinks(self):
        """Return everything that was written, by where it was."""
        async with httpx.AsyncClient(trust_env=False) as http:
            metrics = (await http.get(self.metrics_url)).text
        spans = [json_format.MessageToJson(request) for request in self.collector.requests]
        return {
            "spans": "\n".join(spans),
            "metrics": metrics,
            "log": (self.folder / "stderr").read_text(encoding="utf-8"),
            "decision log": (self.folder / "stdout").read_text(encoding="utf-8"),
            "decision store": await self._decisions(),
        }

    async def _decisions(self):
        request = admin_service_pb2.ListDecisionsRequest(page_size=1000)
        async with AsyncClient(self.target, api_key=self.operator_key) as operator:
            answer = await operator.admin.ListDecisions(request)
        return json_format.MessageToJson(answer)

    @property
    def ledger(self):
        """The files of the database, as text."""
        files = sorted(self.folder.glob("ledger.db*"))
        return "\n".join(file.read_bytes().decode(errors="replace") for file in files)


@asynccontextmanager
async def a_scene(folder: Path):
    """Run a gateway with marked secrets."""
    marks, operator_key = Marks(), new_key()[1]
    own, others = a_key("one", "P-256"), a_key("one", "P-256")
    now = time.time()
    marks.token = a_token(own, claims(now), alg="ES256")
    marks.wrong_token = a_token(others, claims(now, sub=mark("sub")), alg="ES256")
    key = AccessKey(marks.access_key_secret, security_token=marks.security_token)
    emulated = EmulatorSettings(
        access_keys={marks.access_key_id: key}, job_seconds=0.001, http_port=None, https_port=0
    )
    metrics = free_address()
    async with AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(Emulator(emulated))
        collector = await stack.enter_async_context(collecting())
        _write(folder, marks, operator_key, emulator, jwks(own))
        environment = {
            "PATH": os.environ["PATH"],
            "IMSGW_CONFIG_DIR": str(folder),
            "IMSGW_KEY_PEPPER": marks.pepper,
            "IMSGW_DATABASE_URL": f"sqlite:///{folder / 'ledger.db'}",
            "IMSGW_LISTEN": "127.0.0.1:0",
            "IMSGW_METRICS_LISTEN": metrics,
            "IMSGW_POLL_INTERVAL_SECONDS": "0.05",
            "IMSGW_SUBMIT_TIMEOUT_SECONDS": "5",
            "ALIBABA_CLOUD_ACCESS_KEY_ID": marks.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": marks.access_key_secret,
            "ALIBABA_CLOUD_SECURITY_TOKEN": marks.security_token,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.target,
            "OTEL_BSP_SCHEDULE_DELAY": "20",
        }
        port = await stack.enter_async_context(_process(folder, environment))
        url = f"http://{metrics}/metrics"
        yield Scene(marks, folder, emulator, collector, f"127.0.0.1:{port}", url, operator_key)


def _write(folder, marks, operator_key, emulator, keys):
    pepper = marks.pepper.encode()
    account = {
        "name": "main",
        "region": "cn-shanghai",
        "endpoint": emulator.https_endpoint,
        "ca_file": str(emulator.ca_file),
        "polls_per_second": 500,
    }
    acme = tenant_file("acme", marks.api_key)
    (robot,) = acme["principals"]
    robot["keys"][0]["hash"] = key_hash(marks.api_key, pepper)
    robot["tokens"] = [{"issuer": "cluster", "claims": {"sub": SUBJECT}}]
    acme["limits"] = [
        {"id": "burst", "kind": "rate", "per_second": 10_000, "burst": 10_000},
        {"id": "detext", "kind": "day", "max": 1, "algorithms": ["video_detext"]},
    ]
    (folder / "keys.json").write_bytes(keys)
    issuer = {
        "name": "cluster",
        "issuer": ISSUER,
        "audiences": ["ims-gateway"],
        "algorithms": ["ES256"],
        "jwks_file": str(folder / "keys.json"),
    }
    entry = {"id": operator_key.split("_")[1], "hash": key_hash(operator_key, pepper)}
    (folder / "tenants").mkdir()
    for name, content in {
        "accounts.yaml": {"accounts": [account]},
        "issuers.yaml": {"issuers": [issuer]},
        "operators.yaml": {"operators": [{"name": "alice", "keys": [entry]}]},
        "tenants/acme.yaml": acme,
    }.items():
        (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")


@asynccontextmanager
async def _process(folder, environment):
    """Run `imsgw serve` with what it writes in files; gives its port."""
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            IMSGW, "serve", env=environment, stdout=out, stderr=log
        )
        try:
            yield await _port(folder / "stderr")
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _port(log):
    """Return the port once the log names it. A busy machine may take its time for a start."""
    async with asyncio.timeout(180):
        while b'"serving"' not in (lines := log.read_bytes()):  # noqa: ASYNC110 - of a file
            await asyncio.sleep(0.05)
    events = [json.loads(line) for line in lines.splitlines()]
    return next(event["port"] for event in events if event["event"] == "serving")


async def _every_ending(scene: Scene) -> None:
    marks = scene.marks
    baggage = (("baggage", f"user={marks.baggage}"),)
    async with AsyncClient(scene.target, api_key=marks.api_key) as client:
        await _good_endings(scene, client, baggage)
        await _refusals(scene, client)
        await _gone_callers(scene, client)
        for fault in ("drop", "garbage", "server_error", "no_job_id", "throttle"):
            scene.emulator.add_fault(FaultPlan(FaultKind(fault)))
            await scene.refused(client.jobs.SubmitJob(Submit(job=scene.job())))
        usage = await client.quota.GetUsage(quota_service_pb2.GetUsageRequest())
        scene.views.append(str(usage))
    await _strangers(scene, baggage)


async def _good_endings(scene, client, baggage):
    request = Submit(job=scene.job(), request_id=str(uuid.uuid4()))
    for _ in range(2):
        answer = await client.jobs.SubmitJob(request, metadata=baggage)
    done = await client.wait(answer.job.name, timeout_seconds=30)
    fresh = await client.get(done.name, include_download_urls=True)
    urls = _urls(fresh)
    assert urls
    scene.marks.download_queries += [url.partition("?")[2] for url in urls]
    scene.views += [str(done), *[str(job) async for job in client.list()]]
    scene.emulator.add_fault(FaultPlan(FaultKind.FAIL))
    failed = await client.submit(scene.job())
    scene.views.append(str(await client.wait(failed.name, timeout_seconds=30)))
    scene.emulator.add_fault(FaultPlan(FaultKind.NEVER_FINISH))
    endless = await client.submit(scene.job())
    await client.jobs.CancelJob(job_service_pb2.CancelJobRequest(name=endless.name))
    validated = await client.jobs.SubmitJob(Submit(job=scene.job(), validate_only=True))
    scene.views.append(str(validated.decision))
    items = [
        job_service_pb2.SubmitJobsRequest(index=i, request=Submit(job=scene.job(uri)))
        for i, uri in enumerate(["oss://acme-media/in.mp4", FOREIGN, "ftp://in"])
    ]
    async for reply in client.jobs.SubmitJobs(iter(items)):
        scene.errors.append(str(reply.error))


def _urls(job):
    """Return every signed address in a job, wherever it is."""
    text = json_format.MessageToJson(job)
    return [part for part in text.split('"') if part.startswith("http") and "?" in part]


async def _refusals(scene, client):
    marks = scene.marks
    signed = (
        "https://acme-media.oss-cn-shanghai.aliyuncs.com/in.mp4"
        f"?Expires=1&OSSAccessKeyId=x&Signature={marks.signed_query}"
    )
    detext = {"input": {"oss_uri": "oss://acme-media/in.mp4"}}
    for job in (scene.job("ftp://in"), scene.job(signed), scene.job(FOREIGN)):
        await scene.refused(client.jobs.SubmitJob(Submit(job=job)))
    limited = scene.job()
    limited.video_detext.CopyFrom(type(limited)(video_detext=detext).video_detext)
    await client.jobs.SubmitJob(Submit(job=limited))
    await scene.refused(client.jobs.SubmitJob(Submit(job=limited)))
    request_id = str(uuid.uuid4())
    await client.jobs.SubmitJob(Submit(job=scene.job(), request_id=request_id))
    other = scene.job("oss://acme-media/other.mp4")
    await scene.refused(client.jobs.SubmitJob(Submit(job=other, request_id=request_id)))
    listing = job_service_pb2.ListJobsRequest(filter=f"nothing={marks.filter}")
    await scene.refused(client.jobs.ListJobs(listing))
    message = (
        f"quotes {marks.user_data} and {signed} and Signature={marks.signed_query} and the "
        f"StringToSign ACS3-HMAC-SHA256 {marks.security_token}"
    )
    scene.emulator.add_fault(FaultPlan(FaultKind.REFUSE, message=message))
    await scene.refused(client.jobs.SubmitJob(Submit(job=scene.job())))


async def _gone_callers(scene, client):
    for timeout in (None, 0.4):
        scene.emulator.add_fault(FaultPlan(FaultKind.ACCEPT_THEN_HANG))
        call = client.jobs.SubmitJob(Submit(job=scene.job()), timeout=timeout)
        waiting = asyncio.ensure_future(scene.refused(call))
        await until(lambda: scene.emulator.hanging)
        if timeout is None:
            call.cancel()
        await waiting
        scene.emulator.release()


async def _strangers(scene, baggage):
    marks = scene.marks
    headers = [f"Bearer {each}" for each in (marks.wrong_key, marks.wrong_token, marks.token + "x")]
    headers.append(f"Basic {marks.wrong_key}")
    async with grpc.aio.insecure_channel(scene.target) as channel:
        submit = channel.unary_unary(SUBMIT, Submit.SerializeToString)
        raw = channel.unary_unary(SUBMIT)
        for header in headers:
            metadata = (("authorization", header), *baggage)
            await scene.refused(submit(Submit(job=scene.job()), metadata=metadata))
        good = (("authorization", f"Bearer {marks.token}"), *baggage)
        await submit(Submit(job=scene.job()), metadata=good)
        broken = Submit(job=scene.job()).SerializeToString()[:-3] + b"\xff\xff"
        await scene.refused(raw(broken, metadata=good))


async def test_nothing_secret_is_told_whatever_the_ending(tmp_path):
    """Not by spans, metrics, logs, decisions, errors, nor by what the ledger shows or keeps."""
    async with a_scene(tmp_path) as scene:
        await _every_ending(scene)
        await until(lambda: b"UNAUTHENTICATED" in (tmp_path / "stdout").read_bytes())
        names = {span.name for span in scene.collector.spans}
        assert {"send", "track", "item", "attach", "recall"} <= names
        # What was refused comes last, and is looked for in all sinks at once.
        await until(lambda: "NOT_AUTHENTICATED" in str(scene.collector.requests))
        telemetry = await scene.sinks()
        shown = {"errors": "\n".join(scene.errors), "views": "\n".join(scene.views)}
        everywhere = {**telemetry, **shown, "ledger": scene.ledger}
        assert found(scene.marks.credentials, everywhere) == []
        assert found(scene.marks.contents, telemetry) == []
        _assert_that_it_would_be_found(scene, everywhere)


def _assert_that_it_would_be_found(scene: Scene, sinks: dict[str, str]) -> None:
    """Show that each sink was really read, and that a mark in any of them is found."""
    telling = {
        "spans": ["principal/robot", "SubmitIProductionJob", "POLICY_DENIED", "OutcomeUnknown"],
        "metrics": ["imsgateway.v1.JobService/SubmitJob", "PERMISSION_DENIED"],
        "log": ["serving", "upstream throttles"],
        "decision log": ["principal/robot", "POLICY_DENIED", "CANCELLED", "DEADLINE_EXCEEDED"],
        "decision store": ["principal/robot", "POLICY_DENIED"],
        "errors": ["POLICY_DENIED", "UNAUTHENTICATED", "SUBMIT_OUTCOME_UNKNOWN"],
        "views": [scene.marks.user_data, "SUCCEEDED"],
        "ledger": [scene.marks.user_data, "principal/robot"],
    }
    for sink, texts in telling.items():
        assert found(texts, {sink: sinks[sink]}) == [(sink, text) for text in texts]
    for sink, text in sinks.items():
        for each in scene.marks.credentials:
            for spelled in _spellings(each):
                planted = {**sinks, sink: f"{text} {spelled} "}
                assert (sink, each) in found([each], planted)
