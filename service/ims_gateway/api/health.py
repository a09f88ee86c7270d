"""The standard health service: whether the gateway serves, and whether its files are in force.

A configuration file that was not taken makes "configuration" NOT_SERVING and nothing else: what was
in force before is in force still, and a gateway must not be restarted for somebody's bad file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio

from ims_gateway.tenancy.reading import Fault

CONFIGURATION: Final = "configuration"
SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """What the health service says."""

    def __init__(self) -> None:
        self._servicer = aio.HealthServicer()
        self._telling: set[asyncio.Task[None]] = set()

    async def serve(
        self, server: grpc.aio.Server, services: Collection[str], faults: Collection[Fault]
    ) -> None:
        """Let a server say that all services are served, and what is true of its files."""
        for name in ("", *services):
            await self._servicer.set(name, SERVING)
        await self._servicer.set(CONFIGURATION, NOT_SERVING if faults else SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    def show(self, faults: Collection[Fault]) -> None:
        """Say whether files were left out. Never waits, as some who watch do not read."""
        status = NOT_SERVING if faults else SERVING
        task = asyncio.create_task(self._servicer.set(CONFIGURATION, status))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def drain(self) -> None:
        """Say from now on that nothing is served."""
        await self._servicer.enter_graceful_shutdown()
