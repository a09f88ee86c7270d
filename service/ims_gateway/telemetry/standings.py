"""How things stand in the ledger, taken now and then: open jobs, holds, and what is left of quotas.

The ledger is asked in the background and never by who collects metrics, so a scrape costs it
nothing. What could not be asked is not shown: an old number would look like a good one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

import structlog

from ims_gateway.errors import StoreUnavailable
from ims_gateway.jobs.census import Census, Group
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.states import OPEN, State
from ims_gateway.quota.charges import LimitState
from ims_gateway.telemetry import instruments
from ims_gateway.telemetry.instruments import Values
from ims_gateway.telemetry.meters import Meters
from ims_gateway.tenancy.directory import Directory

INTERVAL_SECONDS: Final = 15.0
# Of so many tenants the quotas are read in one round; of more, each has its turn.
TENANTS_AT_ONCE: Final = 50
MICROSECONDS: Final = 1_000_000
UNENDED: Final = (State.SUBMITTING, *OPEN, State.SUBMIT_UNKNOWN)

log = structlog.get_logger()


class Standings:
    """What the last round has found.

    `accounts` are those that are polled, `known` returns the tenants whose quotas are shown, and
    `directory` what is in force of them.
    """

    def __init__(
        self,
        ledger: Ledger,
        accounts: Collection[str],
        known: Callable[[], Iterable[str]],
        directory: Callable[[], Directory],
    ) -> None:
        self._ledger = ledger
        self._accounts = accounts
        self._known = known
        self._directory = directory
        self._waiting: deque[str] = deque()
        self._census: Census | None = None
        self._quotas: dict[str, tuple[LimitState, ...]] = {}
        self._away = False

    async def run(self) -> None:
        """Take rounds until cancelled. No failure ends it."""
        while True:
            try:
                await self.round()
                self._away = False
            except StoreUnavailable as error:
                if not self._away:
                    log.warning("metrics wait for the ledger", error=error.message)
                self._away = True
            except Exception as error:  # noqa: BLE001 - the next round may be better
                log.error("metrics not taken", error=type(error).__name__)  # noqa: TRY400 - no values
            await asyncio.sleep(INTERVAL_SECONDS)

    async def round(self) -> None:
        """Ask the ledger once. Raises StoreUnavailable."""
        self._census = None
        self._census = await self._ledger.census()
        for name in self._next():
            # Not shown meanwhile, nor after a failure.
            self._quotas.pop(name, None)
            if tenant := self._directory().tenant(name):
                self._quotas[name] = await self._ledger.usage(name, tenant.limits)

    def show(self, meters: Meters) -> None:
        """Let the metrics show it."""
        meters.gauge(instruments.JOBS, self._jobs)
        meters.gauge(instruments.JOBS_OLDEST_AGE, self._ages)
        meters.gauge(instruments.QUOTA_HOLDS, self._holds)
        meters.gauge(instruments.TRACKER_LAG, self._lag)
        meters.gauge(instruments.QUOTA_LIMIT, lambda: self._least(lambda limit: limit.value))
        meters.gauge(
            instruments.QUOTA_REMAINING, lambda: self._least(lambda limit: max(0, limit.remaining))
        )

    def _next(self) -> Iterator[str]:
        if not self._waiting:
            self._waiting.extend(self._known())
        for _ in range(min(TENANTS_AT_ONCE, len(self._waiting))):
            yield self._waiting.popleft()

    def _jobs(self) -> list[tuple[Values, float]]:
        census = self._census
        if census is None:
            return []
        return [((state.name,), census.jobs.get(state, Group()).jobs) for state in UNENDED]

    def _ages(self) -> list[tuple[Values, float]]:
        census = self._census
        if census is None:
            return []
        oldest = {state: census.jobs.get(state, Group()).oldest for state in UNENDED}
        return [
            ((state.name,), _seconds(census.time - (census.time if time is None else time)))
            for state, time in oldest.items()
        ]

    def _holds(self) -> list[tuple[Values, float]]:
        census = self._census
        return [((state.name,), count) for state, count in census.holds.items()] if census else []

    def _lag(self) -> list[tuple[Values, float]]:
        census = self._census
        if census is None:
            return []
        due = [time for account, time in census.due.items() if account in self._accounts]
        return [((), _seconds(census.time - min(due, default=census.time)))]

    def _least(self, number: Callable[[LimitState], int]) -> list[tuple[Values, float]]:
        """Return a number of each limit: of one that is counted separately, the smallest."""
        found: dict[Values, float] = {}
        for tenant, limits in self._quotas.copy().items():
            for limit in limits:
                if not limit.shadow:
                    key = tenant, limit.limit_id
                    found[key] = min(found.get(key, number(limit)), number(limit))
        return [*found.items()]


def _seconds(microseconds: int) -> float:
    return max(0, microseconds) / MICROSECONDS
