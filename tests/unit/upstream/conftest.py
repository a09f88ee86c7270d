"""The far side of the wire: a TCP server that does what a test tells it to."""

import asyncio
import ipaddress
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ims_gateway.upstream.account import Account
from ims_gateway.upstream.client import UpstreamClient
from ims_gateway.upstream.credentials import Credentials


class FixedCredentials:
    """A provider whose key a test may exchange."""

    def __init__(self):
        self.current = Credentials("AccessKeyId", "AccessKeySecret")

    def snapshot(self):
        """Return the key."""
        return self.current


@dataclass
class Exchange:
    """One connection, seen from the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    wire: "Wire"

    async def head(self) -> str:
        """Read one request; an EOFError ends the connection."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("ascii")
        self.wire.heads.append(head)
        return head

    async def write(self, data: bytes):
        """Write bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: object, status: int = 200, headers: str = ""):
        """Write a whole answer. body: bytes as they are, anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(content)}\r\n{headers}\r\n"
        await self.write(head.encode() + content)

    def reset(self):
        """Close with RST instead of FIN."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def hang(self):
        """Say nothing until the test is over."""
        self.wire.hanging.set()
        await asyncio.Event().wait()


Behaviour = Callable[[Exchange], Awaitable[None]]


@dataclass
class Wire:
    """What has arrived."""

    port: int = 0
    connections: int = 0
    heads: list[str] = field(default_factory=list)
    hanging: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def serve_wire(
    behaviour: Behaviour, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Wire]:
    """Serve every connection with one behaviour; it is called once for each connection."""
    wire = Wire()
    tasks = set()

    async def connected(reader, writer):
        wire.connections += 1
        tasks.add(asyncio.current_task())
        try:
            await behaviour(Exchange(reader, writer, wire))
        except (EOFError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        await server.wait_closed()


@pytest.fixture
def wire():
    """Give the server, as a context manager of a behaviour."""
    return serve_wire


@pytest.fixture
def credentials():
    """Give the key of the account under test."""
    return FixedCredentials()


@pytest.fixture
def client(credentials):
    """Give what makes a client of a wire; further arguments go to its account."""

    def build(wire: Wire, **settings) -> UpstreamClient:
        settings = {"endpoint": wire.endpoint, "scheme": "http"} | settings
        return UpstreamClient(Account("test", "cn-shanghai", credentials, **settings))

    return build


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate of 127.0.0.1."""

    file: Path
    server: ssl.SSLContext


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> Iterator[Certificate]:
    """Make a certificate that no public authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = signed.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    folder = tmp_path_factory.mktemp("certificate")
    (folder / "certificate.pem").write_bytes(pem)
    (folder / "both.pem").write_bytes(private + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return Certificate(folder / "certificate.pem", context)
