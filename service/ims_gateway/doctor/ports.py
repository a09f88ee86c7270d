"""Whether the ports of a gateway are free, or served by one."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ims_gateway.doctor.finding import Finding, fail, ok, warn
from ims_gateway.settings import Settings

PORTS: Final = "port"
SECONDS: Final = 3.0
ANYWHERE: Final = ("0.0.0.0", "::", "[::]", "")


async def check_grpc_port(settings: Settings) -> list[Finding]:
    """Say whether the gRPC port is free, or who has it."""
    subject, listen = "IMSGW_LISTEN", settings.listen
    if listen.startswith("unix:"):
        folder = Path(listen.removeprefix("unix:")).parent
        if folder.is_dir():
            return [ok(PORTS, subject, listen)]
        return [fail(PORTS, subject, f"there is no folder {folder}", "Make it.")]
    if free := _free(subject, listen):
        return [free]
    if settings.tls_certificate_file is not None:
        # Its certificate may not be for this address, and it may want one of a client.
        advice = "If no gateway runs here, another program has the port: choose another one."
        return [warn(PORTS, subject, f"{listen} is taken, by whom does not show (TLS)", advice)]
    return [await _served(subject, listen)]


async def check_admin_port(settings: Settings) -> list[Finding]:
    """Say whether the port for probes is free, or who has it. It is plain text always."""
    subject, listen = "IMSGW_ADMIN_LISTEN", settings.admin_listen
    if not listen:
        return [ok(PORTS, subject, "off")]
    return [_free(subject, listen) or await _served(subject, listen)]


async def _served(subject: str, listen: str) -> Finding:
    async with grpc.aio.insecure_channel(_reachable(listen)) as channel:
        # The stub's types know nothing of its methods.
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        except grpc.RpcError:
            return _taken(subject, listen)
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return ok(PORTS, subject, f"{listen} is served by a gateway")
    advice = "It drains, or has just begun: look at its log if that does not end."
    return warn(PORTS, subject, f"{listen} has a gateway that does not serve", advice)


async def check_metrics_port(settings: Settings) -> list[Finding]:
    """Say whether the Prometheus port is free, or who has it."""
    subject, listen = "IMSGW_METRICS_LISTEN", settings.metrics_listen
    if not listen:
        return [ok(PORTS, subject, "off")]
    if free := _free(subject, listen):
        return [free]
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=SECONDS) as client:
            answer = await client.get(f"http://{_reachable(listen)}/metrics")
    except httpx.HTTPError:
        return [_taken(subject, listen)]
    if "imsgateway_" in answer.text or "target_info" in answer.text:
        return [ok(PORTS, subject, f"{listen} is served by a gateway")]
    return [_taken(subject, listen)]


def _free(subject: str, listen: str) -> Finding | None:
    """Return what is to be said of a port that nobody serves, None where somebody does."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as attempt:
        # As servers do it: what is left of connections that have ended does not count.
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, int(port)))
        except (OSError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                return None
            text = error.strerror if isinstance(error, OSError) else str(error)
            advice = "Name an address of this host, and a port that its user may open."
            return fail(PORTS, subject, f"{listen}: {text}", advice)
    return ok(PORTS, subject, f"{listen} is free")


def _taken(subject: str, listen: str) -> Finding:
    found = f"{listen} is taken by another program"
    return fail(PORTS, subject, found, f"Stop that program, or choose another {subject}.")


def _reachable(listen: str) -> str:
    host, _, port = listen.rpartition(":")
    return f"{'127.0.0.1' if host in ANYWHERE else host}:{port}"
