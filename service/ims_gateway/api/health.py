"""The standard health service: whether the gateway serves, and whether its files are in force.

""               whether calls are taken: for readiness and startup probes, and for clients
<a service>      the same, by the service's name
"liveness"       SERVING for as long as the event loop turns, also while it drains. It asks
                 nothing else, the database least of all: a restart mends none of that
"configuration"  NOT_SERVING while a configuration file was not taken, and nothing else is: what
                 was in force before is in force still, and a gateway must not be restarted for
                 somebody's bad file
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio

from ims_gateway.tenancy.reading import Fault

LIVENESS: Final = "liveness"
CONFIGURATION: Final = "configuration"
SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """What the health service says of some services."""

    def __init__(self, services: Collection[str]) -> None:
        self._services = ("", *services)
        self._servicers: list[aio.HealthServicer] = []
        self._telling: set[asyncio.Task[None]] = set()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Let a server answer with it.

        By a servicer of its own: who watches at one server and does not read holds up no other.
        """
        servicer = aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        self._servicers.append(servicer)

    async def serve(self, faults: Collection[Fault]) -> None:
        """Say that all services are served, and what is true of the files."""
        await self._say(SERVING, *self._services, LIVENESS)
        await self._say(NOT_SERVING if faults else SERVING, CONFIGURATION)

    def show(self, faults: Collection[Fault]) -> None:
        """Say whether files were left out. Never waits, as some who watch do not read."""
        status = NOT_SERVING if faults else SERVING
        task = asyncio.create_task(self._say(status, CONFIGURATION))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def drain(self) -> None:
        """Say that nothing is served any more, and that the event loop turns still."""
        await self._say(NOT_SERVING, *self._services)

    async def _say(self, status: int, *services: str) -> None:
        saying = (
            servicer.set(service, status) for servicer in self._servicers for service in services
        )
        await asyncio.gather(*saying)
