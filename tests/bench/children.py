"""The processes of the bench: each is started, heard, told what to do, and ended in every ending.

What a child prints as a JSON object is news; anything else is kept for the message about its
failure. Children get a session of their own, so that an interrupt reaches the bench alone and the
bench ends them.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import signal
from asyncio.subprocess import PIPE, STDOUT, Process
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
LONGEST_LINE_BYTES: Final = 1024 * 1024
START_SECONDS: Final = 20.0
END_SECONDS: Final = 10.0
PR_SET_PDEATHSIG: Final = 1


class BenchError(Exception):
    """Something did not run as it must; there are no figures then."""


class Child:
    """A running process. `name` is what messages call it."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._news: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._said: deque[str] = deque(maxlen=15)
        self._listening = asyncio.create_task(self._listen())

    async def hear(self, member: str, timeout_seconds: float = START_SECONDS) -> dict[str, Any]:
        """Return the next news that has this member. Raises BenchError where none comes."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while (news := await self._news.get()) is not None:
                    if member in news:
                        return news
        except TimeoutError:
            raise BenchError(f"{self.name}: nothing heard in {timeout_seconds:g} s") from None
        raise BenchError(f"{self.name}: has ended early\n{self.last_words}")

    async def ask(
        self, question: Mapping[str, Any], member: str, timeout_seconds: float
    ) -> dict[str, Any]:
        """Write one JSON line to the child and return its answer. Raises BenchError."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        return await self.hear(member, timeout_seconds)

    async def end(self, number: signal.Signals | None) -> int:
        """Ask the child to end, by the end of its input and a signal; kill it if it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if number is not None and self._process.returncode is None:
            self._process.send_signal(number)
        try:
            async with asyncio.timeout(END_SECONDS):
                await self._process.wait()
        finally:
            # Also where the bench itself is cancelled meanwhile.
            if self._process.returncode is None:
                self._process.kill()
        await self._listening
        return await self._process.wait()

    async def ended(self, timeout_seconds: float) -> None:
        """Return when it has ended by itself. Raises BenchError where it does not."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._process.wait()
        except TimeoutError:
            raise BenchError(f"{self.name}: has not ended in {timeout_seconds:g} s") from None

    @property
    def last_words(self) -> str:
        """What the child printed last that was no news."""
        return "\n".join(self._said)

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            try:
                news = json.loads(line)
            except ValueError:
                news = None
            if isinstance(news, dict):
                self._news.put_nowait(news)
            if not isinstance(news, dict) or "event" in news:
                self._said.append(line.decode(errors="replace").rstrip())
        self._news.put_nowait(None)


@asynccontextmanager
async def child(
    name: str,
    *command: str,
    environment: Mapping[str, str] | None = None,
    folder: Path = ROOT,
    end_with: signal.Signals | None = None,
) -> AsyncIterator[Child]:
    """Run a command in a folder while the block lasts.

    `environment` replaces the bench's own. Raises BenchError where the child ends badly although
    nothing else went wrong.
    """
    # Should the bench be killed, the kernel ends its children (prctl(2)).
    libc = ctypes.CDLL(None)
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=PIPE,
        stdout=PIPE,
        stderr=STDOUT,
        cwd=folder,
        env=environment,
        limit=LONGEST_LINE_BYTES,
        start_new_session=True,
        preexec_fn=partial(libc.prctl, PR_SET_PDEATHSIG, signal.SIGTERM),
    )
    running = Child(name, process)
    try:
        yield running
    except BaseException:
        await running.end(end_with)
        raise
    if code := await running.end(end_with):
        raise BenchError(f"{name}: has ended with {code}\n{running.last_words}")
