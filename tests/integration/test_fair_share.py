"""Tenants share an account by weight, and replicas through the ledger; the service is heard."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from ims_gateway.upstream.breaker import FAILURES
from imsgateway.v1 import job_service_pb2
from tests.integration.world import World, a_world, answer_of, cover, refused, until
from tests.ports import free_port

Submit = job_service_pb2.SubmitJobRequest
# Jobs that stay under way, so that queries do not compete with what is measured.
QUIET: dict[str, Any] = {"job_seconds": 600, "settings": {"poll_interval_seconds": 60}}
ROOMY = {"limits": [{"id": "daily", "kind": "day", "max": 1_000_000}]}


def submit(world: World, tenant: str) -> Any:
    """Begin a submit of one of the tenant's jobs."""
    job = cover(f"oss://{tenant}-media/in.mp4", user_data=tenant)
    return world.clients[tenant].jobs.SubmitJob(Submit(job=job))


async def busy(world: World, tenant: str, callers: int) -> None:
    """Keep so many submits of the tenant under way, until cancelled."""

    async def caller() -> None:
        while True:
            await submit(world, tenant)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())


async def served(world: World, waiting: dict[str, int], jobs: int) -> Counter[str]:
    """Let so many submits of each tenant wait in line; returns whose are the first that are served.

    The service answers nobody until all are there, so that no tenant's line is ever too short for
    what is due to it, however slow the machine.
    """
    slots = world.gateway.submission._gates["main"].slots
    world.fault("hang", times=slots.limit)
    calls = [asyncio.ensure_future(submit(world, "globex")) for _ in range(slots.limit)]
    await until(lambda: world.emulator.hanging == slots.limit)
    calls += [
        asyncio.ensure_future(submit(world, tenant))
        for tenant, count in waiting.items()
        for _ in range(count)
    ]
    await until(lambda: slots.waiting == sum(waiting.values()))
    world.emulator.release()
    await until(lambda: len(world.emulator.jobs) >= slots.limit + jobs)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    taken = world.emulator.jobs[slots.limit : slots.limit + jobs]
    return Counter(job.parameters["UserData"] for job in taken)


async def test_tenants_get_what_they_weigh(tmp_path):
    """One, two and four of seven, within 5 %, counted by the service."""
    weights = {"acme": 1, "two": 2, "four": 4}
    async with a_world(
        tmp_path,
        acme=ROOMY,
        others={name: {**ROOMY, "weight": weights[name]} for name in ("two", "four")},
        account={"max_in_flight": 3},
        **QUIET,
    ) as world:
        got = await served(world, {name: 40 * weight for name, weight in weights.items()}, 210)

    for name, weight in weights.items():
        assert got[name] == pytest.approx(210 * weight / 7, rel=0.05)


async def test_a_tenant_that_floods_leaves_nine_others_their_share(tmp_path):
    """It has ten callers for each of theirs, who are never less than what they could have had."""
    nine = [f"t{number}" for number in range(9)]
    async with a_world(
        tmp_path,
        acme=ROOMY,
        others=dict.fromkeys(nine, ROOMY),
        account={"max_in_flight": 4},
        **QUIET,
    ) as world:
        got = await served(world, {"acme": 250} | dict.fromkeys(nine, 25), 240)

    assert min(got[name] for name in nine) >= 0.95 * 24


async def test_a_wait_says_what_it_was_about(tmp_path):
    """How many went before, and how long it was thought to last, on the span of the wait."""
    async with a_world(tmp_path, account={"max_in_flight": 1}) as world:
        world.fault("hang")
        calls = [asyncio.ensure_future(submit(world, "acme"))]
        await until(lambda: world.emulator.hanging)
        for number in (2, 3):
            calls.append(asyncio.ensure_future(submit(world, "acme")))
            await until(lambda number=number: len(world.rows("SELECT 1 FROM jobs")) == number)
        world.emulator.release()
        await asyncio.gather(*calls)
        waits = [dict(span.attributes) for span in world.spans.spans if span.name == "wait"]

    assert sorted(wait["imsgateway.wait.ahead"] for wait in waits) == [0, 1]
    assert all(wait["imsgateway.wait.estimate_seconds"] >= 0 for wait in waits)


async def test_a_wait_that_would_be_in_vain_is_refused_at_once_and_costs_nothing(tmp_path):
    """Calls take a second: who leaves half a one is told so before anything is written."""
    async with a_world(tmp_path, account={"max_in_flight": 1}) as world:
        world.fault("slow", delay_seconds=1.0)
        await submit(world, "acme")
        world.fault("hang")
        first = asyncio.ensure_future(submit(world, "acme"))
        await until(lambda: world.emulator.hanging)
        late = world.acme.jobs.SubmitJob(Submit(job=cover()), timeout=0.9)
        answer = await refused(late)
        record = world.records[-1]
        world.emulator.release()
        await first

        assert (answer.code, answer.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_BUSY")
        assert answer.details["RetryInfo"].retry_delay.ToMilliseconds() >= 500
        assert "admit" not in [step["step"] for step in record["steps"]]
        assert world.rows("SELECT COUNT(*) FROM jobs") == [(2,)]
        assert world.used() == 2


async def test_replicas_together_stay_within_the_places(tmp_path, database_url):
    """Both are used, and never more than there are, from the moment the second one comes."""
    async with (
        a_world(
            tmp_path, acme=ROOMY, account={"max_in_flight": 8}, database_url=database_url, **QUIET
        ) as world,
        world.replica() as other,
    ):
        world.fault("slow", delay_seconds=0.05, times=None)
        tasks = [asyncio.create_task(busy(at, "acme", 12)) for at in (world, other)]
        halves = "SELECT COUNT(*) FROM shares WHERE places = 4"
        peak = rounds = 0
        async with asyncio.timeout(30):
            while rounds < 100 or peak < 8:
                await asyncio.sleep(0.01)
                peak = max(peak, world.emulator.hanging)
                rounds += rounds > 0 or world.rows(halves) == [(2,)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        assert peak == 8
        assert min(len(at.records) for at in (world, other)) > 0


async def test_replicas_together_stay_within_the_rate(tmp_path, database_url):
    """Over any time: burst and rate, however busy both of them are."""
    account = {"calls_per_second": 20}
    async with (
        a_world(tmp_path, acme=ROOMY, account=account, database_url=database_url, **QUIET) as world,
        world.replica() as other,
    ):
        began = time.monotonic()
        await asyncio.gather(*(submit(at, "acme") for _ in range(30) for at in (world, other)))
        seconds = time.monotonic() - began

        # Two a process at once, at most.
        assert 4 + 20 * seconds >= 60
        assert world.sent == 60


async def test_the_share_of_a_dead_replica_lapses(tmp_path, database_url):
    """What it held is the others' soon, and their calls have waited for it."""
    dead = """INSERT INTO shares VALUES ('main', 'dead', 'dead', {now}, 8, 0.0, 100, 100.0, 1)"""
    async with a_world(
        tmp_path, acme=ROOMY, account={"max_in_flight": 8}, database_url=database_url, **QUIET
    ) as world:
        # It held everything while this one came; so this one must begin with nothing.
        world.rows("UPDATE shares SET places = 0")
        world.rows(dead.format(now=time.time_ns() // 1000))
        slots = world.gateway.submission._gates["main"].slots
        await until(lambda: slots.limit < 8)
        await until(lambda: slots.limit == 8)
        assert world.rows("SELECT seat FROM shares WHERE seat = 'dead'") == []
        await submit(world, "acme")


async def test_a_throttle_lowers_the_rate_and_is_one_line_of_the_log(tmp_path):
    """The next calls come more slowly; the first one that is taken was worth the wait."""
    with capture_logs() as lines:
        async with a_world(tmp_path, acme=ROOMY, **QUIET) as world:
            slots = world.gateway.submission._gates["main"].slots
            now = asyncio.get_running_loop().time
            await asyncio.gather(*(submit(world, "acme") for _ in range(20)))
            assert not slots.rate.throttled(now())
            world.fault("throttle", times=3, retry_after_ms=0)
            answers = await asyncio.gather(
                *(submit(world, "acme") for _ in range(3)), return_exceptions=True
            )
            assert {answer_of(answer).reason for answer in answers} == {"UPSTREAM_THROTTLED"}
            assert slots.rate.throttled(now())
            assert slots.rate.per_second(now()) < 20
            await submit(world, "acme")

    (line,) = [line for line in lines if line["event"] == "upstream throttles"]
    assert (line["account"], line["log_level"]) == ("main", "warning")


async def test_a_dead_service_opens_the_breaker_and_a_probe_closes_it(tmp_path):
    """While it is open calls are refused at once and cost nothing."""
    port = free_port()
    account = {"endpoint": f"localhost:{port}"}
    with capture_logs() as lines:
        async with a_world(tmp_path, account=account, **QUIET) as world:
            for _ in range(FAILURES):
                answer = await refused(submit(world, "acme"))
                assert answer.reason == "UPSTREAM_UNREACHABLE"
            jobs = world.rows("SELECT COUNT(*) FROM jobs")
            answer = await refused(submit(world, "acme"))

            assert (answer.code, answer.reason) == (
                grpc.StatusCode.UNAVAILABLE,
                "UPSTREAM_UNREACHABLE",
            )
            assert 0 < answer.details["RetryInfo"].retry_delay.ToMilliseconds() <= 1000
            assert world.rows("SELECT COUNT(*) FROM jobs") == jobs
            assert "admit" not in [step["step"] for step in world.records[-1]["steps"]]
            assert world.used() == 0

            async with relay(port, world.emulator.https_endpoint):
                job = await world.acme.submit(cover(), timeout_seconds=20)
            assert job.upstream_job_id

    changes = [line["condition"] for line in lines if line["event"] == "upstream breaker"]
    assert changes == ["open", "half open", "closed"]


@asynccontextmanager
async def relay(port: int, endpoint: str) -> AsyncIterator[None]:
    """Be there, as a way to the endpoint."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, far_port = endpoint.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(far_port))
        await asyncio.gather(
            copy(reader, far_writer), copy(far_reader, writer), return_exceptions=True
        )

    server = await asyncio.start_server(connect, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
