"""More calls than a process may serve at once: who is refused, and what that costs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ims_gateway_client import AsyncClient
from imsgateway.v1 import access_service_pb2 as access
from imsgateway.v1 import job_service_pb2 as pb
from tests.integration.world import World, a_world, cover, refused, until

MOST = 3


@pytest.fixture
async def world(tmp_path):
    """Run a gateway that serves few calls at once."""
    async with a_world(tmp_path, settings={"max_calls": MOST, "max_streams": MOST}) as running:
        yield running


async def occupied(world: World, stack: AsyncExitStack) -> list[asyncio.Task]:
    """Return as many submits as there are places; the service leaves them without an answer."""
    world.fault("hang", times=MOST)
    tasks = [asyncio.create_task(world.acme.submit(cover())) for _ in range(MOST)]
    stack.push_async_callback(asyncio.gather, *tasks, return_exceptions=True)
    stack.callback(world.emulator.release)
    await world.emulator.wait_until_hanging(MOST)
    return tasks


async def test_a_call_that_is_too_many_is_refused_before_anything_is_done_for_it(world):
    """With when to come back, whoever calls: nobody was asked for a key, nothing was charged."""
    async with AsyncExitStack() as stack:
        tasks = await occupied(world, stack)
        charged = world.used()
        answer = await refused(world.globex.jobs.SubmitJob(pb.SubmitJobRequest(job=cover())))
        assert (answer.code, answer.reason) == (grpc.StatusCode.UNAVAILABLE, "GATEWAY_BUSY")
        assert answer.details["RetryInfo"].retry_delay.ToMilliseconds() == 1000
        async with AsyncClient(world.target, api_key="nobody") as stranger:
            answer = await refused(stranger.jobs.SubmitJob(pb.SubmitJobRequest(job=cover())))
        assert answer.reason == "GATEWAY_BUSY"
        assert (world.sent, world.used()) == (MOST, charged)
        world.emulator.release()
        assert len({job.name for job in await asyncio.gather(*tasks)}) == MOST
    assert (await world.acme.who_am_i()).tenant == "tenants/acme"
    records = [record for record in world.records if record["reason"] == "GATEWAY_BUSY"]
    assert sum(record["count"] for record in records) == 2


async def test_a_read_is_repeated_until_there_is_a_place(world):
    """By the client, as it declares."""
    async with AsyncExitStack() as stack:
        await occupied(world, stack)
        asking = asyncio.create_task(world.acme.who_am_i())
        await until(lambda: any(line["reason"] == "GATEWAY_BUSY" for line in world.records))
        world.emulator.release()
        assert (await asking).tenant == "tenants/acme"


async def test_a_busy_gateway_is_healthy(world):
    """A probe that failed would have it restarted, which makes the others busier."""
    async with AsyncExitStack() as stack:
        await occupied(world, stack)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(world.target))
        for service in ("", "liveness"):
            request = health_pb2.HealthCheckRequest(service=service)
            answer = await health_pb2_grpc.HealthStub(channel).Check(request)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_streams_and_calls_do_not_take_each_other_s_places(world):
    """Watches for as long as their jobs keep no call out, and calls no watch."""
    world.fault("never_finish", times=MOST)
    names = [(await world.acme.submit(cover())).name for _ in range(MOST)]
    async with AsyncExitStack() as stack:
        watches = [world.acme.jobs.WatchJob(pb.WatchJobRequest(name=name)) for name in names]
        for watch in watches:
            await watch.read()
            stack.callback(watch.cancel)
        assert (await world.acme.who_am_i()).tenant == "tenants/acme"
        further = world.acme.jobs.WatchJob(pb.WatchJobRequest(name=names[0]))
        assert (await refused(further.read())).reason == "GATEWAY_BUSY"
        watches[0].cancel()

        async def there_is_a_place() -> bool:
            watch = world.acme.jobs.WatchJob(pb.WatchJobRequest(name=names[0]))
            stack.callback(watch.cancel)
            try:
                return bool(await watch.read())
            except grpc.aio.AioRpcError:
                return False

        await until(there_is_a_place)


async def test_whoever_hangs_up_leaves_a_place(world):
    """Also in the middle of a call: the place is the call's, not the paid job's."""
    async with AsyncExitStack() as stack:
        tasks = await occupied(world, stack)
        assert (await refused(world.acme.access.WhoAmI(access.WhoAmIRequest()))).reason == (
            "GATEWAY_BUSY"
        )
        tasks[0].cancel()

        async def there_is_a_place() -> bool:
            try:
                return bool(await world.acme.access.WhoAmI(access.WhoAmIRequest()))
            except grpc.aio.AioRpcError:
                return False

        await until(there_is_a_place)
