"""A rate under five times its load, from four processes: what is accepted, beside what may be.

    python -m tests.reliability.rates [--seconds N]

Exits 0 when no more was accepted than burst + rate x time and no less than 98 % of it, else 1.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ims_gateway.identity.keys import new_key
from ims_gateway_client import AsyncClient
from ims_gateway_client import errors as client_errors
from imsgateway.v1 import job_pb2
from tests.integration.world import ENVIRONMENT
from tests.reliability.ledgers import LEDGERS
from tests.reliability.lives import ROOT, Launcher
from tests.reliability.rivals import an_emulator, configure, settings_of

GATEWAYS: Final = 4
PER_SECOND: Final = 10.0
BURST: Final = 20
OVERLOAD: Final = 5
LEAST_SHARE: Final = 0.98
LIMIT: Final = {"id": "rate", "kind": "rate", "per_second": PER_SECOND, "burst": BURST}


@dataclass(frozen=True, slots=True)
class Result:
    """How many jobs the service took, in how many seconds from the first call to the last reply."""

    asked: int
    accepted: int
    seconds: float
    other: int

    @property
    def most(self) -> float:
        """What the limit allows."""
        return BURST + PER_SECOND * self.seconds

    @property
    def right(self) -> bool:
        """Whether it is neither more than that, nor noticeably less."""
        return LEAST_SHARE * self.most <= self.accepted <= self.most and not self.other


def main() -> int:
    """Measure and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.rates", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    results = asyncio.run(_run(parser.parse_args().seconds))
    for name, found in results.items():
        sys.stdout.write(
            f"{name}: {found.asked} calls in {found.seconds:.1f} s, {found.accepted} accepted, "
            f"at most {found.most:.1f} ({found.accepted / found.most:.1%}), "
            f"{found.other} other answers\n"
        )
    return 0 if all(found.right for found in results.values()) else 1


async def _run(seconds: float) -> dict[str, Result]:
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    results = {}
    async with AsyncExitStack() as stack:
        launcher = await stack.enter_async_context(Launcher())
        for name, of_kind in LEDGERS.items():
            own = stack.enter_context(tempfile.TemporaryDirectory(dir=build, prefix="rate-"))
            url = stack.enter_context(of_kind())(Path(own))
            results[name] = await measure(launcher, Path(own), url, seconds)
    return results


async def measure(launcher: Launcher, folder: Path, database_url: str, seconds: float) -> Result:
    """Ask for that long, evenly, whatever the answers."""
    async with AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(an_emulator())
        key = new_key()[1]
        configure(folder, emulator, {"rate": key}, rate=[LIMIT])
        sockets = [launcher.folder / f"rate-{uuid.uuid4().hex[:8]}" for _ in range(GATEWAYS)]
        stack.push_async_callback(launcher.kill_all)
        clients = []
        for number, socket in enumerate(sockets):
            settings = settings_of(folder, socket, database_url)
            log = folder / f"gateway-{number}.log"
            await (await launcher.start(settings, ENVIRONMENT, log)).begin()
            client = AsyncClient(f"unix:{socket}", api_key=key)
            clients.append(await stack.enter_async_context(client))
        return await _ask(clients, seconds, lambda: len(emulator.jobs))


async def _ask(clients: list[AsyncClient], seconds: float, accepted: Callable[[], int]) -> Result:
    other = 0

    async def ask(client: AsyncClient) -> None:
        nonlocal other
        job = job_pb2.Job(cover={"input": {"oss_uri": "oss://rate-media/in.mp4"}})
        try:
            await client.submit(job)
        except client_errors.RateExceeded:
            pass
        except client_errors.GatewayError:
            other += 1

    began, asked = time.monotonic(), 0
    async with asyncio.TaskGroup() as group:
        while (now := time.monotonic() - began) < seconds:
            while asked < now * PER_SECOND * OVERLOAD:
                group.create_task(ask(clients[asked % len(clients)]))
                asked += 1
            await asyncio.sleep(0.002)
    return Result(asked, accepted(), time.monotonic() - began, other)


if __name__ == "__main__":
    sys.exit(main())
