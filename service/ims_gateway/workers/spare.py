"""A worker that has nothing to do yet, kept so that a successor serves at once.

To import everything takes longer than to build a gateway: with it, a worker that died is missed for
a fraction of a second instead of several.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from ims_gateway.workers.process import Worker

log = structlog.get_logger()


class Spare:
    """At most one worker without work."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._preparing: asyncio.Task[None] | None = None

    def prepare(self) -> None:
        """Have one started, unless it is there."""
        if self._preparing is None or self._preparing.done():
            self._preparing = asyncio.create_task(self._prepare())

    async def take(self) -> Worker:
        """Return the worker that is there or on its way, or else one that is started now."""
        if self._preparing is not None:
            await self._preparing
        worker, self._worker = self._worker, None
        return worker if worker and not worker.ended else await Worker.started()

    async def dismiss(self) -> None:
        """Let it end."""
        if self._preparing is not None:
            await self._preparing
        if self._worker is not None:
            await self._worker.dismiss()

    async def _prepare(self) -> None:
        if self._worker is None or self._worker.ended:
            # Without it the next one takes longer.
            with suppress(OSError):
                self._worker = await Worker.started()
                log.info("successor ready", pid=self._worker.pid)
