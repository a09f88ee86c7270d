"""The gRPC servers of a process: the one for callers, and the one for probes and operators.

Decides what a connection may do: how long it lasts, how much it carries, how often it is pinged.
What never goes through here: a call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import grpc
from grpc_channelz.v1 import channelz
from grpc_reflection.v1alpha import reflection

from ims_gateway.api.health import Health
from ims_gateway.ports import PortTaken
from ims_gateway.settings import Settings

# Above the largest message that settings allow, so that it is our own refusal a caller sees.
RECEIVE_BYTES: Final = 8 * 1024 * 1024
# Room for a token of 8 KiB; gRPC refuses more than that by chance otherwise.
METADATA_BYTES: Final = 16 * 1024
# A connection has to itself no more than the usual share of a process; further streams of it wait
# in the client. Proxies open another connection at this number.
STREAMS_PER_CONNECTION: Final = 1000
# A peer that is gone without a word is noticed in so much time, with its watches.
PING_MILLISECONDS: Final = 60_000
PING_ANSWER_MILLISECONDS: Final = 20_000
# Clients may ping as often, also without a call. One that does more is disconnected.
CLIENT_PING_MILLISECONDS: Final = 10_000
# For probes and a person or two.
ADMIN_STREAMS: Final = 32
ADMIN_STOP_SECONDS: Final = 0.5

Option = tuple[str, int]


def callers_server(
    settings: Settings,
    health: Health,
    services: Sequence[str],
    *interceptors: grpc.aio.ServerInterceptor,
    shared: bool,
) -> grpc.aio.Server:
    """Return the server for callers, to which our services are yet to be added.

    It has health and, where settings say so, reflection. Interceptors stand outermost first. Its
    port is `shared` with processes that do the same; without, nobody else can have it.
    """
    age = settings.max_connection_age_seconds
    of_age = (
        ("grpc.max_connection_age_ms", _milliseconds(age)),
        (
            "grpc.max_connection_age_grace_ms",
            _milliseconds(settings.max_connection_age_grace_seconds),
        ),
    )
    options = (
        ("grpc.max_receive_message_length", RECEIVE_BYTES),
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES),
        ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION),
        *_pings(),
        *(of_age if age else ()),
        # Costs memory for every connection, so only where somebody can look at it.
        ("grpc.enable_channelz", int(bool(settings.admin_listen))),
        ("grpc.so_reuseport", int(shared)),
    )
    server = grpc.aio.server(interceptors=interceptors, options=options)
    health.add_to(server)
    if settings.reflection:
        names = (*services, "grpc.health.v1.Health", reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
    return server


def admin_server(health: Health, *, shared: bool) -> grpc.aio.Server:
    """Return the server for probes and operators: health, and channelz of the whole process."""
    options = (
        ("grpc.max_receive_message_length", METADATA_BYTES),
        ("grpc.max_concurrent_streams", ADMIN_STREAMS),
        *_pings(),
        ("grpc.enable_channelz", 1),
        ("grpc.so_reuseport", int(shared)),
    )
    server = grpc.aio.server(options=options)
    health.add_to(server)
    channelz.add_channelz_servicer(server)
    return server


@asynccontextmanager
async def administering(settings: Settings, health: Health, *, shared: bool) -> AsyncIterator[int]:
    """Serve probes and operators, if they are to be, and yield the port, else 0.

    Raises PortTaken.
    """
    if not settings.admin_listen:
        yield 0
        return
    server = admin_server(health, shared=shared)
    port = listen(server, "IMSGW_ADMIN_LISTEN", settings.admin_listen)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(ADMIN_STOP_SECONDS)


def listen(
    server: grpc.aio.Server,
    setting: str,
    address: str,
    credentials: grpc.ServerCredentials | None = None,
) -> int:
    """Open a server's port, and return it. Raises PortTaken, which names the setting."""
    port = 0
    # gRPC has no kind of error of its own for it.
    with suppress(RuntimeError):
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    if not port:
        raise PortTaken(setting, address)
    return port


def _pings() -> tuple[Option, ...]:
    return (
        ("grpc.keepalive_time_ms", PING_MILLISECONDS),
        ("grpc.keepalive_timeout_ms", PING_ANSWER_MILLISECONDS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", CLIENT_PING_MILLISECONDS),
    )


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
