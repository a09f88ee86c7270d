"""The demo: one job of each algorithm to its end, then each kind of refusal, and one trace.

It passes only if all went as it should.
"""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from rich.console import Console
from rich.table import Table

from ims_gateway.algorithms.table import TABLE
from ims_gateway.app import gateway
from ims_gateway.emulator.server import Emulator
from ims_gateway.emulator.settings import AccessKey, EmulatorSettings
from ims_gateway.sandbox import configuration
from ims_gateway_client import AsyncClient
from ims_gateway_client.cli.traces import trace_tree
from ims_gateway_client.errors import GatewayError
from ims_gateway_client.jobs import result_files
from imsgateway.v1 import job_pb2
from imsgateway.v1.job_trace_pb2 import JobTrace


@dataclass(slots=True)
class Check:
    """Something that must hold, and whether it does."""

    what: str
    seen: str
    holds: bool


async def run(cases: Path) -> bool:
    """Run the demo and print what happened; say whether all went as it should."""
    console = Console(highlight=False)
    secret = configuration.account_secret()
    emulated = EmulatorSettings(
        access_keys={configuration.ACCESS_KEY_ID: AccessKey(secret)},
        job_seconds=1.0,
        http_port=None,
        https_port=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        async with Emulator(emulated) as emulator:
            sandbox = configuration.write(
                Path(folder), emulator, secret, listen="127.0.0.1:0", metrics_listen=""
            )
            async with gateway(sandbox.settings, sandbox.environment) as running:
                target = f"127.0.0.1:{running.port}"
                async with (
                    AsyncClient(target, api_key=sandbox.api_keys["acme"]) as acme,
                    AsyncClient(target, api_key=sandbox.api_keys["globex"]) as globex,
                ):
                    jobs = await _run_all(acme, _samples(cases))
                    checks = [
                        await _denied(acme, emulator),
                        await _over_quota(globex, emulator),
                        await _repeated(acme, emulator),
                    ]
                    trace = await acme.trace(jobs[0].name)
    return _report(console, jobs, checks, trace)


def _samples(cases: Path) -> dict[str, job_pb2.Job]:
    """Return the first valid golden case of each algorithm."""
    samples = {}
    for algorithm in TABLE:
        contents = (
            yaml.safe_load(path.read_text(encoding="utf-8"))
            for path in sorted((cases / algorithm.field).glob("*.yaml"))
        )
        good: dict[str, Any] = next(content for content in contents if "upstream" in content)
        samples[algorithm.field] = json_format.ParseDict(good["job"], job_pb2.Job())
    return samples


async def _run_all(client: AsyncClient, samples: dict[str, job_pb2.Job]) -> list[job_pb2.Job]:
    async def follow(job: job_pb2.Job) -> job_pb2.Job:
        submitted = await client.submit(job)
        return await client.wait(submitted.name, timeout_seconds=60)

    return list(await asyncio.gather(*(follow(job) for job in samples.values())))


def _cover(uri: str) -> job_pb2.Job:
    return job_pb2.Job(cover={"input": {"oss_uri": uri}})


async def _refusal(call: Awaitable[object]) -> GatewayError | None:
    try:
        await call
    except GatewayError as error:
        return error
    return None


async def _denied(client: AsyncClient, emulator: Emulator) -> Check:
    before = len(emulator.jobs)
    error = await _refusal(client.submit(_cover("oss://acme-vault/secret.mp4")))
    seen = f"{error.reason}: {error.message}" if error else "allowed"
    holds = bool(error and error.reason == "POLICY_DENIED" and len(emulator.jobs) == before)
    return Check("a file that a deny rule protects", seen, holds)


async def _over_quota(client: AsyncClient, emulator: Emulator) -> Check:
    await client.submit(_cover("oss://globex-media/in.mp4"))
    before = len(emulator.jobs)
    error = await _refusal(client.submit(_cover("oss://globex-media/in.mp4")))
    seen = f"{error.reason}: {error.message}" if error else "allowed"
    holds = bool(error and error.reason == "QUOTA_EXCEEDED" and len(emulator.jobs) == before)
    return Check("a second job where one a day is allowed", seen, holds)


async def _repeated(client: AsyncClient, emulator: Emulator) -> Check:
    request_id = str(uuid.uuid4())
    job = _cover("oss://acme-media/in.mp4")
    before = len(emulator.jobs)
    first = await client.submit(job, request_id=request_id)
    second = await client.submit(job, request_id=request_id)
    sent = len(emulator.jobs) - before
    seen = f"{'same job' if first.name == second.name else 'two jobs'}, {sent} sent upstream"
    return Check("one request id, submitted twice", seen, first.name == second.name and sent == 1)


def _report(
    console: Console, jobs: list[job_pb2.Job], checks: list[Check], trace: JobTrace
) -> bool:
    table = Table(title="One job of each algorithm", title_justify="left")
    for column in ("algorithm", "state", "seconds", "result"):
        table.add_column(column, overflow="fold")
    for job in jobs:
        state = job_pb2.Job.State.Name(job.state).removeprefix("STATE_").capitalize()
        seconds = job.end_time.ToMilliseconds() - job.create_time.ToMilliseconds()
        table.add_row(job.WhichOneof("algorithm"), state, f"{seconds / 1000:.1f}", _result(job))
    console.print(table)
    others = Table(title="What is refused, and what is not done twice", title_justify="left")
    for column in ("call", "answer", "as it should"):
        others.add_column(column, overflow="fold")
    for check in checks:
        others.add_row(check.what, check.seen, "yes" if check.holds else "NO")
    console.print(others)
    console.print("What happened to the first job, as `imsctl trace` shows it\n")
    console.print(trace_tree(trace))
    succeeded = sum(job.state == job_pb2.Job.STATE_SUCCEEDED for job in jobs)
    console.print(f"\n{succeeded} of {len(TABLE)} algorithms Succeeded")
    return succeeded == len(TABLE) and all(check.holds for check in checks)


def _result(job: job_pb2.Job) -> str:
    files = result_files(job)
    if not files:
        return json_format.MessageToJson(job.raw_result, indent=None, sort_keys=True)
    name = files[0].uri.rpartition("/")[2]
    return name + (f" and {len(files) - 1} more" if len(files) > 1 else "")
