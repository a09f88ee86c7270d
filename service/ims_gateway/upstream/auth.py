"""Signs a request at the moment it is sent.

Decides nothing: it brings the clock, the nonce and the key to `signature.sign`.
"""

import secrets
import time
from collections.abc import Callable, Generator

import httpx

from ims_gateway.upstream.credentials import CredentialsProvider
from ims_gateway.upstream.signature import format_date, sign


def new_nonce() -> str:
    """Return 128 random bits as hex. Its uniqueness is what makes SignatureNonceUsed tell."""
    return secrets.token_hex(16)


class SigningAuth(httpx.Auth):
    """Adds the signed headers to a request with an empty body.

    Reads two extensions of the request: `target`, path and canonical query as they are to be
    sent, and `action`. The signature is made here, after any wait for a turn, because its date
    is good for 15 minutes only.

    host: as the Host header shall say it. clock: Unix seconds. nonces: returns a new one.
    """

    def __init__(
        self,
        *,
        host: str,
        version: str,
        credentials: CredentialsProvider,
        clock: Callable[[], float] = time.time,
        nonces: Callable[[], str] = new_nonce,
    ) -> None:
        self._host = host
        self._version = version
        self._credentials = credentials
        self._clock = clock
        self._nonces = nonces

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign, send, and leave it at that: no answer makes it send again."""
        path, _, query = request.extensions["target"].decode("ascii").partition("?")
        headers = sign(
            method=request.method,
            host=self._host,
            path=path,
            query=query,
            action=request.extensions["action"],
            version=self._version,
            credentials=self._credentials.snapshot(),
            date=format_date(self._clock()),
            nonce=self._nonces(),
        )
        # Assigned whole: Headers.update looks every name up in every other one.
        request.headers = httpx.Headers([*request.headers.raw, *_raw(headers)])
        yield request


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
