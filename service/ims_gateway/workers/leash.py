"""The socket between the process that watches and one that works: lines of JSON, both ways.

    to a worker     {"number": 0, "listen": ..., "admin_listen": ...}  serve, as this one
                    {"scrape": true}       say your metrics
                    {"drain": true}        stop taking calls, finish, end
                    {"hurry": true}        do not wait for calls
    from a worker   {"ready": true}        everything is imported
                    {"serving": true}      calls are taken
                    {"beat": true}         my event loop turns
                    {"metrics": "..."}     in the OpenMetrics format
                    {"faults": ["..."]}    why I cannot start; a process that watches says it once

Whichever end dies, the other one reads the end of the stream.
"""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from typing import Any, Final, Self

# Of a line: metrics of a process with thousands of series.
LONGEST_BYTES: Final = 64 * 1024 * 1024


class Leash:
    """One end of it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Self:
        """Return the leash whose end is a socket, which belongs to it from now on."""
        return cls(*await asyncio.open_connection(sock=end, limit=LONGEST_BYTES))

    def say(self, **news: Any) -> None:
        """Send something, which is lost where nobody is there any more. Never waits."""
        with suppress(OSError, RuntimeError):
            self._writer.write(json.dumps(news).encode() + b"\n")

    async def hear(self) -> dict[str, Any] | None:
        """Return what was said next, None when the other end is gone."""
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return None
        # Half a line was cut off by a death.
        return dict(json.loads(line)) if line.endswith(b"\n") else None

    async def flush(self) -> None:
        """Return when what was said is on its way."""
        with suppress(ConnectionError):
            await self._writer.drain()

    def close(self) -> None:
        """Let go of it."""
        self._writer.close()
