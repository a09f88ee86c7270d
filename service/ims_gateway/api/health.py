"""The standard health service: whether the gateway serves, and whether its files are in force.

""               whether calls are taken: for readiness and startup probes, and for clients
<a service>      the same, by the service's name
"liveness"       SERVING for as long as the event loop turns, also while it drains. It asks
                 nothing else, the database least of all: a restart mends none of that
"configuration"  NOT_SERVING while a configuration file was not taken or an account's key cannot
                 be renewed, and nothing else is: what was in force before is in force still, and
                 a gateway must not be restarted for somebody's bad file
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
# What the configuration's health is about.
FILES: Final = "files"
KEYS: Final = "keys"
SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """What the health service says of some services."""

    def __init__(self, services: Collection[str]) -> None:
        self._services = ("", *services)
        self._troubled: set[str] = set()
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
        """Say that all services are served, and what is true of the files and of what was shown."""
        await self._say(SERVING, *self._services, LIVENESS)
        self._note(FILES, faults)
        await self._say(self._configuration, CONFIGURATION)

    def show(self, what: str, problems: Collection[object]) -> None:
        """Say whether there are problems of a kind. Never waits, as some who watch do not read."""
        self._note(what, problems)
        task = asyncio.create_task(self._say(self._configuration, CONFIGURATION))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def drain(self) -> None:
        """Say that nothing is served any more, and that the event loop turns still."""
        await self._say(NOT_SERVING, *self._services)

    @property
    def _configuration(self) -> int:
        return int(NOT_SERVING if self._troubled else SERVING)

    def _note(self, what: str, problems: Collection[object]) -> None:
        (self._troubled.add if problems else self._troubled.discard)(what)

    async def _say(self, status: int, *services: str) -> None:
        saying = (
            servicer.set(service, status) for servicer in self._servicers for service in services
        )
        await asyncio.gather(*saying)
