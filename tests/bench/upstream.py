"""A lean stand-in for Intelligent Media Services: HTTPS, keep-alive, a fresh JobId for each submit.

    python -m tests.bench.upstream CERTIFICATE_CHAIN KEY

The emulator verifies signatures and keeps jobs, which makes it slower than what is measured here.
This one does neither: whatever names the action is taken. It counts, so that a job that was sent
twice or not at all is found out: `GET /submits` tells how many it has taken.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import sys
import uuid
from dataclasses import dataclass
from typing import Final, cast

from tests.bench.listening import until_input_ends

HEAD_END: Final = b"\r\n\r\n"
CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
ACTION: Final = re.compile(rb"\r\nx-acs-action: *SubmitIProductionJob\r\n", re.IGNORECASE)


@dataclass(slots=True)
class Submits:
    """How many submits were taken."""

    count: int = 0


class Connection(asyncio.Protocol):
    """Answers the requests of one connection, in order."""

    def __init__(self, submits: Submits) -> None:
        self._submits = submits
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers are written to."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._received += data
        answers = []
        while (head := self._next_head()) is not None:
            answers.append(self._answer(head))
        if answers and self._transport is not None:
            self._transport.write(b"".join(answers))

    def _next_head(self) -> bytes | None:
        """Take one whole request off what was received, and return its head."""
        end = self._received.find(HEAD_END)
        if end < 0:
            return None
        head = self._received[: end + len(HEAD_END)]
        length = CONTENT_LENGTH.search(head)
        total = len(head) + (int(length[1]) if length else 0)
        if len(self._received) < total:
            return None
        self._received = self._received[total:]
        return head

    def _answer(self, head: bytes) -> bytes:
        if ACTION.search(head):
            self._submits.count += 1
            return _reply(b"200 OK", {"RequestId": _request_id(), "JobId": uuid.uuid4().hex})
        if head.startswith(b"GET /submits "):
            return _reply(b"200 OK", {"submits": self._submits.count})
        return _reply(b"404 Not Found", {"RequestId": _request_id(), "Code": "InvalidApi.NotFound"})


def _request_id() -> str:
    return str(uuid.uuid4()).upper()


def _reply(status: bytes, content: dict[str, object]) -> bytes:
    body = json.dumps(content).encode()
    return (
        b"HTTP/1.1 %b\r\nContent-Type: application/json;charset=utf-8\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (status, len(body), body)
    )


async def serve(chain: str, key: str) -> None:
    """Serve until standard input ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    submits = Submits()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(submits), "127.0.0.1", 0, ssl=context, backlog=512
    )
    await until_input_ends(server.sockets[0].getsockname()[1])
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
