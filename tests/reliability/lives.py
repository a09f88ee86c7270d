"""The harness's side of the launcher: gateways that are started, watched and killed.

Decides when a life is over: its leash says so, since the kernel lets go of it with the process.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.reliability.points import Doom, Point

ROOT: Final = Path(__file__).parents[2]
# Generous: a machine that is busy with something else is no reason to fail.
START_SECONDS: Final = 120.0
END_SECONDS: Final = 120.0
LAST_WORDS_BYTES: Final = 4000


class GatewayError(AssertionError):
    """A gateway died in another way than it was told to, or did not start or stop."""


class Life:
    """One gateway process, from its start to its death."""

    def __init__(self, number: int, log: Path) -> None:
        self.number = number
        self.pid = 0
        self.killed_at: Point | None = None
        self.stopped = False
        self.serving = asyncio.Event()
        self.over = asyncio.Event()
        self._log = log
        self._writer: asyncio.StreamWriter | None = None

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Follow the leash to its end."""
        self._writer = writer
        try:
            while line := await reader.readline():
                self._note(json.loads(line))
        except ConnectionError:
            pass
        finally:
            writer.close()
            self.over.set()
            self.serving.set()

    async def begin(self) -> None:
        """Return once it serves, or has died before. Raises GatewayError."""
        await self._wait(self.serving, START_SECONDS, "did not start")
        if self.over.is_set() and self.killed_at is None:
            raise GatewayError(f"the gateway did not start:\n{self.last_words()}")

    async def end(self) -> Point:
        """Return the point of its death, once it has died of its doom. Raises GatewayError."""
        await self._wait(self.over, END_SECONDS, "did not die")
        if self.killed_at is None:
            raise GatewayError(f"the gateway died by itself:\n{self.last_words()}")
        return self.killed_at

    def kill(self, point: Point) -> None:
        """Kill it from outside."""
        if not self.over.is_set() and self.killed_at is None:
            self.killed_at = point
            os.kill(self.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """Let it drain and end. Raises GatewayError."""
        assert self._writer is not None
        self._writer.write(b"\n")
        await self._wait(self.over, END_SECONDS, "did not stop")
        if not self.stopped:
            raise GatewayError(f"the gateway did not stop well:\n{self.last_words()}")

    def last_words(self) -> str:
        """Return the end of its log."""
        return self._log.read_bytes()[-LAST_WORDS_BYTES:].decode(errors="replace")

    def _note(self, news: Mapping[str, Any]) -> None:
        if "pid" in news:
            self.pid = news["pid"]
        if "killed" in news:
            self.killed_at = Point(news["killed"])
        if "serving" in news:
            self.serving.set()
        if "stopped" in news:
            self.stopped = True

    async def _wait(self, event: asyncio.Event, seconds: float, problem: str) -> None:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            raise GatewayError(f"the gateway {problem}:\n{self.last_words()}") from None


class Launcher:
    """The process that forks gateways; an asynchronous context manager.

    `folder` is a short path of its own, where sockets can be: they are named by at most 107 bytes.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="imsgw-"))
        self._lives: dict[int, Life] = {}
        self._started = 0
        self._process: Process | None = None
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._welcome, self.folder / "leash")
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.reliability.launcher", cwd=ROOT, stdin=PIPE, stdout=PIPE
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            if await self._process.stdout.readline() != b"ready\n":
                raise GatewayError("the launcher did not start")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        assert self._process is not None
        await self.kill_all()
        self._server.close()
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        shutil.rmtree(self.folder)

    async def kill_all(self) -> None:
        """Kill every gateway that is there, whatever it was to die of."""
        for life in [*self._lives.values()]:
            with suppress(GatewayError):
                await life.begin()
            life.kill(Point.ANY_INSTANT)
            await life.over.wait()

    async def start(
        self,
        settings: Mapping[str, Any],
        environment: Mapping[str, str],
        log: Path,
        *,
        doom: Doom | None = None,
        ahead_seconds: float = 0.0,
        variant: str = "the product",
    ) -> Life:
        """Start a gateway, its clock ahead by so much; it may not serve yet."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._started += 1
        life = Life(self._started, log)
        self._lives[life.number] = life
        order = {
            "number": life.number,
            "leash": str(self.folder / "leash"),
            "log": str(log),
            "settings": dict(settings),
            "environment": dict(environment),
            "doom": [doom.point, doom.passage] if doom else None,
            "ahead_microseconds": round(ahead_seconds * 1_000_000),
            "variant": variant,
        }
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()
        return life

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = json.loads(await reader.readline())
        life = self._lives[first["number"]]
        life.pid = first["pid"]
        try:
            await life.hear(reader, writer)
        finally:
            del self._lives[life.number]
