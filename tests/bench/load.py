"""Load: so many calls in flight for so long, and what came of them.

A closed loop: each caller makes its next call when the last one is answered, and at least one.
Decides how latencies become percentiles. Never knows what is called.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from time import perf_counter


@dataclass(frozen=True, slots=True)
class Order:
    """What a load process is told to do."""

    in_flight: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an order.

    `jobs` counts the calls that went well, `first_failure` is empty where none failed. `seconds`
    lasts until the last answer; latencies are in milliseconds, of calls that went well.
    """

    jobs: int
    failed: int
    first_failure: str
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def jobs_per_second(self) -> float:
        """Throughput."""
        return self.jobs / self.seconds


@dataclass(slots=True)
class Tally:
    """Counts calls as they end. Lists only, so that threads may share it."""

    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    started: float = field(default_factory=perf_counter)

    def note(self, began: float, error: Exception | None = None) -> None:
        """Note the end of a call that began at that reading of `perf_counter`."""
        if error is None:
            self.latencies.append(perf_counter() - began)
        else:
            self.failures.append(" ".join(f"{type(error).__name__}: {error}".split())[:300])

    def outcome(self) -> Outcome:
        """Return what has come of the calls until now."""
        seconds = perf_counter() - self.started
        latencies = sorted(self.latencies)
        return Outcome(
            jobs=len(latencies),
            failed=len(self.failures),
            first_failure=self.failures[0] if self.failures else "",
            seconds=seconds,
            p50_ms=percentile(latencies, 0.50) * 1000,
            p99_ms=percentile(latencies, 0.99) * 1000,
        )


def percentile(ascending: list[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed; else 0."""
    if not ascending:
        return 0.0
    rank = -(-len(ascending) * share // 1)
    return ascending[max(0, int(rank) - 1)]


async def closed_loop(call: Callable[[], Awaitable[None]], order: Order) -> Outcome:
    """Keep that many calls in flight on this event loop. A call fails by raising."""
    tally = Tally()

    async def caller() -> None:
        going = True
        while going:
            began = perf_counter()
            try:
                await call()
            except Exception as error:  # noqa: BLE001 - every kind of failure counts
                tally.note(began, error)
            else:
                tally.note(began)
            going = perf_counter() < tally.started + order.seconds

    await asyncio.gather(*(caller() for _ in range(order.in_flight)))
    return tally.outcome()


def closed_loop_in_threads(call: Callable[[], None], order: Order) -> Outcome:
    """Keep that many calls in flight, each in a thread of its own. A call fails by raising."""
    tally = Tally()

    def caller() -> None:
        going = True
        while going:
            began = perf_counter()
            try:
                call()
            except Exception as error:  # noqa: BLE001 - every kind of failure counts
                tally.note(began, error)
            else:
                tally.note(began)
            going = perf_counter() < tally.started + order.seconds

    with ThreadPoolExecutor(order.in_flight) as threads:
        for _ in range(order.in_flight):
            threads.submit(caller)
    return tally.outcome()


async def obey(perform: Callable[[Order], Awaitable[Outcome]]) -> None:
    """Carry out the orders that arrive on standard input, a JSON object a line, until it ends."""
    sys.stdout.write(json.dumps({"ready": True}) + "\n")
    sys.stdout.flush()
    while line := await asyncio.to_thread(sys.stdin.readline):
        outcome = await perform(Order(**json.loads(line)))
        sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
        sys.stdout.flush()
