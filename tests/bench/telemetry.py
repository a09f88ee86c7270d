"""Measures what telemetry costs, and that an endpoint that is gone slows nobody.

    python -m tests.bench.telemetry [--rounds N] [--seconds S] [--output FILE] [--strict]

Five gateways stand side by side and are loaded in turns, in one order and then in the other:

    off     no spans, no decision log, no decision store, no metrics port
    on      everything, each call sampled, spans to a collector that takes them
    dead    as `on`, but nobody listens at the collector's address
    frozen  as `on`, but the collector was stopped: it takes connections and never answers
    sampled as `on`, with one call in a hundred sampled

Before each turn it is loaded for a moment, since idle connections have been closed. Compared are
the better quartiles of the turns, of throughput and of the processor time of a job: what others do
on the machine only ever makes a turn worse. Memory is what a gateway has grown by between its
warm-up and the end, less what `off` has.

Exits 0 when everything ran, 1 when something did not (or, with --strict, when a goal was missed).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.bench import contestants, gateway
from tests.bench.children import ROOT, BenchError, Child, child
from tests.bench.load import Order, Outcome
from tests.bench.usage import cpu_seconds, resident_mb

NAMES: Final = ("off", "on", "dead", "frozen", "sampled")
IN_FLIGHT: Final = 32
WARM_UP_SECONDS: Final = 2.0
CONNECTING_SECONDS: Final = 0.2
PATIENCE_SECONDS: Final = 60.0
NOBODY: Final = "http://127.0.0.1:1"
OFF: Final = {
    "OTEL_SDK_DISABLED": "true",
    "IMSGW_DECISION_LOG": "",
    "IMSGW_DECISION_STORE_ROWS": "0",
    "IMSGW_METRICS_LISTEN": "",
}
SAMPLED: Final = {
    "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
    "OTEL_TRACES_SAMPLER_ARG": "0.01",
}
# What a full queue of spans may take, and a batch that is under way.
MOST_MB: Final = 25.0
# The exporter is given five seconds, and the rest of the gateway twice that.
STOP_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn measured."""

    jobs_per_second: float
    cpu_us: float


@dataclass(slots=True)
class Contestant:
    """A gateway under load, and what was measured of it."""

    name: str
    process: Child
    driver: Child
    turns: list[Turn] = field(default_factory=list)
    mb_before: float = 0.0
    mb_grown: float = 0.0

    async def load(self, seconds: float) -> Turn:
        """Load it for so long. Raises BenchError where a call fails."""
        before = cpu_seconds(self.process.pid)
        order = asdict(Order(IN_FLIGHT, seconds))
        outcome = Outcome(**await self.driver.ask(order, "jobs", seconds + PATIENCE_SECONDS))
        if outcome.failed or not outcome.jobs:
            raise BenchError(f"{self.name}: {outcome.failed} failed: {outcome.first_failure}")
        spent = cpu_seconds(self.process.pid) - before
        return Turn(outcome.jobs_per_second, spent * 1e6 / outcome.jobs)

    @property
    def throughput(self) -> float:
        """Jobs a second, the better quartile of its turns."""
        return quantiles((turn.jobs_per_second for turn in self.turns), n=4)[2]

    @property
    def cpu_us(self) -> float:
        """Processor time of a job in µs, the better quartile of its turns."""
        return quantiles((turn.cpu_us for turn in self.turns), n=4)[0]


def main() -> int:
    """Run the bench and return the exit code."""
    options = _options()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    (ROOT / "build").mkdir(exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="telemetry-", dir=ROOT / "build") as folder:
            figures = asyncio.run(_run(console, Path(folder), options.rounds, options.seconds))
    except BenchError as error:
        console.print(f"[bold red]The bench failed.[/] {error}", markup=True)
        return 1
    table = Table("figure", "measured", "goal", "met", title="Telemetry")
    for figure in figures:
        table.add_row(*(str(figure[column]) for column in ("name", "measured", "goal", "met")))
    console.print(table)
    options.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 1 if options.strict and not all(figure["met"] for figure in figures) else 0


async def _run(console: Console, folder: Path, rounds: int, seconds: float) -> list[dict[str, Any]]:
    async with contestants.upstream(folder / "upstream") as service, AsyncExitStack() as stack:
        known = {
            name: await stack.enter_async_context(_contestant(name, service, folder / name))
            for name in NAMES
        }
        for each in known.values():
            await each.load(WARM_UP_SECONDS)
            each.mb_before = resident_mb(each.process.pid)
        order = list(known.values())
        for number in range(rounds):
            for each in order:
                await each.load(CONNECTING_SECONDS)
                each.turns.append(await each.load(seconds))
            last = {name: known[name].turns[-1] for name in NAMES}
            said = (f"{name} {turn.jobs_per_second:.0f}" for name, turn in last.items())
            console.print(f"round {number + 1}, jobs/s: {', '.join(said)}")
            order.reverse()
        for each in known.values():
            each.mb_grown = resident_mb(each.process.pid) - each.mb_before
        stop_seconds = await _stop(known["frozen"])
    return _figures(known, stop_seconds)


@asynccontextmanager
async def _contestant(
    name: str, service: contestants.Upstream, folder: Path
) -> AsyncIterator[Contestant]:
    async with AsyncExitStack() as stack:
        endpoint = NOBODY
        if name != "dead":
            command = (sys.executable, "-m", "tests.bench.collector")
            collector = await stack.enter_async_context(child("collector", *command))
            endpoint = f"http://127.0.0.1:{(await collector.hear('port'))['port']}"
        if name == "frozen":
            os.kill(collector.pid, signal.SIGSTOP)
            stack.callback(os.kill, collector.pid, signal.SIGCONT)
        workplace = gateway.prepare(folder, service.endpoint, service.ca_file, endpoint)
        changes = {"off": OFF, "sampled": SAMPLED}.get(name, {})
        workplace = replace(workplace, environment=workplace.environment | changes)
        process, address = await stack.enter_async_context(gateway.serving(workplace))
        driver = await stack.enter_async_context(
            child("driver", sys.executable, "-m", "tests.bench.driver", address, workplace.api_key)
        )
        await driver.hear("ready")
        yield Contestant(name, process, driver)


async def _stop(frozen: Contestant) -> float:
    """Return how long a gateway takes to stop whose spans nobody takes."""
    began = time.monotonic()
    os.kill(frozen.process.pid, signal.SIGTERM)
    await frozen.process.ended(PATIENCE_SECONDS)
    return time.monotonic() - began


def _figures(known: dict[str, Contestant], stop_seconds: float) -> list[dict[str, Any]]:
    off = known["off"]
    figures = []
    for name in NAMES[1:]:
        each = known[name]
        share, cpu = each.throughput / off.throughput, each.cpu_us / off.cpu_us
        figures.append(_least(f"throughput, {name} / off", share, 0.85))
        figures.append(_most(f"CPU time of a job, {name} / off", cpu, 1 / 0.85))
    for name in ("dead", "frozen"):
        grown = known[name].mb_grown - off.mb_grown
        figures.append(_most(f"MB grown more than off, {name}", grown, MOST_MB))
    figures.append(_most("seconds to stop, frozen", stop_seconds, STOP_SECONDS))
    return figures


def _least(name: str, measured: float, goal: float) -> dict[str, Any]:
    return _figure(name, measured, goal, met=measured >= goal)


def _most(name: str, measured: float, goal: float) -> dict[str, Any]:
    return _figure(name, measured, goal, met=measured <= goal)


def _figure(name: str, measured: float, goal: float, *, met: bool) -> dict[str, Any]:
    return {"name": name, "measured": round(measured, 3), "goal": round(goal, 3), "met": met}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.telemetry", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rounds", type=int, default=16, help="turns of each gateway")
    parser.add_argument("--seconds", type=float, default=1.0, help="load in each turn")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench-telemetry.json")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a goal is missed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
