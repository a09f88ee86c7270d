"""Restarts two replicas in turn, over and over, while callers submit, read and watch.

    python -m tests.reliability.rolling [--rounds N] [--workers N]

The callers use the Python client as it is, which spreads its calls over both replicas and repeats
what it declares to repeat. Exits 0 when no call failed, and the books of the callers, of the ledger
(on PostgreSQL) and of the service agree; 1 otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console

from ims_gateway.identity.keys import new_key
from ims_gateway_client import AsyncClient
from ims_gateway_client.errors import GatewayError
from imsgateway.v1 import job_pb2
from tests import postgres
from tests.integration.processes import Served, served
from tests.integration.world import ENVIRONMENT, PEPPER, until
from tests.ports import free_port
from tests.reliability.books import Accepted, Books, Database, Told, Violation
from tests.reliability.scenery import LIMITS, an_emulator, configure

ROUNDS: Final = 10
CALLERS: Final = 8
REPLICAS: Final = 2
# Between two calls of a caller. The machine is busy with starts, and is to stay so with them.
PAUSE_SECONDS: Final = 0.05
# While it lasts a replica that was told to stop serves still, and callers find the one that was
# started before it. Longer than the client's longest pause between two looks for that.
DRAIN_DELAY_SECONDS: Final = 3.0
TENANT: Final = "acme"


@dataclass(slots=True)
class Outcome:
    """What came of it: calls that went well by kind, those that did not, and the books."""

    calls: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    exit_codes: Counter[int] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    submitted: int = 0
    accepted: int = 0

    @property
    def faults(self) -> list[str]:
        """Whatever should not have been."""
        found = [*self.failed, *map(str, self.violations)]
        if self.submitted != self.accepted:
            found.append(f"{self.submitted} jobs submitted, {self.accepted} made")
        if set(self.exit_codes) != {0}:
            found.append(f"exit codes {dict(self.exit_codes)}")
        return found


class Callers:
    """Each wants one job after the other, looks at it, and sometimes watches it to its end."""

    def __init__(self, client: AsyncClient, outcome: Outcome) -> None:
        self.told: list[Told] = []
        self._client = client
        self._outcome = outcome
        self._enough = False

    def enough(self) -> None:
        """Let nobody want another job."""
        self._enough = True

    async def run(self) -> None:
        """Call until there is `enough`."""
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(self._call())

    async def _call(self) -> None:
        for number in itertools.count():
            if self._enough:
                return
            try:
                await self._want(number)
            except GatewayError as error:
                self._outcome.failed.append(f"{type(error).__name__}: {error}")
            await asyncio.sleep(PAUSE_SECONDS)

    async def _want(self, number: int) -> None:
        request_id = str(uuid.uuid4())
        job = job_pb2.Job(
            cover={"input": {"oss_uri": f"oss://{TENANT}-media/in.mp4"}}, user_data=request_id
        )
        self._outcome.submitted += 1
        name = (await self._client.submit(job, request_id=request_id)).name
        self._outcome.calls["submit"] += 1
        self.told.append(Told(request_id, frozenset([name]), frozenset()))
        await self._client.get(name)
        self._outcome.calls["get"] += 1
        if number % 4 == 0:
            await self._client.wait(name, timeout_seconds=60)
            self._outcome.calls["watch"] += 1


async def roll(folder: Path, database_url: str, *, rounds: int, workers: int = 1) -> Outcome:
    """Restart each of two replicas so many times, and hold the books against each other."""
    outcome = Outcome()
    ports = [free_port() for _ in range(REPLICAS)]
    target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
    async with AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(an_emulator())
        key = new_key()[1]
        configure(folder, emulator, {TENANT: key}, 100)
        environments = [_environment(folder, database_url, port, workers) for port in ports]
        replicas = [AsyncExitStack() for _ in ports]
        running = await asyncio.gather(
            *(
                replica.enter_async_context(_replica(environment))
                for replica, environment in zip(replicas, environments, strict=True)
            )
        )
        client = await stack.enter_async_context(AsyncClient(target, api_key=key, tls=False))
        callers = Callers(client, outcome)
        async with asyncio.TaskGroup() as group:
            calling = group.create_task(callers.run())
            for _, seat in itertools.product(range(rounds), range(REPLICAS)):
                before = outcome.calls.total()
                await until(lambda before=before: outcome.calls.total() > before + CALLERS)
                outcome.exit_codes[await asyncio.to_thread(running[seat].stop)] += 1
                await replicas[seat].aclose()
                running[seat] = await replicas[seat].enter_async_context(
                    _replica(environments[seat])
                )
            callers.enough()
            await calling
        database = Database(database_url)
        await until(lambda: not database.unsettled())
        stops = (asyncio.to_thread(process.stop) for process in running)
        outcome.exit_codes.update(await asyncio.gather(*stops))
        for replica in replicas:
            await replica.aclose()
        accepted = [Accepted(job.job_id, job.parameters["UserData"]) for job in emulator.jobs]
        limits = {limit: most for limit, most in LIMITS.items() if limit[0] == TENANT}
        outcome.violations = Books(database.rows, accepted, callers.told, limits).violations()
        outcome.accepted = len(accepted)
    return outcome


@asynccontextmanager
async def _replica(environment: dict[str, str]) -> AsyncIterator[Served]:
    process = served(environment)
    running = await asyncio.to_thread(process.__enter__)
    try:
        yield running
    finally:
        await asyncio.to_thread(process.__exit__, None, None, None)


def _environment(folder: Path, database_url: str, port: int, workers: int) -> dict[str, str]:
    values = {
        "config_dir": folder,
        "key_pepper": PEPPER,
        "database_url": database_url,
        "decision_log": "",
        "metrics_listen": "",
        "listen": f"127.0.0.1:{port}",
        "workers": workers,
        "drain_delay_seconds": DRAIN_DELAY_SECONDS,
        "poll_interval_seconds": 0.2,
    }
    return ENVIRONMENT | {f"IMSGW_{name.upper()}": str(value) for name, value in values.items()}


def main() -> int:
    """Roll, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.reliability.rolling", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="restarts of each replica")
    parser.add_argument("--workers", type=int, default=1, help="of each replica")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="roll-") as folder, postgres.running() as server:
        outcome = asyncio.run(
            roll(
                Path(folder),
                server.new_database(),
                rounds=options.rounds,
                workers=options.workers,
            )
        )
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    calls = ", ".join(f"{count} {kind}" for kind, count in outcome.calls.items())
    console.print(f"{options.rounds} restarts of each of {REPLICAS} replicas: {calls} went well")
    console.print(f"{outcome.submitted} jobs submitted, {outcome.accepted} made")
    for fault in outcome.faults or ["No call failed, no job was lost or made twice."]:
        console.print(fault, markup=False)
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
