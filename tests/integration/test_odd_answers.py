"""Answers of the service that nobody foresees: what they may do to a job, and to everybody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from imsgateway.v1 import job_pb2, job_service_pb2
from tests.integration.world import World, a_world, cover, refused, until

State = job_pb2.Job
LIMITS = [{"id": "open", "kind": "concurrent", "max": 1}]


@dataclass
class Service:
    """A service that takes every job, and says what it is told to say of it, by its id there."""

    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: int = 0
    asked: int = 0

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer a submit or a query."""
        if request.headers["x-acs-action"] == "SubmitIProductionJob":
            self.jobs += 1
            return web.json_response({"JobId": f"j{self.jobs}", "RequestId": "r"})
        self.asked += 1
        job_id = request.query["JobId"]
        reply = {"JobId": job_id, "Status": "Analyzing"} | self.said.get(job_id, {})
        return web.json_response(reply)


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[World, Service]]:
    """Run a gateway in front of such a service."""
    service = Service()
    runner = web.ServerRunner(web.Server(service.answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    endpoint = f"127.0.0.1:{runner.addresses[0][1]}"
    upstream = {"scheme": "http", "endpoint": endpoint, "ca_file": None}
    try:
        async with a_world(folder, account=upstream, acme={"limits": LIMITS}) as world:
            yield world, service
    finally:
        await runner.cleanup()


@pytest.fixture
async def served_by(tmp_path: Path) -> AsyncIterator[tuple[World, Service]]:
    """Run both."""
    async with served(tmp_path) as running:
        yield running


async def ended(world: World, name: str) -> job_pb2.Job:
    """Return the job as soon as it has ended."""
    found: list[job_pb2.Job] = []

    async def has() -> bool:
        found[:] = [await world.acme.get(name)]
        return found[0].state in (State.STATE_SUCCEEDED, State.STATE_FAILED)

    await until(has)
    return found[0]


@pytest.mark.parametrize("name", ['{"a":"\\ud800"}', '["with room","\\ud800"]', '"\\u0000"'])
async def test_a_name_in_json_that_is_no_text_ends_its_job(served_by, name):
    """It is read for addresses and written anew; what no store takes must not come out of that."""
    world, service = served_by
    job = await world.acme.submit(cover())
    service.said["j1"] = {"Status": "Success", "OutputFiles": [name], "OutputMediaIds": [name]}

    assert (await ended(world, job.name)).name == job.name
    assert world.used("open") == 0


async def test_answer_about_another_job_is_nobody_s(served_by):
    """An answer that was mixed up on the way holds another tenant's files."""
    world, service = served_by
    job = await world.acme.submit(cover())
    others = {"Status": "Success", "OutputFiles": ["out/theirs.png"], "OutputUrls": ["https://b/s"]}
    service.said["j1"] = {"JobId": "j7", **others}
    asked = service.asked
    await until(lambda: service.asked > asked + 1)
    assert (await world.acme.get(job.name)).state == State.STATE_QUEUED

    service.said["j1"] = {"Status": "Success", "OutputFiles": ["out/ours.png"]}
    [image] = (await ended(world, job.name)).cover.result.images
    assert image.uri == "out/ours.png"
    service.said["j1"] = {"JobId": "j7", **others}
    request = job_service_pb2.GetJobRequest(name=job.name, include_download_urls=True)
    answer = await refused(world.acme.jobs.GetJob(request))
    assert answer.reason == "UPSTREAM_ERROR"
