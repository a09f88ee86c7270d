"""One of several workers: a gateway that serves what the process that watches over it says.

    python -m ims_gateway.workers.worker DESCRIPTOR

Everything is imported before the first word comes: a worker that takes the place of another one has
only to build its gateway. It ends when the process that watches is gone, as if told to stop.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

from ims_gateway.ports import PortTaken
from ims_gateway.running import Gateway
from ims_gateway.serving import serve_until
from ims_gateway.settings import Settings, environment
from ims_gateway.stopping import Stopping
from ims_gateway.telemetry import logs
from ims_gateway.tenancy.reading import ConfigurationError
from ims_gateway.workers.leash import Leash

BEAT_SECONDS: Final = 1.0
UNUSABLE: Final = 78


def main() -> int:
    """Work, and return the exit code."""
    return asyncio.run(_work(socket.socket(fileno=int(sys.argv[1]))))


async def _work(end: socket.socket) -> int:
    stopping = Stopping()
    stopping.hear_signals()
    leash = await Leash.over(end)
    leash.say(ready=True)
    order = await leash.hear()
    if order is None or "number" not in order:
        return 0
    logs.configure()
    structlog.contextvars.bind_contextvars(worker=order["number"])
    settings = Settings().model_copy(  # type: ignore[call-arg]  # the environment has them
        update={"listen": order["listen"], "admin_listen": order["admin_listen"]}
    )
    metrics = CollectorRegistry()
    tasks = [
        asyncio.create_task(each)
        for each in (_obey(leash, stopping, lambda: metrics), _beat(leash))
    ]

    def serving(running: Gateway) -> None:
        nonlocal metrics
        metrics = running.metrics
        leash.say(serving=True)

    try:
        await serve_until(stopping, settings, environment(), serving, worker=order["number"])
    except (ConfigurationError, PortTaken) as error:
        leash.say(faults=str(error).splitlines())
        await leash.flush()
        return UNUSABLE
    finally:
        for task in tasks:
            task.cancel()
    return 0


async def _obey(leash: Leash, stopping: Stopping, metrics: Callable[[], CollectorRegistry]) -> None:
    while (word := await leash.hear()) is not None:
        match word:
            case {"scrape": _}:
                leash.say(metrics=await asyncio.to_thread(_exposition, metrics()))
            case {"drain": _} if not stopping.said.is_set():
                stopping.say()
            case {"hurry": _}:
                stopping.said.set()
                stopping.in_a_hurry.set()
    if not stopping.said.is_set():
        structlog.get_logger().error("the process that watches is gone")
        stopping.say()


def _exposition(metrics: CollectorRegistry) -> str:
    return str(generate_latest(metrics), "utf-8")  # type: ignore[no-untyped-call]


async def _beat(leash: Leash) -> None:
    while True:
        leash.say(beat=True)
        await asyncio.sleep(BEAT_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
