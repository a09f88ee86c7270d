"""Carries one signed request over aiohttp's pooled connections, byte for byte as it was signed.

Decides what a broken exchange says about the request: whether it may have reached the service.
Never sends anything twice, follows a redirect, keeps a cookie, asks a proxy or reads the
environment.

Why not the transport of httpx-aiohttp, which does the same job: it calls a connection that was
reset after the request went out a ConnectTimeout, which is what it also calls a connection that
was never made, and a paid call must tell these two apart; it sends the query re-encoded; it needs
it inside of an httpx.URL, which costs more than the signature does; and it reads an answer of any
size.
"""

import ssl
import zlib

import aiohttp
import httpx
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from aiohttp.tracing import Trace
from yarl import URL

from ims_gateway.upstream.account import Account
from ims_gateway.upstream.errors import NotSent, OutcomeUnknown, Unreached, UpstreamError

MAX_REPLY_BYTES = 8 * 1024 * 1024

# An idle connection that the far end closes just as a request goes out makes that request's
# outcome unknown, so idle ones are dropped before any usual server does it.
_KEEPALIVE_SECONDS = 5.0

_CODINGS = ("gzip", "x-gzip", "deflate")
# Of zlib: gzip's or its own.
_ANY_HEADER = 32

# aiohttp's exceptions as httpx's, the first row that fits. ConnectError and ConnectTimeout are
# what aiohttp raises while it looks for a connection, and from nowhere else.
FROM_AIOHTTP: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    # Name resolution, TCP, TLS handshake, certificate.
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    # No connection in time: the network's or the pool's fault. aiohttp does not say which.
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    # Reset or broken pipe. The request may have been read in full before.
    (aiohttp.ClientConnectionError, httpx.ReadError),
    # The answer ended early.
    (aiohttp.ClientPayloadError, httpx.ReadError),
    # What came back is not HTTP.
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    (HttpProcessingError, httpx.RemoteProtocolError),
    # The address cannot be called at all.
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.NonHttpUrlClientError, httpx.UnsupportedProtocol),
    # Redirects and uploads, which do not happen here, and whatever a later aiohttp adds.
    (aiohttp.ClientError, httpx.ReadError),
    (TimeoutError, httpx.ReadTimeout),
    (OSError, httpx.ReadError),
)

# httpx's exceptions as outcomes, the first row that fits. Only what cannot happen after the
# first byte has left may say NotSent, and Unreached is only for what is no fault of ours.
OUTCOMES: tuple[tuple[type[Exception], type[UpstreamError]], ...] = (
    (httpx.ConnectError, Unreached),
    (httpx.ConnectTimeout, Unreached),
    (httpx.PoolTimeout, NotSent),
    (httpx.ProxyError, NotSent),  # raised while a tunnel is set up; there is no proxy here
    (httpx.UnsupportedProtocol, NotSent),
    (httpx.LocalProtocolError, NotSent),  # the request was refused before it was written
    (httpx.InvalidURL, NotSent),
    (httpx.ReadTimeout, OutcomeUnknown),
    (httpx.WriteTimeout, OutcomeUnknown),  # a part of the request may be a whole request
    (httpx.ReadError, OutcomeUnknown),
    (httpx.WriteError, OutcomeUnknown),
    (httpx.CloseError, OutcomeUnknown),
    (httpx.RemoteProtocolError, OutcomeUnknown),
    (httpx.DecodingError, OutcomeUnknown),
    (httpx.TooManyRedirects, OutcomeUnknown),
    (httpx.HTTPStatusError, OutcomeUnknown),
    (httpx.HTTPError, OutcomeUnknown),
    (httpx.StreamError, OutcomeUnknown),
)


class UpstreamTransport(httpx.AsyncBaseTransport):
    """The connections of one account.

    The request's `target` extension (bytes, httpx's documented one) is sent as the request line's
    path and query. It is not part of the request's URL, and so not of anything that httpx says
    or logs about the request.
    """

    def __init__(self, account: Account) -> None:
        self._origin = account.origin
        self._session = aiohttp.ClientSession(
            connector=_QuietConnector(
                ssl=tls_context(account),
                limit=account.max_in_flight,
                keepalive_timeout=_KEEPALIVE_SECONDS,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Content-Type",),
            auto_decompress=False,
            trust_env=False,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request's head, with no body, and read the answer.

        Raises httpx.TransportError. Its message never quotes the request, and it has no cause or
        context, because aiohttp's exceptions print the whole address.
        """
        failure: Exception
        try:
            return await self._exchange(request)
        except httpx.TransportError:
            raise
        except Exception as error:  # noqa: BLE001 - the outcome of a paid call is told whatever broke
            failure = _translated(error)
        raise failure

    async def aclose(self) -> None:
        """Close every connection, also those in use."""
        await self._session.close()

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        timeout = request.extensions["timeout"]
        async with self._session.request(
            request.method,
            URL(self._origin + request.extensions["target"].decode("ascii"), encoded=True),
            headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(connect=timeout["connect"], sock_read=timeout["read"]),
        ) as response:
            content, headers = await _read(response), list(response.raw_headers)
            if coding := response.headers.get("Content-Encoding"):
                content = _unpacked(content, coding.strip().lower())
                # httpx would unpack it once more, and to whatever length.
                headers = [each for each in headers if each[0].lower() != b"content-encoding"]
            return httpx.Response(response.status, headers=headers, content=content)


class _QuietConnector(aiohttp.TCPConnector):
    """Hands out no connection on which something has arrived since the last answer.

    aiohttp would take it for the answer to the next request, and every later answer for the one
    after it: tenants would be told each other's job ids.
    """

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()


def outcome_of(error: Exception) -> type[UpstreamError]:
    """Return what an exception of httpx says about the request."""
    return next(kind for exception, kind in OUTCOMES if isinstance(error, exception))


async def _read(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_REPLY_BYTES:
            raise httpx.ReadError(f"the answer is longer than {MAX_REPLY_BYTES} bytes")
    return b"".join(chunks)


def _unpacked(content: bytes, coding: str) -> bytes:
    """Undo a compression that nobody has asked for, as far as an answer may be long."""
    if coding == "identity":
        return content
    if coding not in _CODINGS:
        raise httpx.RemoteProtocolError("the answer is in no known Content-Encoding")
    stream = zlib.decompressobj(zlib.MAX_WBITS | _ANY_HEADER)
    try:
        unpacked = stream.decompress(content, MAX_REPLY_BYTES + 1)
    except zlib.error:
        raise httpx.RemoteProtocolError("the answer is not in its Content-Encoding") from None
    if len(unpacked) > MAX_REPLY_BYTES:
        raise httpx.ReadError(f"the answer is longer than {MAX_REPLY_BYTES} bytes")
    if not stream.eof:
        raise httpx.ReadError("the answer ended early")
    return unpacked


def _translated(error: Exception) -> httpx.TransportError:
    kind: type[httpx.TransportError] = httpx.ReadError
    for exception, translation in FROM_AIOHTTP:
        if isinstance(error, exception):
            kind = translation
            break
    detail = error.strerror if isinstance(error, aiohttp.ClientConnectorError) else None
    return kind(f"{type(error).__name__}: {detail}" if detail else type(error).__name__)


def tls_context(account: Account) -> ssl.SSLContext | bool:
    """Return whom the account's calls trust. Reads files. Raises OSError."""
    if account.scheme == "http":
        return True
    if account.ca_file:
        return ssl.create_default_context(cafile=account.ca_file)
    return httpx.create_ssl_context(trust_env=False)
