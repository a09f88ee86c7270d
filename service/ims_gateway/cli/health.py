"""imsgw health: whether the gateway of this container takes calls, as its health service says."""

from __future__ import annotations

from typing import Any, Final

import grpc
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ims_gateway.settings import Settings

SECONDS: Final = 4.0
UNHEALTHY: Final = 1


def ask(settings: Settings) -> None:
    """Ask on the port for probes, or where there is none on the one for callers.

    Says nothing where all is well. Raises typer.Exit with 1 where it is not: also for a port with
    TLS, which is asked for nothing here.
    """
    address = settings.admin_listen or settings.listen
    host, _, port = address.rpartition(":")
    target = f"{'127.0.0.1' if host in ('0.0.0.0', '') else host}:{port}"
    with grpc.insecure_channel(target) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        except grpc.RpcError as error:
            typer.echo(f"{target}: {error.code().name}", err=True)
            raise typer.Exit(UNHEALTHY) from None
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        typer.echo(f"{target}: {name}", err=True)
        raise typer.Exit(UNHEALTHY)
