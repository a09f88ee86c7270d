"""Watches over workers: starts them, replaces one that dies or stands still, and lets all end.

Decides when a worker gets a successor, and when it is no use: if one ends by itself before any has
ever served, the gateway cannot start, and whoever started it should hear of that. Later it never
gives up: a process that is there and tries is worth more than none. What it never does: take a
call, or know what a worker does with one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

import structlog

from ims_gateway.jobs.migrate import upgrade
from ims_gateway.ports import reserve
from ims_gateway.settings import Settings, environment
from ims_gateway.starting import faults_of
from ims_gateway.stopping import Stopping
from ims_gateway.tenancy.loading import Beginning
from ims_gateway.tenancy.reading import ConfigurationError
from ims_gateway.workers.exposition import serving_metrics
from ims_gateway.workers.process import Worker
from ims_gateway.workers.spare import Spare

SILENCE_SECONDS: Final = 30.0
SCRAPE_SECONDS: Final = 2.0
# How long a successor waits, by the short lives that went before in a row.
PAUSES_SECONDS: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
SHORT_LIFE_SECONDS: Final = 60.0
FAILED: Final = 1

log = structlog.get_logger()


async def supervise(settings: Settings, beginning: Beginning, stopping: Stopping) -> int:
    """Serve with several workers until the word to stop, and return the exit code.

    The configuration is checked, the ports are taken and the ledger is migrated here, once for all.
    Raises ConfigurationError, PortTaken and what `upgrade` raises, before any worker is started.
    """
    if faults := await asyncio.to_thread(faults_of, settings, environment(), beginning):
        raise ConfigurationError(faults)
    async with AsyncExitStack() as stack:
        order = {"listen": settings.listen, "admin_listen": settings.admin_listen}
        for name, address in order.items():
            if address:
                reservation = await reserve(f"IMSGW_{name.upper()}", address)
                stack.callback(reservation.close)
                order[name] = reservation.address
        await asyncio.to_thread(upgrade, settings.database_url.get_secret_value())
        supervisor = Supervisor(settings, order, stopping)
        if settings.metrics_listen:
            stack.enter_context(serving_metrics(settings.metrics_listen, supervisor))
        return await supervisor.run()


class Supervisor:
    """The workers of one gateway. `order` says where they listen."""

    def __init__(
        self,
        settings: Settings,
        order: Mapping[str, str],
        stopping: Stopping,
        *,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._settings = settings
        self._order = order
        self._stopping = stopping
        self._silence_seconds = silence_seconds
        self._spare = Spare()
        self._workers: dict[int, Worker] = {}
        self._have_served: set[int] = set()
        self._code = 0
        self.restarts = dict.fromkeys(range(settings.workers), 0)

    async def run(self) -> int:
        """Keep all workers running until the word to stop, and return the exit code.

        A fault of this process ends it, and with it its workers: better than to watch over a part.
        """
        async with asyncio.TaskGroup() as group:
            keeping = [group.create_task(self._keep(number)) for number in self.restarts]
            hurrying = group.create_task(self._hurry())
            await self._stopping.said.wait()
            log.info("draining")
            self._tell("drain")
            _, late = await asyncio.wait(keeping, timeout=self._settings.shutdown_seconds)
            if late:
                log.error("workers did not end in time", workers=[*self._workers])
                self._kill_all()
                await asyncio.wait(keeping)
            hurrying.cancel()
        await self._spare.dismiss()
        log.info("stopped")
        return self._code

    async def scrape(self) -> dict[str, str]:
        """Return the metrics of each worker that answers in time, in the OpenMetrics format."""

        async def metrics_of(worker: Worker) -> str:
            with suppress(TimeoutError):
                return await worker.scrape(SCRAPE_SECONDS)
            return ""

        workers = {number: worker for number, worker in self._workers.items() if worker.serving}
        texts = await asyncio.gather(*map(metrics_of, workers.values()))
        return {str(number): text for number, text in zip(workers, texts, strict=True) if text}

    async def _keep(self, number: int) -> None:
        """Let there be a worker of that number, one after the other."""
        clock = asyncio.get_running_loop().time
        short_lives = 0
        while not self._stopping.said.is_set():
            began = clock()
            code = await self._live(number)
            if self._stopping.said.is_set():
                return
            lived_seconds = clock() - began
            short_lives = short_lives if lived_seconds < SHORT_LIFE_SECONDS else 0
            pause_seconds = PAUSES_SECONDS[min(short_lives, len(PAUSES_SECONDS) - 1)]
            short_lives += 1
            self.restarts[number] += 1
            log.error(
                "worker ended",
                worker=number,
                exit_code=code,
                lived_seconds=round(lived_seconds, 1),
                next_in_seconds=pause_seconds,
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.said.wait(), pause_seconds)

    async def _live(self, number: int) -> int:
        """Let one worker live, and return its exit code. One that fails to begin ends them all."""
        try:
            worker = await self._spare.take()
        except OSError as error:
            # No memory, or no process to be had: there may be some later.
            log.error("worker not started", worker=number, error=type(error).__name__)  # noqa: TRY400 - its text may be secret
            return FAILED
        self._workers[number] = worker
        code = await self._work(number, worker)
        del self._workers[number]
        if self._stopping.said.is_set():
            # Of those that were killed, the system says a negative number.
            self._code = self._code or (code if code >= 0 else FAILED)
        elif not self._have_served:
            log.error("worker cannot start", worker=number, exit_code=code, faults=worker.faults)
            self._code = max(code, 0) or FAILED
            self._stopping.say()
        return code

    async def _work(self, number: int, worker: Worker) -> int:
        if self._stopping.said.is_set():
            await worker.dismiss()
            return 0
        order: dict[str, Any] = {"number": number, **self._order}
        return await worker.work(order, self._silence_seconds, lambda: self._serves(number, worker))

    def _serves(self, number: int, worker: Worker) -> None:
        log.info("worker serves", worker=number, pid=worker.pid)
        waited_for = len(self._have_served) < len(self.restarts)
        self._have_served.add(number)
        if len(self._have_served) == len(self.restarts):
            self._spare.prepare()
            if waited_for:
                ports = {"port": self._order["listen"], "admin_port": self._order["admin_listen"]}
                numbers = {name: int(at.rpartition(":")[2]) for name, at in ports.items() if at}
                log.info("serving", **numbers, workers=len(self.restarts))

    async def _hurry(self) -> None:
        await self._stopping.in_a_hurry.wait()
        self._tell("hurry")

    def _tell(self, word: str) -> None:
        for worker in self._workers.values():
            worker.say(word)

    def _kill_all(self) -> None:
        for worker in self._workers.values():
            worker.kill()
