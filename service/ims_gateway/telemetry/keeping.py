"""Brings decisions into the ledger, where every replica and the next process find them.

Decides when: once a second, in one transaction, and never in the way of a call. The queue is
bounded; what does not fit is counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog

from ims_gateway.errors import StoreUnavailable
from ims_gateway.jobs.decisions import Kept
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.telemetry.decisions import Record

WAITING: Final = 10_000
# Writing so many keeps others from the ledger for some 20 ms.
AT_ONCE: Final = 1_000
INTERVAL_SECONDS: Final = 1.0
FOUND_BY: Final = ("decision_id", "tenant", "principal", "code", "reason")

log = structlog.get_logger()


class Keeping:
    """Keeps the latest `most` decisions of all processes in the ledger."""

    def __init__(self, ledger: Ledger, most: int) -> None:
        self.lost = 0
        self._ledger = ledger
        self._most = most
        self._queue: deque[Record] = deque()
        self._writing = asyncio.Lock()

    def put(self, record: Record) -> None:
        """Take a record. Never waits."""
        if len(self._queue) < WAITING:
            self._queue.append(record)
        else:
            self.lost += 1

    async def run(self, before_each: Callable[[], None]) -> None:
        """Keep what comes until cancelled. No failure ends it."""
        told = 0
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            try:
                before_each()
                await self.flush()
            except StoreUnavailable as error:
                log.warning("decisions wait for the ledger", error=error.message)
            except Exception as error:
                log.exception("decisions not kept", error=type(error).__name__)
            if self.lost > told:
                log.warning("decisions lost", count=self.lost - told)
                told = self.lost

    async def flush(self) -> bool:
        """Write what waits, or as much of it as one transaction takes; say whether any did.

        Raises StoreUnavailable; it all waits on, then.
        """
        # One at a time: who flushes to find a record must not overtake the batch that holds it.
        async with self._writing:
            batch = [self._queue.popleft() for _ in range(min(AT_ONCE, len(self._queue)))]
            if not batch:
                return False
            try:
                decisions = await asyncio.to_thread(_decisions, batch)
                await self._ledger.keep_decisions(decisions, self._most)
            except (StoreUnavailable, asyncio.CancelledError):
                self._queue.extendleft(reversed(batch))
                raise
            except Exception:
                self.lost += len(batch)
                raise
            return True

    async def close(self) -> None:
        """Write all that waits, if the ledger takes it."""
        try:
            while await self.flush():
                pass
        except StoreUnavailable as error:
            log.warning("decisions not kept", count=len(self._queue), error=error.message)


def _decisions(records: Sequence[Record]) -> list[Kept]:
    # An aggregate that has grown meanwhile is there twice; the last one counts.
    return [*{record.facts["decision_id"]: _kept(record) for record in records}.values()]


def _kept(record: Record) -> Kept:
    facts = record.facts
    found_by = {name: facts[name] for name in FOUND_BY}
    return Kept(**found_by, differs=int(_differs(facts.get("policy", {}))), record=record.text)


def _differs(policy: Mapping[str, Any]) -> bool:
    """Say whether the shadow policy, if there is one, would have decided otherwise."""
    shadow = policy.get("shadow")
    return shadow is not None and bool(shadow["allowed"] != policy["allowed"])
