"""Purges jobs that ended long ago, a few at a time, as long as there are any.

Decides how much of the ledger's time that may take.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import structlog

from ims_gateway.errors import StoreUnavailable
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.pace import MICROSECONDS

BATCH: Final = 100
# Of ten parts of the ledger's time, purging takes one.
PAUSE_PER_BATCH: Final = 9.0
SHORTEST_PAUSE_SECONDS: Final = 0.05
LOOK_SECONDS: Final = 60.0

log = structlog.get_logger()


class Retention:
    """Purges the jobs of a ledger that ended `retention_seconds` ago."""

    def __init__(self, ledger: Ledger, retention_seconds: float) -> None:
        self._ledger = ledger
        self._retention = round(retention_seconds * MICROSECONDS)

    async def run(self) -> None:
        """Purge until cancelled. No failure ends it."""
        while True:
            began = time.monotonic()
            try:
                purged = await self.purge()
            except StoreUnavailable as error:
                log.warning("purge waits for the ledger", error=error.message)
                purged = 0
            except Exception as error:
                log.exception("purge failed", error=type(error).__name__)
                purged = 0
            pause = PAUSE_PER_BATCH * (time.monotonic() - began)
            full = purged == BATCH
            await asyncio.sleep(max(SHORTEST_PAUSE_SECONDS, pause) if full else LOOK_SECONDS)

    async def purge(self) -> int:
        """Purge one batch in one transaction; return how many jobs. Raises StoreUnavailable."""
        return await self._ledger.purge(self._retention, BATCH)
