"""What the caller proves itself with: `authorization: Bearer ...` on every call.

Decides the metadata, the same over TLS and plain text and for the raw stubs too. Never decides
whether a channel is safe to send it over: channel.py does. Never shows the credential.
"""

import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

Token = Callable[[], str]
AsyncToken = Callable[[], str | Awaitable[str]]

# The characters of RFC 6750. gRPC answers "Invalid metadata" to a line end, and says no more.
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")


def token_file(path: Path | str) -> Token:
    """Return a token function that reads a file before every call.

    For tokens that are renewed in place, such as Kubernetes' service-account tokens. What it
    returns raises OSError, and ValueError where the file holds no token.
    """
    return lambda: check_bearer(Path(path).read_text("utf-8").strip(), f"the token in {path}")


class Credential:
    """An API key, or a function that is asked for a token before every call.

    Raises ValueError where both are given, or where the key cannot stand in a header.
    """

    def __init__(self, api_key: str | None = None, token: AsyncToken | None = None) -> None:
        if api_key is not None and token is not None:
            raise ValueError("give api_key or token, not both")
        self._api_key = None if api_key is None else check_bearer(api_key, "api_key")
        self._token = token

    @property
    def given(self) -> bool:
        """Whether there is anything to send."""
        return self._api_key is not None or self._token is not None

    def header(self) -> tuple[str, str]:
        """Return the metadata of one call."""
        return _header(self._token() if self._token else self._api_key)

    async def header_async(self) -> tuple[str, str]:
        """Return the metadata of one call, awaiting the token where it is awaitable."""
        secret = self._token() if self._token else self._api_key
        return _header(await secret if inspect.isawaitable(secret) else secret)


def _header(secret: object) -> tuple[str, str]:
    return ("authorization", f"Bearer {check_bearer(secret, 'token')}")


def check_bearer(secret: object, what: str) -> str:
    """Return the secret; raise ValueError, which does not show it, where no header can hold it."""
    if not isinstance(secret, str) or not _BEARER.fullmatch(secret):
        raise ValueError(f"{what} must be a text of letters, digits and ._~+/- without spaces")
    return secret


@dataclass(frozen=True)
class _CallDetails(grpc.ClientCallDetails):
    """The changed part of a call's details; gRPC takes the rest from those that it had."""

    metadata: Any


class BearerInterceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds the credential to every call of a channel."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    def authorize(self, continuation: Any, details: grpc.ClientCallDetails, request: Any) -> Any:
        """Go on with the call, whatever its shape."""
        metadata = (*(details.metadata or ()), self._credential.header())
        return continuation(_CallDetails(metadata), request)

    # Any, because gRPC names the parameters differently in each.
    intercept_unary_unary: Any = authorize
    intercept_unary_stream: Any = authorize
    intercept_stream_stream: Any = authorize


class _AioBearer:
    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    async def authorize(self, continuation: Any, details: Any, request: Any) -> Any:
        metadata = aio.Metadata(*(details.metadata or ()), await self._credential.header_async())
        return await continuation(details._replace(metadata=metadata), request)


class _UnaryUnary(_AioBearer, aio.UnaryUnaryClientInterceptor):
    intercept_unary_unary: Any = _AioBearer.authorize


class _UnaryStream(_AioBearer, aio.UnaryStreamClientInterceptor):
    intercept_unary_stream: Any = _AioBearer.authorize


class _StreamStream(_AioBearer, aio.StreamStreamClientInterceptor):
    intercept_stream_stream: Any = _AioBearer.authorize


def aio_interceptors(credential: Credential) -> list[aio.ClientInterceptor]:
    """Return what adds the credential to every call of an asyncio channel.

    One object for each shape of call: grpc.aio files an object that has several under the first.
    """
    return [_UnaryUnary(credential), _UnaryStream(credential), _StreamStream(credential)]
