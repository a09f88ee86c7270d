"""What happens around every handler of our services, outermost first.

    Boundary        opens the call, ends it with a true status, records it
    Authentication  who calls; nothing of a message is looked at before that is known
    Parsing         bytes to message; a bad one is refused like every other bad input

Order matters. grpc.aio shows an uncaught exception to the caller verbatim, so nothing may be
outside of the boundary; and it answers a message that it cannot parse with INTERNAL before any
handler runs, so it is given no message to parse. An interceptor's own `await continuation()`
returns before the handler runs: what is to surround a call must be wrapped around the handler.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeAlias

import grpc
import structlog
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from google.rpc import code_pb2
from grpc_status import rpc_status
from opentelemetry import trace
from opentelemetry.metrics import Histogram
from opentelemetry.trace import SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ims_gateway.api.malformed import malformed
from ims_gateway.api.status import status_of
from ims_gateway.errors import (
    Fault,
    InvalidRequest,
    NotImplementedYet,
    Refusal,
    Violation,
    reason_name,
)
from ims_gateway.identity.authenticator import Authenticator
from ims_gateway.telemetry import conventions
from ims_gateway.telemetry.call import Call, current
from ims_gateway.telemetry.decisions import DecisionLog

# The stubs know these as generic, the runtime does not.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"
Context = grpc.aio.ServicerContext[Any, Any]
Behavior = Callable[[Any, Context], Any]

PREFIX: Final = "/imsgateway.v1."
PROPAGATOR: Final = TraceContextTextMapPropagator()

log = structlog.get_logger()


class Boundary(grpc.aio.ServerInterceptor):
    """Opens a Call for every RPC, and ends it, whatever its end."""

    def __init__(self, tracer: Tracer, decisions: DecisionLog, durations: Histogram) -> None:
        self._tracer = tracer
        self._decisions = decisions
        self._durations = durations

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the handler of one RPC."""
        method = str(handler_call_details.method)

        async def unary(behavior: Behavior, request: Any, context: Context) -> Any:
            call = self._open(method, context)
            try:
                answer = await behavior(request, context)
            except BaseException as error:  # noqa: BLE001 - the boundary is where it ends
                await self._fail(call, context, error)
            else:
                self._close(call, code_pb2.OK)
                return answer

        async def stream(behavior: Behavior, request: Any, context: Context) -> AsyncIterator[Any]:
            call = self._open(method, context)
            try:
                async for answer in behavior(request, context):
                    yield answer
            except BaseException as error:  # noqa: BLE001 - the boundary is where it ends
                await self._fail(call, context, error)
            else:
                self._close(call, code_pb2.OK)

        return surrounded(await continuation(handler_call_details), method, unary, stream)

    def _open(self, method: str, context: Context) -> Call:
        metadata = dict(context.invocation_metadata() or ())
        parent = PROPAGATOR.extract(metadata)
        name = method.removeprefix("/")
        service, _, rpc = name.partition("/")
        attributes = {
            conventions.RPC_SYSTEM: "grpc",
            conventions.RPC_SERVICE: service,
            conventions.RPC_METHOD: rpc,
        }
        span = self._tracer.start_span(name, parent, SpanKind.SERVER, attributes)
        left = context.time_remaining()
        call = Call(
            id=uuid.uuid4().hex,
            method=name,
            time=time.time(),
            deadline=None if left is None else time.monotonic() + left,
            tracer=self._tracer,
            span=span,
            context=trace.set_span_in_context(span),
        )
        span.set_attribute(conventions.DECISION_ID, call.id)
        current.set(call)
        return call

    def _close(self, call: Call, code: int, reason: str = "") -> None:
        call.end(code, reason)
        record = call.record()
        self._decisions.add(record)
        self._durations.record(
            record["duration_us"] / 1000,
            {conventions.RPC_METHOD: call.method, conventions.RPC_STATUS_CODE: code},
        )

    async def _fail(self, call: Call, context: Context, error: BaseException) -> None:
        """End a call that did not go well. Raises what grpc.aio turns into the status."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            late = call.deadline is not None and time.monotonic() >= call.deadline
            self._close(call, code_pb2.DEADLINE_EXCEEDED if late else code_pb2.CANCELLED)
            raise error
        refusal = _refusal(error)
        if isinstance(refusal, Fault):
            log.error("fault", call_id=call.id, method=call.method, exc_info=error)
        if isinstance(refusal, InvalidRequest):
            call.paths = tuple(violation.path for violation in refusal.violations)
        self._close(call, refusal.code, reason_name(refusal.reason))
        await context.abort_with_status(rpc_status.to_status(status_of(refusal, call.id)))


class Authentication(grpc.aio.ServerInterceptor):
    """Finds out who calls."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the handler of one RPC."""

        def authenticate(context: Context) -> None:
            call = current.get()
            with call.step("authenticate"):
                metadata = context.invocation_metadata() or ()
                call.principal = self._authenticator.authenticate(metadata)

        async def unary(behavior: Behavior, request: Any, context: Context) -> Any:
            authenticate(context)
            return await behavior(request, context)

        async def stream(behavior: Behavior, request: Any, context: Context) -> AsyncIterator[Any]:
            authenticate(context)
            async for answer in behavior(request, context):
                yield answer

        method = str(handler_call_details.method)
        return surrounded(await continuation(handler_call_details), method, unary, stream)


class Parsing(grpc.aio.ServerInterceptor):
    """Turns bytes into messages, and says what is wrong with those that are none."""

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the handler of one RPC."""
        method = str(handler_call_details.method)
        handler = await continuation(handler_call_details)

        async def parsed(messages: AsyncIterator[bytes]) -> AsyncIterator[Any]:
            async for message in messages:
                yield self._parsed(method, handler, message)

        async def unary(behavior: Behavior, request: bytes, context: Context) -> Any:
            return await behavior(self._parsed(method, handler, request), context)

        async def stream(behavior: Behavior, request: Any, context: Context) -> AsyncIterator[Any]:
            one = isinstance(request, bytes)
            message = self._parsed(method, handler, request) if one else parsed(request)
            async for answer in behavior(message, context):
                yield answer

        return surrounded(handler, method, unary, stream, parse=False)

    def _parsed(self, method: str, handler: Any, message: bytes) -> Any:
        if len(message) > self._max_message_bytes:
            fault = f"the message is longer than {self._max_message_bytes} bytes"
            raise InvalidRequest((Violation("", "message.size", fault),))
        try:
            return handler.request_deserializer(message)
        except DecodeError:
            raise InvalidRequest(malformed(message, _request_type(method))) from None


def surrounded(
    handler: Handler | None, method: str, unary: Any, stream: Any, *, parse: bool = True
) -> Handler | None:
    """Return the handler with `unary` or `stream` around its behavior.

    Handlers of other services (health, reflection) stay as they are. Without `parse`, requests
    arrive as bytes.
    """
    if handler is None or not method.startswith(PREFIX):
        return handler
    kinds = (
        (handler.unary_unary, unary, grpc.unary_unary_rpc_method_handler),
        (handler.unary_stream, stream, grpc.unary_stream_rpc_method_handler),
        (handler.stream_stream, stream, grpc.stream_stream_rpc_method_handler),
    )
    behavior, around, make = next(kind for kind in kinds if kind[0])
    return make(
        partial(around, behavior),
        request_deserializer=handler.request_deserializer if parse else None,
        response_serializer=handler.response_serializer,
    )


def _refusal(error: BaseException) -> Refusal:
    """Return the error if it is meant for the caller, else a refusal that says nothing of it."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, NotImplementedError):
        return NotImplementedYet()
    return Fault()


def _request_type(method: str) -> Descriptor:
    name = method.removeprefix("/").replace("/", ".")
    return descriptor_pool.Default().FindMethodByName(name).input_type
