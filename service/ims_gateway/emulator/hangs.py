"""Where calls hang until somebody releases them.

Decides when a hanging call goes on, and that none goes on once the emulator stops.
"""

import asyncio


class Hangs:
    """The calls that hang, and the two ways out: released or abandoned."""

    def __init__(self) -> None:
        self._gate = _Gate()
        self._closed = False
        self._count = 0
        self._count_changed = asyncio.Event()

    @property
    def count(self) -> int:
        """How many calls hang now."""
        return self._count

    async def wait(self, timeout_seconds: float | None = None) -> bool:
        """Hang until let go or for the timeout. Return whether the call may go on."""
        if self._closed:
            return False
        gate = self._gate
        self._add(1)
        try:
            async with asyncio.timeout(timeout_seconds):
                await gate.opened.wait()
        except TimeoutError:
            return True
        finally:
            self._add(-1)
        return gate.leads_on

    async def wait_for_count(self, count: int) -> None:
        """Return once exactly this many calls hang."""
        while self._count != count:
            await self._count_changed.wait()

    def release(self) -> None:
        """Let every call go on that hangs now; later ones hang anew."""
        self._open(leads_on=True)

    def abandon(self) -> None:
        """Give up every call that hangs now."""
        self._open(leads_on=False)

    def close(self) -> None:
        """Give up every call that hangs, now and later."""
        self._closed = True
        self.abandon()

    def _add(self, calls: int) -> None:
        self._count += calls
        self._count_changed.set()
        self._count_changed = asyncio.Event()

    def _open(self, *, leads_on: bool) -> None:
        self._gate.leads_on = leads_on
        self._gate.opened.set()
        self._gate = _Gate()


class _Gate:
    """What the calls of one time hang at."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.leads_on = False
