"""A gateway that serves, and how it stops.

Decides the order of a shutdown: nothing that is paid for is cut off, whoever is in a hurry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import grpc
from prometheus_client import CollectorRegistry

from ims_gateway.api.health import Health
from ims_gateway.bulk import Bulk
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.tracker import Tracker
from ims_gateway.jobs.watching import Watches
from ims_gateway.submission import Submission
from ims_gateway.telemetry.decisions import DecisionLog
from ims_gateway.telemetry.standings import Standings
from ims_gateway.tenancy.live import Live

# How long a watch of health that nobody reads may hold up a shutdown.
TELL_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that serves; `port` and `admin_port` are those that were bound.

    `metrics` is what its Prometheus port shows.
    """

    port: int
    admin_port: int
    server: grpc.aio.Server
    health: Health
    submission: Submission
    bulk: Bulk
    watches: Watches
    tracker: Tracker
    ledger: Ledger
    decisions: DecisionLog
    configuration: Live
    metrics: CollectorRegistry
    standings: Standings

    async def drain(
        self, seconds: float, delay_seconds: float = 0.0, hurry: asyncio.Event | None = None
    ) -> None:
        """Stop taking calls after a delay, finish those in flight, settle every submit.

        Who is in a `hurry` cuts the delay short and the calls off; submits are settled all the
        same.
        """
        hurry = hurry or asyncio.Event()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.health.drain(), TELL_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), delay_seconds)
        # Streams have no end of their own, and go on at another gateway.
        self.bulk.drain()
        self.watches.drain()
        hurrying = asyncio.create_task(_after(hurry, self.server.stop))
        await self.server.stop(seconds)
        hurrying.cancel()
        await self.submission.drain()


async def _after(event: asyncio.Event, stop: Callable[[float], Awaitable[None]]) -> None:
    await event.wait()
    await stop(0)
