"""A worker, as the process that watches over it sees it.

Decides when a worker is as good as dead: when its event loop has stood still for too long. Starts
it as a Python of its own, since a fork of a process in which gRPC runs would be half a process; and
in a session of its own, so that a terminal's Ctrl-C goes to the one who watches, and all end in
order.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Self

import structlog

from ims_gateway.workers.leash import Leash

MODULE: Final = "ims_gateway.workers.worker"
LOOK_SECONDS: Final = 1.0
# From the first word to the first call: a large configuration is read, a database is waited for.
START_SECONDS: Final = 180
END_SECONDS: Final = 5.0

log = structlog.get_logger()


class Worker:
    """One process. Not started twice."""

    def __init__(self, process: Process, leash: Leash) -> None:
        self._process = process
        self._leash = leash
        self._scraped: asyncio.Future[str] | None = None
        self.serving = False
        self.faults: Sequence[str] = ()

    @classmethod
    async def started(cls) -> Self:
        """Start one, and return it when it has imported what it needs and waits for `work`.

        One that dies before that has `ended`.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", MODULE, str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=DEVNULL,
                start_new_session=True,
            )
        worker = cls(process, await Leash.over(ours))
        await worker._import()
        return worker

    async def _import(self) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                ready = await self._leash.hear()
        except TimeoutError:
            ready = None
        if ready is None:
            self.kill()
            await self._end()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is no more."""
        return self._process.returncode is not None

    async def work(
        self, order: dict[str, Any], silence_seconds: float, serving: Callable[[], None]
    ) -> int:
        """Let it serve, and return its exit code, the negative number of a signal that killed it.

        One that says nothing for too long is killed. Silence is counted in looks: time in which
        this process was stopped, too, does not count.
        """
        self._leash.say(**order)
        silent = 0
        while silent < (silence_seconds if self.serving else START_SECONDS):
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    news = await self._leash.hear()
            except TimeoutError:
                silent += 1
                continue
            if news is None:
                return await self._end()
            silent = 0
            self._note(news, serving)
        log.error("worker stands still", pid=self.pid, seconds=silent)
        self.kill()
        return await self._end()

    def say(self, word: str) -> None:
        """Tell it to "drain", or to "hurry" with that."""
        self._leash.say(**{word: True})

    def kill(self) -> None:
        """Kill it."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)

    async def scrape(self, seconds: float) -> str:
        """Return its metrics, as text in the OpenMetrics format. Raises TimeoutError."""
        if self._scraped is None:
            self._scraped = asyncio.get_running_loop().create_future()
            self._leash.say(scrape=True)
        async with asyncio.timeout(seconds):
            return await asyncio.shield(self._scraped)

    async def dismiss(self) -> None:
        """End one that has no work: it has nothing to finish."""
        self.kill()
        await self._end()

    def _note(self, news: dict[str, Any], serving: Callable[[], None]) -> None:
        match news:
            case {"serving": True}:
                self.serving = True
                serving()
            case {"metrics": str(text)} if self._scraped is not None:
                self._scraped.set_result(text)
                self._scraped = None
            case {"faults": list(faults)}:
                self.faults = faults

    async def _end(self) -> int:
        """Wait for the end of one that says nothing any more."""
        try:
            async with asyncio.timeout(END_SECONDS):
                code = await self._process.wait()
        except TimeoutError:
            self.kill()
            code = await self._process.wait()
        self._leash.close()
        return code
