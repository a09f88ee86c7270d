"""Keeps the directory in force: looks for changed files, and swaps the directory whole.

Decides when to look. A call takes the directory that is current when it asks, and keeps what it got
from it. What it never does: judge a file.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from ims_gateway.tenancy.checks import ChecksOf, no_checks
from ims_gateway.tenancy.directory import Directory
from ims_gateway.tenancy.loading import Beginning, Loaded, finish, refresh
from ims_gateway.tenancy.looking import TENANTS
from ims_gateway.tenancy.reading import Fault

LOOK_SECONDS: Final = 0.5
# Files that were being written when they were seen.
LOOK_AGAIN_SECONDS: Final = 0.2
# A file that is written to without a pause settles never.
LOOKS_AT_MOST: Final = 10

log = structlog.get_logger()


class Live:
    """The directory of the configuration folder whose reading has begun, as it is now.

    `told` is called with every directory that replaces another one and with every change of the
    faults. `checks_of` reads what tenants have to pass before they are taken.
    Raises ConfigurationError as `loading.finish` does.
    """

    def __init__(
        self,
        beginning: Beginning,
        told: Callable[[Live], None] | None = None,
        checks_of: ChecksOf = no_checks,
    ) -> None:
        self._folder = beginning.folder
        self._checks_of = checks_of
        self._told = told
        self._loaded = finish(beginning, checks_of)
        self._one_at_a_time = asyncio.Lock()
        _report_faults(self._loaded, {})

    @property
    def directory(self) -> Directory:
        """The directory in force."""
        return self._loaded.directory

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What is wrong with files that were not taken."""
        return tuple(fault for found in self._loaded.faults.values() for fault in found)

    def faults_of(self, tenant: str) -> tuple[Fault, ...]:
        """Return what is wrong with the tenant's file, if it was not taken."""
        return self._loaded.faults.get(f"{TENANTS}{tenant}.yaml", ())

    async def run(self) -> None:
        """Look for changes until cancelled. No failure ends it."""
        while True:
            await asyncio.sleep(LOOK_AGAIN_SECONDS if self._loaded.unsettled else LOOK_SECONDS)
            try:
                await self.reload()
            except Exception:
                log.exception("configuration cannot be looked at")

    async def settle(self) -> None:
        """Take the files that have changed, also those that were written to a moment ago."""
        await self.reload()
        for _ in range(LOOKS_AT_MOST):
            if not self._loaded.unsettled:
                break
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            await self.reload()

    async def reload(self) -> None:
        """Take the files that have changed."""
        async with self._one_at_a_time:
            before = self._loaded
            now = time.time_ns()
            after = await asyncio.to_thread(refresh, self._folder, before, now, self._checks_of)
            self._loaded = after
        if after is not before and (after.directory, after.faults) != (
            before.directory,
            before.faults,
        ):
            _report_faults(after, before.faults)
            log.info(
                "configuration reloaded",
                tenants=len(after.directory),
                platform_version=after.directory.platform.version,
                faults=len(self.faults),
            )
            if self._told:
                self._told(self)


def _report_faults(loaded: Loaded, known: Mapping[str, tuple[Fault, ...]]) -> None:
    for name, found in loaded.faults.items():
        if known.get(name) != found:
            for fault in found:
                log.error("configuration file not taken", fault=str(fault))
