"""The way out: for each upstream account its client and its slots, and a span for each call."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from opentelemetry.trace import NonRecordingSpan, SpanKind, use_span

from ims_gateway.errors import TryLater, UpstreamUnreachable
from ims_gateway.telemetry import conventions
from ims_gateway.telemetry.call import Call
from ims_gateway.telemetry.propagation import outgoing
from ims_gateway.telemetry.spans import Value
from ims_gateway.telemetry.step import Step
from ims_gateway.upstream.account import Account
from ims_gateway.upstream.action import CANCEL, QUERY, SUBMIT
from ims_gateway.upstream.client import Measure, UpstreamClient
from ims_gateway.upstream.credentials import CredentialsUnavailable
from ims_gateway.upstream.errors import UpstreamError
from ims_gateway.upstream.redaction import bounded_name
from ims_gateway.upstream.reply import CancelReply, SubmitReply
from ims_gateway.upstream.slots import Place, Slots

Answer = TypeVar("Answer")
# After how long a call without a key may be made again: keys are asked for about as often.
SECONDS_TO_KEY: Final = 5.0


@dataclass(frozen=True, slots=True)
class Gate:
    """One account with its pooled client and the places for calls in flight."""

    account: Account
    client: UpstreamClient
    slots: Slots

    def refusal(self, place: Place, seconds: float) -> TryLater | None:
        """Return why a submit that can wait so long need not be tried at all."""
        try:
            self.account.credentials.snapshot()
        except CredentialsUnavailable:
            return UpstreamUnreachable(
                "Intelligent Media Services cannot be called at present",
                retry_after_seconds=SECONDS_TO_KEY,
            )
        return place.refusal(seconds)

    async def submit(
        self, call: Call, place: Place, parameters: Mapping[str, str], timeout_seconds: float
    ) -> SubmitReply:
        """Submit a job, once, from a place that is taken. Raises UpstreamError."""
        place.spend()
        with self.slots.learning(timeout_seconds), self._step(call, SUBMIT) as step:
            sent = self.client.submit(
                parameters, timeout_seconds=timeout_seconds, headers=outgoing(step.context)
            )
            return await _noted(call, step, sent)

    async def query(self, call: Call, job_id: str) -> dict[str, Any]:
        """Return the service's answer about a job. Raises UpstreamError."""
        with self._step(call, QUERY) as step:
            sent = self.client.query(job_id, headers=outgoing(step.context))
            return await _noted(call, step, sent)

    async def cancel(self, call: Call, job_id: str) -> CancelReply:
        """Ask for a job's cancellation. Raises UpstreamError."""
        with self._step(call, CANCEL) as step:
            sent = self.client.cancel(job_id, headers=outgoing(step.context))
            return await _noted(call, step, sent)

    def _step(self, call: Call, action: str) -> Step:
        """Return the step of one call. The URL is told to nobody: it holds the whole job."""
        attributes: dict[str, Value] = {
            conventions.HTTP_METHOD: "POST",
            conventions.SERVER_ADDRESS: self.account.host,
            conventions.SERVER_PORT: self.account.port,
            conventions.ACCOUNT: self.account.name,
            conventions.UPSTREAM_ACTION: action,
        }
        return call.step("send", SpanKind.CLIENT, **attributes)


async def _noted(call: Call, step: Step, sent: Awaitable[Answer]) -> Answer:
    """Await an answer, and note what it or an error tells of itself, as far as it is known."""
    # Where the request is measured, its span is the current one.
    span = use_span(
        NonRecordingSpan(step.context), record_exception=False, set_status_on_exception=False
    )
    try:
        with span:
            answer = await sent
    except UpstreamError as error:
        _note(call, step, error)
        raise
    _note(call, step, answer)
    return answer


def _note(call: Call, step: Step, answer: object) -> None:
    facts = {
        conventions.HTTP_STATUS_CODE: getattr(answer, "http_status", None),
        conventions.HTTP_RESEND_COUNT: getattr(answer, "resends", None) or None,
        conventions.UPSTREAM_REQUEST_ID: _request_id(answer),
        conventions.UPSTREAM_CODE: getattr(answer, "code", None),
    }
    step.set_attributes({name: value for name, value in facts.items() if value is not None})
    call.upstream_request_id = facts[conventions.UPSTREAM_REQUEST_ID] or ""


def _request_id(answer: object) -> str | None:
    # A job's description is what the service said, decoded and nothing else.
    if isinstance(answer, dict):
        return bounded_name(answer.get("RequestId"))
    return getattr(answer, "request_id", None)


def _slots(account: Account) -> Slots:
    rate = math.inf if account.calls_per_second is None else account.calls_per_second
    return Slots(account.name, account.max_in_flight, rate)


class Gates:
    """All accounts of the process; an asynchronous context manager that owns the clients.

    `measure` is told of every request that they make.
    """

    def __init__(self, accounts: Mapping[str, Account], measure: Measure = lambda *_: None) -> None:
        self._gates = {
            name: Gate(account, UpstreamClient(account, measure=measure), _slots(account))
            for name, account in accounts.items()
        }
        self._stack = AsyncExitStack()

    def __iter__(self) -> Iterator[str]:
        return iter(self._gates)

    def __contains__(self, account: str) -> bool:
        return account in self._gates

    def __getitem__(self, account: str) -> Gate:
        return self._gates[account]

    async def __aenter__(self) -> Self:
        for gate in self._gates.values():
            await self._stack.enter_async_context(gate.client)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()
