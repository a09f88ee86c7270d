"""How many calls an upstream account has in flight, and who waits for the next place."""

from __future__ import annotations

import asyncio

from ims_gateway.errors import UpstreamBusy


class Slots:
    """The places of one account; first come, first served."""

    def __init__(self, places: int) -> None:
        self._free = asyncio.Semaphore(places)

    async def acquire(self, wait_seconds: float) -> None:
        """Take a place. Raises UpstreamBusy where none gets free in time: nothing was sent."""
        try:
            async with asyncio.timeout(wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise UpstreamBusy("no upstream call can be made in the time left") from None

    def release(self) -> None:
        """Give the place to whoever waits longest."""
        self._free.release()
