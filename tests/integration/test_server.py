"""What a connection may do, and what probes and operators see beside the callers' port."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from imsgateway.v1 import job_service_pb2 as pb
from tests.integration.world import a_world, cover, until

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = ("", "imsgateway.v1.JobService", "imsgateway.v1.AdminService")


@pytest.fixture
async def world(tmp_path):
    """Run a gateway with a port for probes and operators."""
    async with a_world(tmp_path, settings={"admin_listen": "127.0.0.1:0"}) as running:
        yield running


@asynccontextmanager
async def admin(world):
    """Connect to the port for probes and operators."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{world.gateway.admin_port}") as channel:
        yield channel


async def status(channel, service: str) -> int:
    """Return what health says of a service."""
    request = health_pb2.HealthCheckRequest(service=service)
    return (await health_pb2_grpc.HealthStub(channel).Check(request)).status


async def test_probes_need_neither_key_nor_certificate(world):
    """The port for them answers as the callers' does, and serves nothing else."""
    async with admin(world) as channel, grpc.aio.insecure_channel(world.target) as callers:
        for service in (*SERVICES, "liveness", "configuration"):
            assert await status(channel, service) == SERVING
            assert await status(callers, service) == SERVING
        submit = channel.unary_unary("/imsgateway.v1.JobService/SubmitJob")
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await submit(b"")
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_gateway_that_drains_is_not_ready_and_alive(world):
    """Probes are answered until the end; calls are taken for the time of the delay."""
    hurry = asyncio.Event()
    async with admin(world) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        drain = asyncio.create_task(world.gateway.drain(30, 60, hurry))
        assert (await watch.read()).status == NOT_SERVING
        for service in SERVICES:
            assert await status(channel, service) == NOT_SERVING
        assert await status(channel, "liveness") == SERVING
        assert (await world.acme.submit(cover())).name
        hurry.set()
        await drain
        assert await status(channel, "liveness") == SERVING


async def test_channelz_shows_the_callers_connections(world):
    """On the port for operators only."""
    assert (await world.acme.who_am_i()).tenant == "tenants/acme"
    async with admin(world) as channel:
        stub = channelz_pb2_grpc.ChannelzStub(channel)
        servers = (await stub.GetServers(channelz_pb2.GetServersRequest())).server
        calls = [server.data.calls_succeeded for server in servers if len(server.listen_socket)]
        assert max(calls) >= 1
    stub = channelz_pb2_grpc.ChannelzStub(grpc.aio.insecure_channel(world.target))
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stub.GetServers(channelz_pb2.GetServersRequest())
    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("on", [True, False])
async def test_reflection_is_a_switch(tmp_path, on):
    """On by default; without it a caller has to have the contract."""
    async with (
        a_world(tmp_path, settings={"reflection": on}) as world,
        grpc.aio.insecure_channel(world.target) as channel,
    ):
        assert world.gateway.admin_port == 0
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        call = stub.ServerReflectionInfo(iter([request]))
        if on:
            names = [service.name for service in (await call.read()).list_services_response.service]
            assert "imsgateway.v1.JobService" in names
        else:
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await call.read()
            assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_connection_that_is_old_ends_without_a_failed_call(tmp_path):
    """Callers connect anew; a call that is under way then has the time of the grace."""
    ages = {"max_connection_age_seconds": 1.0, "max_connection_age_grace_seconds": 30.0}
    async with a_world(tmp_path, settings=ages | {"admin_listen": "127.0.0.1:0"}) as world:
        world.fault("hang")
        slow = asyncio.create_task(world.acme.submit(cover()))
        await world.emulator.wait_until_hanging(1)
        async with admin(world) as channel:
            stub = channelz_pb2_grpc.ChannelzStub(channel)
            seen: set[int] = set()

            async def has_connected_anew() -> bool:
                assert (await world.acme.who_am_i()).tenant == "tenants/acme"
                for server in (await stub.GetServers(channelz_pb2.GetServersRequest())).server:
                    request = channelz_pb2.GetServerSocketsRequest(server_id=server.ref.server_id)
                    sockets = (await stub.GetServerSockets(request)).socket_ref
                    seen.update(socket.socket_id for socket in sockets)
                return len(seen) > 4

            await until(has_connected_anew)
        world.emulator.release()
        assert (await slow).name


class Frames:
    """A connection that speaks HTTP/2 by hand."""

    SETTINGS, PING, GOAWAY = 4, 6, 7

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, kind: int, flags: int = 0, content: bytes = b"") -> None:
        """Send a frame of the connection."""
        head = struct.pack(">I", len(content))[1:] + bytes([kind, flags]) + bytes(4)
        self._writer.write(head + content)

    async def receive(self) -> tuple[int, int, bytes]:
        """Return kind, flags and content of the next frame."""
        head = await self._reader.readexactly(9)
        content = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        return head[3], head[4], content


@asynccontextmanager
async def by_hand(world):
    """Connect without gRPC."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    frames = Frames(reader, writer)
    frames.send(Frames.SETTINGS)
    yield frames
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_pings_without_end_is_disconnected(world):
    """One that pings now and then, as keepalive does, is not: it needs no call for that."""
    answers = []
    async with by_hand(world) as frames, asyncio.timeout(30):
        while Frames.GOAWAY not in [kind for kind, _, _ in answers[-1:]]:
            frames.send(Frames.PING, content=bytes(8))
            while (frame := await frames.receive())[0] not in (Frames.PING, Frames.GOAWAY):
                pass
            answers.append(frame)
    assert [kind for kind, _, _ in answers[:2]] == [Frames.PING] * 2
    assert len(answers) <= 5
    assert answers[-1][2][8:] == b"too_many_pings"


async def test_a_connection_has_a_number_of_streams(world):
    """And is told so when it begins."""
    async with by_hand(world) as frames, asyncio.timeout(30):
        while (frame := await frames.receive())[:2] != (Frames.SETTINGS, 0):
            pass
        settings = dict(struct.iter_unpack(">HI", frame[2]))
        assert settings[3] == 1000


async def test_a_request_of_more_than_the_largest_message_ends_its_call_only(world):
    """What gRPC refuses by itself as well as what we do."""
    for size in (300_000, 9_000_000):
        request = pb.SubmitJobRequest(job=cover(user_data="x" * size))
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await world.acme.jobs.SubmitJob(request)
        assert failed.value.code() in (
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        )
    assert (await world.acme.who_am_i()).tenant == "tenants/acme"
