"""How late the event loop runs what is due: what a call waits for is at least as late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

INTERVAL_SECONDS: Final = 0.25


async def watch_lag(record: Callable[[float], None]) -> None:
    """Record, until cancelled, by how many seconds a timer fires too late."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + INTERVAL_SECONDS
        await asyncio.sleep(INTERVAL_SECONDS)
        record(max(0.0, loop.time() - due))
