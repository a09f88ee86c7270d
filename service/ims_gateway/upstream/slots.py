"""How many calls an upstream account has in flight, and who waits for the next place."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from ims_gateway.errors import UpstreamBusy


class Slots:
    """The places of one account; first come, first served."""

    def __init__(self, places: int) -> None:
        self._free = asyncio.Semaphore(places)

    def place(self) -> Place:
        """Return a place to enter: it is taken at once where one is free and nobody waits."""
        return Place(self._free)


class Place:
    """At most one place of the account; given back when it is left, or before."""

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free = free
        self.taken = False

    async def wait(self, seconds: float) -> None:
        """Wait for a place. Raises UpstreamBusy where none gets free in time: nothing was sent."""
        try:
            async with asyncio.timeout(seconds):
                await self._free.acquire()
        except TimeoutError:
            raise UpstreamBusy("no upstream call can be made in the time left") from None
        self.taken = True

    def release(self) -> None:
        """Give the place to whoever waits longest. A second time does nothing."""
        if self.taken:
            self.taken = False
            self._free.release()

    async def __aenter__(self) -> Self:
        if not self._free.locked():
            await self._free.acquire()
            self.taken = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
