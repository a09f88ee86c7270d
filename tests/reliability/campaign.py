"""A campaign: one ledger, one service, one crowd, and gateways that die one after the other.

When the last one has died, a gateway comes that lives, a while later: it settles what the dead left
behind, drains, and then the books are compared. Nothing else is done about any of the deaths.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Final

from ims_gateway.emulator.faults import FaultKind, FaultPlan
from ims_gateway.emulator.server import Emulator
from ims_gateway.identity.keys import new_key
from tests.integration.world import ENVIRONMENT, PEPPER
from tests.reliability.books import Accepted, Books, Database, Violation
from tests.reliability.crowd import Crowd
from tests.reliability.lives import Launcher, Life
from tests.reliability.naive import THE_PRODUCT, Variant
from tests.reliability.points import FROM_OUTSIDE, OF_A_CROWD, OF_LAPSES, ON_THE_WIRE, Doom, Point
from tests.reliability.scenery import LIMITS, an_emulator, configure

SUBMIT_TIMEOUT_SECONDS: Final = 1.0
# Longer than the lease of an intent, and than the tracker's claim of a job.
LEASE_SECONDS: Final = 15.0
ALL_LAPSED_SECONDS: Final = 120.0
# A life that does not come to its point in this time is ended, and its doom is put off.
LONGEST_LIFE_SECONDS: Final = 10.0
# Lapsed leases are closed when a gateway starts, or another gateway has done it.
LONGEST_LOOK_SECONDS: Final = 2.0
LONGEST_INSTANT_SECONDS: Final = 0.5
MOST_PUT_OFF: Final = 3
# How many lives begin after all leases of the last one have lapsed.
SHARE_LATE: Final = 0.2
SETTLED_SECONDS: Final = 120.0
LONGEST_CAMPAIGN_SECONDS: Final = 900.0
LOOK_SECONDS: Final = 0.02
CALLERS: Final = 12
# How a life's share of calls goes wrong, beside its death.
SPOILED: Final = (
    FaultKind.THROTTLE,
    FaultKind.REFUSE,
    FaultKind.SERVER_ERROR,
    FaultKind.GARBAGE,
    FaultKind.DROP,
    FaultKind.ACCEPT_THEN_DROP,
    FaultKind.ACCEPTED_NO_JOB_ID,
    FaultKind.BAD_GATEWAY_HTML,
    FaultKind.SLOW,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a campaign is to be. `seats` is how many gateways there are at a time."""

    seed: int
    dooms: tuple[Doom, ...]
    max_in_flight: int = 32
    seats: int = 1
    variant: Variant = THE_PRODUCT


@dataclass(slots=True)
class Outcome:
    """What came of a campaign."""

    plan: Plan
    kills: Counter[Point] = field(default_factory=Counter)
    put_off: Counter[Point] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    states: Mapping[str, int] = field(default_factory=dict)
    request_ids: int = 0
    accepted: int = 0


async def carry_out(plan: Plan, launcher: Launcher, folder: Path, database_url: str) -> Outcome:
    """Carry out a campaign in an empty folder, on an empty database.

    Raises GatewayError where a gateway does what nobody told it to.
    """
    async with AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(an_emulator())
        campaign = Campaign(plan, launcher, emulator, folder=folder, database_url=database_url)
        database = Database(database_url)
        stack.push_async_callback(launcher.kill_all)
        await stack.enter_async_context(asyncio.timeout(LONGEST_CAMPAIGN_SECONDS))
        await campaign.run(database)
        return campaign.close_books(database)


class Campaign:
    """The deaths of a campaign, and what is found after them."""

    def __init__(
        self,
        plan: Plan,
        launcher: Launcher,
        emulator: Emulator,
        *,
        folder: Path,
        database_url: str,
    ) -> None:
        self.outcome = Outcome(plan)
        self._plan = plan
        self._launcher = launcher
        self._folder = folder
        self._emulator = emulator
        self._database_url = database_url
        self._dice = random.Random(plan.seed)  # noqa: S311 - the seed is to bring it back
        self._dooms = deque(plan.dooms)
        self._faults = cycle(self._dice.sample(SPOILED, len(SPOILED)))
        self._ahead_seconds = 0.0
        self._sockets = [launcher.folder / f"{plan.seed:x}-{seat}" for seat in range(plan.seats)]
        keys = {tenant: new_key()[1] for tenant, _ in LIMITS}
        configure(folder, emulator, keys, plan.max_in_flight)
        self._crowd = Crowd([f"unix:{path}" for path in self._sockets], keys, self._dice, CALLERS)

    async def run(self, database: Database) -> None:
        """Let all dooms be met, then a gateway live that brings everything to its end."""
        async with asyncio.TaskGroup() as group:
            crowd = group.create_task(self._crowd.run())
            await self.kill_all()
            survivor = await self.start(ahead_seconds=ALL_LAPSED_SECONDS)
            self._crowd.enough()
            await crowd
            await _settled(database)
            await survivor.stop()

    def close_books(self, database: Database) -> Outcome:
        """Return what came of it."""
        accepted = [
            Accepted(job.job_id, job.parameters.get("UserData", "")) for job in self._emulator.jobs
        ]
        told = [order.told() for order in self._crowd.orders]
        books = Books(database.rows, accepted, told, LIMITS)
        self.outcome.violations = books.violations()
        self.outcome.states = books.states()
        self.outcome.request_ids, self.outcome.accepted = len(told), len(accepted)
        return self.outcome

    async def kill_all(self) -> None:
        """Let a gateway live in each seat, and after its death another, until all dooms are met."""
        async with asyncio.TaskGroup() as group:
            for seat in range(self._plan.seats):
                group.create_task(self._kill_in(seat))

    async def start(
        self, seat: int = 0, doom: Doom | None = None, ahead_seconds: float = 0.0
    ) -> Life:
        """Start a gateway, with its clock ahead of the last one's."""
        self._ahead_seconds += ahead_seconds
        settings = {
            "config_dir": str(self._folder),
            "key_pepper": PEPPER,
            "database_url": self._database_url,
            "listen": f"unix:{self._sockets[seat]}",
            "decision_log": "",
            "submit_timeout_seconds": SUBMIT_TIMEOUT_SECONDS,
            "poll_interval_seconds": 0.1,
        }
        life = await self._launcher.start(
            settings,
            ENVIRONMENT,
            self._folder / "gateway.log",
            doom=doom,
            ahead_seconds=self._ahead_seconds,
            variant=self._plan.variant.name,
        )
        await life.begin()
        return life

    async def _kill_in(self, seat: int) -> None:
        while self._dooms:
            doom = self._dooms.popleft()
            if doom.point in OF_LAPSES:
                # Somebody has to leave an intent behind.
                await self._live_and_die(seat, Doom(Point.SEND_ACCEPTED))
            await self._live_and_die(seat, doom)

    async def _live_and_die(self, seat: int, doom: Doom) -> None:
        late = doom.point in OF_LAPSES or self._dice.random() < SHARE_LATE
        life = await self.start(seat, doom, LEASE_SECONDS if late else 0.0)
        self._spoil(doom)
        if await self._meets(life, doom):
            self.outcome.kills[doom.point] += 1
        else:
            self._put_off(doom)
        await life.end()

    def _put_off(self, doom: Doom) -> None:
        """Count a life that did not come to its point, and let another one try."""
        self.outcome.put_off[doom.point] += 1
        self.outcome.kills[Point.ANY_INSTANT] += 1
        if doom.put_off < MOST_PUT_OFF:
            self._dooms.append(Doom(doom.point, 1, doom.put_off + 1))

    async def _meets(self, life: Life, doom: Doom) -> bool:
        """Return whether the life came to its point; where it did not, it is over now as well."""
        lapses = doom.point in OF_LAPSES
        try:
            async with asyncio.timeout(LONGEST_LOOK_SECONDS if lapses else LONGEST_LIFE_SECONDS):
                if doom.point in FROM_OUTSIDE:
                    await self._kill_from_outside(life, doom)
                await life.over.wait()
        except TimeoutError:
            life.kill(Point.ANY_INSTANT)
        await life.over.wait()
        return life.killed_at is doom.point

    async def _kill_from_outside(self, life: Life, doom: Doom) -> None:
        if doom.point in ON_THE_WIRE:
            unread = doom.point is Point.SEND_UNREAD
            fault = FaultKind.HANG if unread else FaultKind.ACCEPT_THEN_HANG
            self._emulator.add_fault(FaultPlan(fault))
            while not self._emulator.hanging:  # noqa: ASYNC110 - the emulator waits for a number
                await asyncio.sleep(LOOK_SECONDS)
        else:
            await asyncio.sleep(self._dice.uniform(0, LONGEST_INSTANT_SECONDS))
        life.kill(doom.point)

    def _spoil(self, doom: Doom) -> None:
        """Let some of the life's calls go wrong, and one that needs a crowd be slow."""
        if doom.point in OF_A_CROWD:
            self._emulator.add_fault(FaultPlan(FaultKind.SLOW, delay_seconds=0.1, times=CALLERS))
        for _ in range(self._dice.randrange(5)):
            plan = FaultPlan(next(self._faults), delay_seconds=0.1, retry_after_ms=10)
            self._emulator.add_fault(plan)


async def _settled(database: Database) -> None:
    """Wait until the survivor has brought every job to its end."""
    try:
        async with asyncio.timeout(SETTLED_SECONDS):
            while await asyncio.to_thread(database.unsettled):  # noqa: ASYNC110 - a database
                await asyncio.sleep(LOOK_SECONDS * 5)
    except TimeoutError:
        return  # what is open yet is a violation, and the books will say so
