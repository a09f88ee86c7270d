"""One turn of each contestant: fresh processes, a warm-up, then the measurement.

Nothing else of the bench runs meanwhile but the upstream and the load; no contestant idles beside
another. A turn in which a call failed, or in which the upstream took more or fewer submits than
were answered, gives no figures but a BenchError.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import httpx

from ims_gateway.emulator.certificates import write_certificates
from tests.bench import gateway
from tests.bench.children import BenchError, Child, child
from tests.bench.load import Order, Outcome
from tests.bench.usage import Meter, resident_mb

IN_FLIGHT: Final = 32
SDK_THREADS: Final = 16
# The first call of a gateway compiles the contract's rules; connections are made here, too.
WARM_UP_SECONDS: Final = 1.0
ALONE_SECONDS: Final = 1.5
# What a loop may take longer than it was told: the last answers of slow calls.
PATIENCE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn measured.

    `loaded` is under full load, `alone` with one call in flight (servers only), `cores` how many
    cores each process kept busy under full load, `idle_mb` the contestant's resident memory after
    the warm-up, when it has nothing to do (servers only).
    """

    contestant: str
    loaded: Outcome
    cpu_us_per_job: float
    cores: dict[str, float]
    alone: Outcome | None = None
    idle_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Upstream:
    """The stand-in for the service. `endpoint` is host:port."""

    process: Child
    endpoint: str
    ca_file: Path

    @property
    def origin(self) -> str:
        """The address with its scheme."""
        return f"https://{self.endpoint}"

    async def submits(self) -> int:
        """Return how many submits it has taken."""
        context = ssl.create_default_context(cafile=self.ca_file)
        async with httpx.AsyncClient(verify=context, trust_env=False) as http:
            return int((await http.get(f"{self.origin}/submits")).json()["submits"])


@asynccontextmanager
async def upstream(folder: Path) -> AsyncIterator[Upstream]:
    """Run the upstream."""
    files = write_certificates(folder)
    command = _module("upstream", str(files.chain_file), str(files.key_file))
    async with child("upstream", *command) as process:
        port = (await process.hear("port"))["port"]
        yield Upstream(process, f"localhost:{port}", files.ca_file)


async def floor(service: Upstream, folder: Path, seconds: float) -> Turn:  # noqa: ARG001 - as all
    """Measure the floor."""
    command = _module("floor", service.origin, str(service.ca_file))
    async with child("floor", *command) as process:
        port = (await process.hear("port"))["port"]
        turn, _ = await _serve(service, process, f"127.0.0.1:{port}", "none", seconds)
    return turn


async def full_gateway(service: Upstream, folder: Path, seconds: float) -> Turn:
    """Measure the gateway, and check that nothing of it was off."""
    async with child("collector", *_module("collector")) as collector:
        endpoint = f"http://127.0.0.1:{(await collector.hear('port'))['port']}"
        workplace = gateway.prepare(folder, service.endpoint, service.ca_file, endpoint)
        async with gateway.serving(workplace) as (process, address):
            turn, jobs = await _serve(
                service, process, address, workplace.api_key, seconds, collector=collector
            )
        spans = (await collector.ask({}, "spans", PATIENCE_SECONDS))["spans"]
    workplace.check(jobs, spans)
    return turn


async def sdk_sync(service: Upstream, folder: Path, seconds: float) -> Turn:  # noqa: ARG001 - as all
    """Measure the official SDK's synchronous call in threads."""
    return await _call_sdk(service, "sync", SDK_THREADS, seconds)


async def sdk_async(service: Upstream, folder: Path, seconds: float) -> Turn:  # noqa: ARG001 - as all
    """Measure the official SDK's asynchronous call."""
    return await _call_sdk(service, "async", IN_FLIGHT, seconds)


async def _serve(
    service: Upstream,
    server: Child,
    address: str,
    api_key: str,
    seconds: float,
    *,
    collector: Child | None = None,
) -> tuple[Turn, int]:
    """Load a server; return the turn and the number of jobs in all."""
    before = await service.submits()
    async with child("driver", *_module("driver", address, api_key)) as driver:
        await driver.hear("ready")
        warm = await _load(driver, Order(IN_FLIGHT, WARM_UP_SECONDS), server.name)
        idle_mb = resident_mb(server.pid)
        alone = await _load(driver, Order(1, ALONE_SECONDS), server.name)
        rivals = (server, driver, service.process, *((collector,) if collector else ()))
        meter = Meter({rival.name: rival.pid for rival in rivals})
        loaded = await _load(driver, Order(IN_FLIGHT, seconds), server.name)
        cores, spent = meter.cores(), meter.seconds()
    jobs = warm.jobs + alone.jobs + loaded.jobs
    await _check_submits(service, server.name, before, jobs)
    cpu_us = spent[server.name] * 1e6 / loaded.jobs
    return Turn(server.name, loaded, cpu_us, cores, alone, idle_mb), jobs


async def _call_sdk(service: Upstream, kind: str, in_flight: int, seconds: float) -> Turn:
    name = f"sdk {kind}"
    command = _module("sdk", kind, service.endpoint, str(service.ca_file))
    before = await service.submits()
    async with child(name, *command) as process:
        await process.hear("ready")
        warm = await _load(process, Order(in_flight, WARM_UP_SECONDS), name)
        meter = Meter({name: process.pid, "upstream": service.process.pid})
        loaded = await _load(process, Order(in_flight, seconds), name)
        cores, spent = meter.cores(), meter.seconds()
    await _check_submits(service, name, before, warm.jobs + loaded.jobs)
    return Turn(name, loaded, spent[name] * 1e6 / loaded.jobs, cores)


async def _load(loader: Child, order: Order, contestant: str) -> Outcome:
    answer = await loader.ask(asdict(order), "jobs", order.seconds + PATIENCE_SECONDS)
    outcome = Outcome(**answer)
    if outcome.failed or not outcome.jobs:
        calls = outcome.failed + outcome.jobs
        raise BenchError(
            f"{contestant}: {outcome.failed} of {calls} calls failed; first {outcome.first_failure}"
        )
    return outcome


async def _check_submits(service: Upstream, contestant: str, before: int, jobs: int) -> None:
    taken = await service.submits() - before
    if taken != jobs:
        raise BenchError(f"{contestant}: {jobs} jobs were answered, the upstream took {taken}")


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"tests.bench.{name}", *arguments)
