"""Certificates change under load, over and over: no call fails."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack

import grpc
import pytest
from cryptography import x509

from ims_gateway.identity.keys import key_hash
from imsgateway.v1 import access_service_pb2 as access
from imsgateway.v1 import access_service_pb2_grpc, job_service_pb2, job_service_pb2_grpc
from tests.integration.world import PEPPER, World, a_world, cover, until
from tests.issuers import Authority, Pair

SWAPS = 10
AUTHORITY = Authority()
SPIFFE_ID = "spiffe://cluster.local/ns/media/sa/render-farm"
KEY = "imsk_k1234567_" + "a" * 43
BEARER = (("authorization", f"Bearer {KEY}"),)


def workload(authority: Authority = AUTHORITY) -> Pair:
    """Return the certificate of a client."""
    return authority.pair(x509.UniformResourceIdentifier(SPIFFE_ID))


def put(folder, name: str, content: bytes) -> None:
    """Replace a file at once, as whoever mounts secrets does."""
    (folder / f"{name}.new").write_bytes(content)
    (folder / f"{name}.new").rename(folder / name)


class Callers:
    """Some connect anew for every call, and one submits over a connection that stays."""

    def __init__(self, world: World, pair: Pair | None) -> None:
        self._target = world.target
        self._pair = pair
        self._enough = False
        self.connected = 0
        self.submitted = 0

    def channel(self) -> grpc.aio.Channel:
        """Return a connection of its own. No call is made twice."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        proofs = (self._pair.key, self._pair.certificate) if self._pair else ()
        credentials = grpc.ssl_channel_credentials(AUTHORITY.pem, *proofs)
        return grpc.aio.secure_channel(self._target, credentials, options)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what a call carries: the certificate is enough where there is one."""
        return () if self._pair else BEARER

    async def connect(self) -> None:
        """Call over new connections. Raises what a call raises."""
        while not self._enough:
            async with self.channel() as channel:
                stub = access_service_pb2_grpc.AccessServiceStub(channel)
                await stub.WhoAmI(access.WhoAmIRequest(), metadata=self.metadata)
                self.connected += 1

    async def submit(self) -> None:
        """Submit over one connection. Raises what a call raises."""
        async with self.channel() as channel:
            stub = job_service_pb2_grpc.JobServiceStub(channel)
            while not self._enough:
                request = job_service_pb2.SubmitJobRequest(job=cover())
                await stub.SubmitJob(request, metadata=self.metadata)
                self.submitted += 1

    def enough(self) -> None:
        """Let them end."""
        self._enough = True


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mtls"])
async def test_certificates_change_under_load_without_a_failed_call(tmp_path, mutual):
    """Server's certificate and key ten times, with clients' authorities where they count."""
    pair = AUTHORITY.for_this_machine()
    certificate, key = pair.write(tmp_path, "server")
    clients_ca = tmp_path / "clients.pem"
    clients_ca.write_bytes(AUTHORITY.pem)
    robot = {
        "name": "robot",
        "roles": ["editor"],
        "spiffe_ids": [SPIFFE_ID],
        "keys": [{"id": "k1234567", "hash": key_hash(KEY, PEPPER.encode())}],
    }
    settings = {
        "tls_certificate_file": certificate,
        "tls_key_file": key,
        "tls_client_ca_file": clients_ca if mutual else None,
    }
    limits = [{"id": "daily", "kind": "day", "max": 1_000_000}]
    async with (
        a_world(
            tmp_path, acme={"principals": [robot], "limits": limits}, settings=settings
        ) as world,
        AsyncExitStack() as stack,
    ):
        callers = Callers(world, workload() if mutual else None)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for _ in range(3):
            group.create_task(callers.connect())
        group.create_task(callers.submit())
        stack.callback(callers.enough)
        newest = AUTHORITY
        for _ in range(SWAPS):
            pair = AUTHORITY.for_this_machine()
            if mutual:
                newest = Authority()
                put(tmp_path, "clients.pem", AUTHORITY.pem + newest.pem)
            put(tmp_path, "server.pem", pair.certificate)
            put(tmp_path, "server.key", pair.key)
            await until(lambda wanted=pair: is_served(world, tmp_path, wanted))
            before = callers.connected, callers.submitted
            await until(lambda before=before: callers.connected > before[0] + 3)
            await until(lambda before=before: callers.submitted > before[1])
        if mutual:
            of_newest = Callers(world, workload(newest))
            asking = asyncio.create_task(of_newest.connect())
            await until(lambda: of_newest.connected)
            of_newest.enough()
            await asking
    assert world.sent == callers.submitted


async def is_served(world: World, folder, pair: Pair) -> bool:
    """Say whether a new connection gets that certificate."""
    wanted = ssl.PEM_cert_to_DER_cert(pair.certificate.decode())
    return await asyncio.to_thread(certificate_of, world, folder) == wanted


def certificate_of(world: World, folder) -> bytes:
    """Return the certificate that a new connection gets."""
    (folder / "ca.pem").write_bytes(AUTHORITY.pem)
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(*workload().write(folder, "looker"))
    context.set_alpn_protocols(["h2"])
    port = world.gateway.port
    with (
        socket.create_connection(("127.0.0.1", port)) as connection,
        context.wrap_socket(connection, server_hostname="127.0.0.1") as wrapped,
    ):
        return wrapped.getpeercert(binary_form=True) or b""
