"""The three calls to Intelligent Media Services: submit, query, cancel.

Decides how long a call may take and what to raise when it fails. Never repeats a call, logs, or
makes a span: the caller knows whether another try is safe, and every reply and every exception
carries the facts a span needs. Every request is measured here, whoever makes it.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from ims_gateway.upstream.account import Account
from ims_gateway.upstream.action import CANCEL, QUERY, SUBMIT, VERSION
from ims_gateway.upstream.auth import SigningAuth, new_nonce
from ims_gateway.upstream.credentials import CredentialsUnavailable
from ims_gateway.upstream.errors import NotSent, OutcomeUnknown, UpstreamError
from ims_gateway.upstream.reply import (
    CancelReply,
    Reply,
    SubmitReply,
    read_cancel,
    read_query,
    read_reply,
    read_submit,
)
from ims_gateway.upstream.signature import canonical_query
from ims_gateway.upstream.transport import UpstreamTransport, outcome_of

__all__ = ["CANCEL", "QUERY", "SUBMIT", "Measure", "UpstreamClient"]

Answer = TypeVar("Answer")
# Told of every request that was to go out: whose, the action, the seconds that it took, and the
# status of its answer or the way in which it failed.
Measure = Callable[[Account, str, float, int | UpstreamError], None]

# Unsigned headers. Without "accept" the service answers in XML.
_HEADERS = {
    "accept": "application/json",
    "accept-encoding": "identity",
    "user-agent": "ims-gateway",
}
_NO_HEADERS: Mapping[str, str] = {}
_NO_BODY = httpx.ByteStream(b"")


class UpstreamClient:
    """Calls the service as one account, over one pool of connections.

    An asynchronous context manager; it connects at the first call. Each call may be given
    `timeout_seconds` for all of it; without it, the account's two timeouts together. No more
    than half of it is spent on waiting for a connection: an answer needs time, too. It may be given
    `headers`, which are sent as they are and not signed.

    Every call raises an UpstreamError (see `errors`). A cancelled call is abandoned, whatever had
    been sent: shield a submit. clock: Unix seconds. nonces: returns a new one. measure: is told of
    each request that has ended.
    """

    def __init__(
        self,
        account: Account,
        *,
        clock: Callable[[], float] = time.time,
        nonces: Callable[[], str] = new_nonce,
        measure: Measure = lambda *_: None,
    ) -> None:
        self._account = account
        self._measure = measure
        self._url = httpx.URL(account.origin + "/")
        self._auth = SigningAuth(
            host=account.endpoint,
            version=VERSION,
            credentials=account.credentials,
            clock=clock,
            nonces=nonces,
        )
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        self._http = _CookielessClient(
            transport=UpstreamTransport(self._account),
            follow_redirects=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def submit(
        self,
        parameters: Mapping[str, str],
        *,
        timeout_seconds: float | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> SubmitReply:
        """Submit a job, once. parameters: as they go over the wire; JSON members compact.

        With the account's `resend_unknown`, the very same signed bytes follow an unclear answer
        once more. The service refuses a nonce that it has seen; so if it takes them, it had not
        seen them, and there is one job. If it does anything else, the outcome stays unknown.
        """
        total_seconds = self._budget(SUBMIT, timeout_seconds)
        request = self._request(SUBMIT, parameters, total_seconds, headers)
        try:
            return await self._exchange(SUBMIT, request, total_seconds, read_submit)
        except OutcomeUnknown as unknown:
            if not self._account.resend_unknown:
                raise
            return await self._resend(request, total_seconds, unknown)

    async def query(
        self,
        job_id: str,
        *,
        timeout_seconds: float | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> dict[str, Any]:
        """Return the service's whole answer about a job, decoded and otherwise untouched.

        Raises Refused with the Code JOB_NOT_FOUND for a job that it does not know.
        """

        def read(reply: Reply) -> dict[str, Any]:
            return read_query(reply, job_id)

        return await self._call(QUERY, job_id, timeout_seconds, headers, read)

    async def cancel(
        self,
        job_id: str,
        *,
        timeout_seconds: float | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> CancelReply:
        """Ask for a job to be cancelled. What became of it, only a query tells."""
        return await self._call(CANCEL, job_id, timeout_seconds, headers, read_cancel)

    async def _call(
        self,
        action: str,
        job_id: str,
        timeout_seconds: float | None,
        headers: Mapping[str, str],
        read: Callable[[Reply], Answer],
    ) -> Answer:
        total_seconds = self._budget(action, timeout_seconds)
        request = self._request(action, {"JobId": job_id}, total_seconds, headers)
        return await self._exchange(action, request, total_seconds, read)

    async def _resend(
        self, request: httpx.Request, total_seconds: float, unknown: OutcomeUnknown
    ) -> SubmitReply:
        unknown.resends = 1
        try:
            reply = await self._exchange(
                SUBMIT, request, total_seconds, read_submit, signed_already=True
            )
        except UpstreamError:
            raise unknown from None
        return replace(reply, resends=1)

    async def _exchange(
        self,
        action: str,
        request: httpx.Request,
        total_seconds: float,
        read: Callable[[Reply], Answer],
        *,
        signed_already: bool = False,
    ) -> Answer:
        auth = None if signed_already else self._auth
        began = time.perf_counter()
        try:
            response = await self._send(action, request, total_seconds, auth)
            status = response.status_code
            answer = read(read_reply(action, status, response.headers, response.content))
        except UpstreamError as error:
            self._measure(self._account, action, time.perf_counter() - began, error)
            raise
        self._measure(self._account, action, time.perf_counter() - began, status)
        return answer

    def _budget(self, action: str, timeout_seconds: float | None) -> float:
        total_seconds = timeout_seconds if timeout_seconds is not None else self._total_seconds
        if total_seconds <= 0:
            raise NotSent(action, "no time was left for the call")
        return total_seconds

    def _request(
        self,
        action: str,
        parameters: Mapping[str, str],
        total_seconds: float,
        headers: Mapping[str, str],
    ) -> httpx.Request:
        # Made here and not by AsyncClient.build_request, which merges defaults that are not
        # wanted and costs as much as signing.
        return httpx.Request(
            "POST",
            self._url,
            headers={**_HEADERS, **headers},
            stream=_NO_BODY,
            extensions={
                "action": action,
                "target": f"/?{canonical_query(parameters)}".encode("ascii"),
                "timeout": {
                    "connect": min(self._account.connect_timeout_seconds, total_seconds / 2),
                    "read": min(self._account.read_timeout_seconds, total_seconds),
                },
            },
        )

    async def _send(
        self, action: str, request: httpx.Request, total_seconds: float, auth: httpx.Auth | None
    ) -> httpx.Response:
        if self._http is None:
            raise NotSent(action, "the client is closed")
        try:
            async with asyncio.timeout(total_seconds):
                return await self._http.send(request, auth=auth)
        except TimeoutError:
            raise OutcomeUnknown(action, f"no answer in {total_seconds:g} s") from None
        except CredentialsUnavailable as error:
            raise NotSent(action, f"no credentials: {error}") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise outcome_of(error)(action, f"{type(error).__name__}: {error}") from None

    @property
    def _total_seconds(self) -> float:
        return self._account.connect_timeout_seconds + self._account.read_timeout_seconds


class _CookielessClient(httpx.AsyncClient):
    """An httpx client that has no cookies.

    To look for them in every answer costs more than the signature, and there is no switch for it.
    """

    @property
    def cookies(self) -> httpx.Cookies:
        return _NO_COOKIES

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        """Ignore them."""


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """Take none."""


_NO_COOKIES = _NoCookies()
